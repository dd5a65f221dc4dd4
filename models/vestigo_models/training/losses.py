"""Losses: identity, triplet and centre (specification, section 9, equation 15), and of labels that may be wrong."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.schemas.attributes import AttributeSchema


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


def noisy_log_probabilities(log_probabilities: Tensor, noise: Tensor | float) -> Tensor:
    """Compute the log-probabilities of the labels that annotators give if they err with probability `noise`.

    Implements the forward correction of docs/method.md, section "Forward correction" (Patrini et al., CVPR 2017).

    Args:
        log_probabilities: Of the k classes of one attribute, N x k.
        noise: Error rate e of each label, N, or one for all; below (k - 1) / k.

    Returns:
        log((1 - e) p_i + e / (k - 1) (1 - p_i)), N x k.
    """
    error = torch.as_tensor(noise, dtype=log_probabilities.dtype, device=log_probabilities.device).reshape(-1, 1)
    each = error / (log_probabilities.shape[1] - 1)
    return torch.logaddexp(log_probabilities + torch.log1p(-error - each), each.log())


def noisy_label_loss(log_probabilities: Tensor, labels: Tensor, noise: Tensor | float) -> Tensor:
    """Compute the cross-entropy with labels that may be wrong; without noise it is the usual one.

    Args:
        log_probabilities: Of the k classes of one attribute, N x k.
        labels: Distributions over the classes, N x k: one-hot for a label, all zeros without one.
        noise: Error rate of each label, N, or one for all, see `noisy_log_probabilities`.

    Returns:
        Losses, N; 0 without a label.
    """
    return -(labels * noisy_log_probabilities(log_probabilities, noise)).sum(dim=1)


def attribute_loss(
    log_probabilities: Tensor,
    labels: Tensor,
    schema: AttributeSchema,
    weights: Tensor | None = None,
    noise: float = 0.0,
) -> Tensor:
    """Compute the sum over attributes of the mean cross-entropy over labelled images.

    Implements equations 18 and 19 of docs/method.md. An attribute without labels in the batch adds nothing.

    Args:
        log_probabilities: log p-hat, B x M.
        labels: Class ids, B x n int64, -1 if missing.
        schema: The n attributes.
        weights: M factors on the images of each class; 1 in the paper.
        noise: Share of the labels that are wrong, see `noisy_log_probabilities`; 0 in the paper.

    Returns:
        The loss, a scalar.
    """
    total = log_probabilities.new_zeros(())
    for position, name in enumerate(schema.names):
        known = labels[:, position] >= 0
        if known.any():
            group = log_probabilities[known][:, schema.slice(name)]
            group = noisy_log_probabilities(group, noise) if noise else group
            factors = None if weights is None else weights[schema.slice(name)]
            total = total + functional.nll_loss(group, labels[known, position], factors)
    return total


def class_weights(labels: NDArray[np.int64], schema: AttributeSchema, balance: float) -> NDArray[np.float32]:
    """Compute factors on the images of each class: its share of the images to the power of -`balance`.

    Args:
        labels: Class ids, N x n, -1 if missing.
        schema: The n attributes.
        balance: 0 weighs all images alike, as in the paper; 1 weighs all classes alike.

    Returns:
        M factors, float32. Those of an attribute average 1 over its labelled images; 0 for a class without images.
    """
    factors = np.zeros(schema.classes, dtype=np.float32)
    for position, attribute in enumerate(schema.attributes):
        known = labels[labels[:, position] >= 0, position]
        if len(known):
            shares = np.bincount(known, minlength=len(attribute.values)) / len(known)
            powers = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0)
            factors[schema.slice(attribute.name)] = powers / (powers * shares).sum()
    return factors


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
