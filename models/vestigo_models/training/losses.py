"""Losses of identities and attributes (docs/method.md, "Losses" and "Forward correction")."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema


def identity_loss(logits: Tensor, pids: Tensor, *, smoothing: float) -> Tensor:
    """Compute the cross-entropy of logits, B x identities, with label smoothing, averaged over the batch.

    `pids` are B int64. `smoothing` is the weight of the uniform distribution; the true class has 1 - smoothing +
    smoothing / identities.
    """
    return functional.cross_entropy(logits.float(), pids, label_smoothing=smoothing)


def euclidean_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute Euclidean distances, A x B, of features A x D and B x D in float32.

    Squared distances are at least 1e-12, so that equal features have a finite gradient.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
        return squared.clamp(min=1e-12).sqrt()


def triplet_loss(
    anchors: Tensor, anchor_pids: Tensor, others: Tensor, other_pids: Tensor, *, margin: float
) -> tuple[Tensor, Tensor]:
    """Compute the batch-hard triplet loss (Hermans et al., 2017) of features before the BNNeck, in float32.

    Args:
        anchors: Features, B x D.
        anchor_pids: Their identities, B.
        others: Features of the whole batch, which contain the anchors; each anchor needs another image of its identity
            and one of another identity among them.
        other_pids: Their identities.
        margin: Margin between the farthest positive and the nearest negative.

    Returns:
        The mean loss, and the fraction of anchors whose hardest negative is farther than their hardest positive.
    """
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


def class_weights(labels: Int64Array, schema: AttributeSchema, balance: float) -> Float32Array:
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
    """Mean squared distance to the centre of the own identity, without a factor of one half.

    The centres, identities x D, start at N(0, 1) and have their own optimiser, see `rescale_gradients`.
    """

    def __init__(self, identities: int, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(identities, dim, generator=generator))

    def forward(self, pre: Tensor, pids: Tensor) -> Tensor:
        """Compute the loss of features before the BNNeck, B x D, with identities B."""
        return (pre.float() - self.centres[pids]).square().sum(1).mean()

    def rescale_gradients(self, weight: float) -> None:
        """Divide the gradients of the centres by the `weight` of the centre loss in the total."""
        if self.centres.grad is not None:
            self.centres.grad /= weight
