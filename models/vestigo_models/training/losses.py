"""Losses: identity, triplet and centre (specification, section 9, equation 15), and of labels that may be wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def identity_loss(logits: Tensor, pids: Tensor, *, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing, averaged over the batch.

    `logits` B x identities, `pids` B int64; the true class keeps 1 - smoothing + smoothing / identities.
    """
    return functional.cross_entropy(logits.float(), pids, label_smoothing=smoothing)


def euclidean_distances(a: Tensor, b: Tensor) -> Tensor:
    """A x B Euclidean distances in float32 of A x D and B x D features.

    The square root is taken of at least 1e-12, so that two equal features have a finite gradient.
    """
    a, b = a.float(), b.float()
    squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    return squared.clamp(min=1e-12).sqrt()


def triplet_loss(
    anchors: Tensor, anchor_pids: Tensor, others: Tensor, other_pids: Tensor, *, margin: float
) -> tuple[Tensor, Tensor]:
    """Batch-hard triplet loss on features before the BNNeck, in float32.

    Per anchor the farthest feature of its own identity and the nearest of another are taken from `others`, which
    contains the anchors. Every anchor needs both in the batch, as an identity-balanced sampler provides them.

    Returns:
        The loss, averaged over the anchors, and the fraction of anchors whose hardest pair is in the right order.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        distances = euclidean_distances(anchors, others)
    same = anchor_pids[:, None] == other_pids[None, :]
    positive = distances.masked_fill(~same, -torch.inf).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    loss = functional.relu(positive - negative + margin).mean()
    return loss, (negative > positive).float().mean()


def heard(log_probabilities: Tensor, noise: Tensor | float) -> Tensor:
    """How people who err with probability `noise` would name classes that a network gives these probabilities.

    Each of the other k - 1 classes is as likely to be named by mistake: (1 - e) p_j + e / (k - 1) (1 - p_j), the
    forward correction of Patrini et al. (CVPR 2017). log_probabilities: N x k; noise: N, or one for all, below
    (k - 1) / k. Returns logarithms, N x k.
    """
    wrong = torch.as_tensor(noise, dtype=log_probabilities.dtype, device=log_probabilities.device).reshape(-1, 1)
    each = wrong / (log_probabilities.shape[1] - 1)
    return torch.logaddexp(log_probabilities + torch.log1p(-wrong - each), each.log())


def noisy_label_loss(log_probabilities: Tensor, labels: Tensor, noise: Tensor | float) -> Tensor:
    """Cross-entropy with labels that may be wrong: with what would be `heard`; without noise the usual one.

    log_probabilities: N x k; labels: N x k distributions, one-hot for a class that somebody named, all zeros where
    there is none; noise: N, or one for all. Returns N, 0 where there is no label.
    """
    return -(labels * heard(log_probabilities, noise)).sum(dim=1)


class CentreLoss(nn.Module):
    """Mean over the batch of the squared distance to the centre of the own identity, without a factor of one half.

    The centres (identities x D) start at N(0, 1) and follow their own optimiser: see `rescale_gradients`.
    """

    def __init__(self, identities: int, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(identities, dim, generator=generator))

    def forward(self, pre: Tensor, pids: Tensor) -> Tensor:
        """B x D features before the BNNeck and B int64 identities to a scalar."""
        return (pre.float() - self.centres[pids]).square().sum(1).mean()

    def rescale_gradients(self, weight: float) -> None:
        """Undo, for the centres alone, the `weight` that the centre loss carries in the sum of losses."""
        if self.centres.grad is not None:
            self.centres.grad /= weight
