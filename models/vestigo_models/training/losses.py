"""The objective of a training and its losses (docs/method.md, "Losses", equations 15 to 20, "Forward correction")."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.networks.outputs import GLOBAL_ATTRIBUTES, NetworkOutput, ReidNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import BELONGINGS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.distributed import Ranks


def identity_loss(logits: Tensor, pids: Tensor, *, smoothing: float) -> Tensor:
    """Compute the mean cross-entropy of logits, B x identities, with label smoothing."""
    return functional.cross_entropy(logits.float(), pids, label_smoothing=smoothing)


def euclidean_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute Euclidean distances, A x B, of features A x D and B x D in float32."""
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
        return squared.clamp(min=1e-12).sqrt()  # equal features have a finite gradient


def triplet_loss(
    anchors: Tensor, anchor_pids: Tensor, others: Tensor, other_pids: Tensor, *, margin: float
) -> tuple[Tensor, Tensor]:
    """Compute the batch-hard triplet loss (Hermans et al., 2017) of features before the BNNeck, in float32.

    `others` are the features of the whole batch, which contain the B x D anchors; each anchor needs another image of
    its identity and one of another identity among them. Return the mean loss, and the fraction of anchors whose hardest
    negative is farther than their hardest positive.
    """
    distances = euclidean_distances(anchors, others)
    same = anchor_pids[:, None] == other_pids[None, :]
    positive = distances.masked_fill(~same, -torch.inf).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    loss = functional.relu(positive - negative + margin).mean()
    return loss, (negative > positive).float().mean()


def contrastive_loss(
    anchors: Tensor, anchor_pids: Tensor, others: Tensor, other_pids: Tensor, *, first: int, temperature: float
) -> Tensor:
    """Compute the supervised contrastive loss (Khosla et al., NeurIPS 2020, L_out) of cosines, in float32.

    `others` are the features of the whole batch, which contain the B x D anchors from the index `first` on. Each anchor
    needs another image of its identity among them.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        unit = functional.normalize(anchors.float())
        cosines = unit @ functional.normalize(others.float()).T
    rows = torch.arange(len(anchors), device=anchors.device)
    itself = torch.zeros_like(cosines, dtype=torch.bool)
    itself[rows, rows + first] = True
    log_shares = (cosines / temperature).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    positive = (anchor_pids[:, None] == other_pids[None, :]) & ~itself
    return -(log_shares.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)).mean()


def noisy_log_probabilities(log_probabilities: Tensor, noise: Tensor | float) -> Tensor:
    """Compute the log-probabilities of the labels that annotators give if they err with probability `noise`.

    Implements the forward correction of docs/method.md (Patrini et al., CVPR 2017) for the k classes of one attribute:
    log((1 - e) p_i + e / (k - 1) (1 - p_i)), N x k. The error rate e is that of each label, N, or one for all, below
    (k - 1) / k.
    """
    error = torch.as_tensor(noise, dtype=log_probabilities.dtype, device=log_probabilities.device).reshape(-1, 1)
    each = error / (log_probabilities.shape[1] - 1)
    return torch.logaddexp(log_probabilities + torch.log1p(-error - each), each.log())


def noisy_label_loss(log_probabilities: Tensor, labels: Tensor, noise: Tensor | float) -> Tensor:
    """Compute the cross-entropy, N, with labels that may be wrong (`noisy_log_probabilities`), of one attribute.

    `labels` are distributions over its classes, N x k: one-hot for a label, all zeros without one, where the loss is 0.
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

    Implements equations 18 and 19 of docs/method.md for log p-hat, B x M, and class ids, B x n int64, -1 if missing. An
    attribute without labels in the batch adds nothing. `weights` are M factors on the images of each class, 1 in the
    paper, and `noise` is the share of labels that are wrong (`noisy_log_probabilities`), 0 in the paper.
    """
    total = log_probabilities.new_zeros(())
    for position, classes in enumerate(schema.slices):
        known = labels[:, position] >= 0
        if known.any():
            group = log_probabilities[known][:, classes]
            group = noisy_log_probabilities(group, noise) if noise else group
            factors = None if weights is None else weights[classes]
            total = total + functional.nll_loss(group, labels[known, position], factors)
    return total


def class_weights(labels: Int64Array, schema: AttributeSchema, balance: float) -> Float32Array:
    """Compute M factors on the images of each class: its share of the images to the power of -`balance`.

    The balance 0 weighs all images alike, as in the paper, and 1 all classes alike. `labels` are class ids, N x n, -1
    if missing. The factors of an attribute average 1 over its labelled images; that of a class without images is 0.
    """
    factors = np.zeros(schema.classes, dtype=np.float32)
    for position, (classes, size) in enumerate(zip(schema.slices, schema.sizes, strict=True)):
        known = labels[labels[:, position] >= 0, position]
        if len(known):
            shares = np.bincount(known, minlength=size) / len(known)
            powers = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0)
            factors[classes] = powers / (powers * shares).sum()
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


UNLABELLED = 255
"""Id of cells without a label in a label map."""


class BatchTargets(NamedTuple):
    """Targets of B training images."""

    pids: Tensor  # identities, B int64, 0..identities-1
    maps: Tensor | None = None  # label maps, B x h x w int64, with `UNLABELLED` cells; None without regions
    attributes: Tensor | None = None  # classes, B x n int64, -1 if missing; None without attributes


class Objective(nn.Module):
    """Losses of every kind of feature (equation 15 of docs/method.md), of parsing and of attributes.

    It holds the centres of the identities for each kind, and factors on the attribute loss of each class, (M,), which
    follow from the `labels` of the training images, (N, n).
    """

    class_weights: Tensor

    def __init__(
        self,
        network: ReidNetwork,
        config: TrainConfig,
        identities: int,
        schema: AttributeSchema | None,
        labels: Int64Array | None = None,
    ) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        # No cluster is belongings.
        self.belongings_weight = config.belongings_weight if config.fls.labels == "fls" else 1.0
        weights: Float32Array = np.ones(0 if schema is None else schema.classes, dtype=np.float32)
        if schema is not None and labels is not None:
            weights = class_weights(labels, schema, config.attr_balance)
        self.register_buffer("class_weights", torch.from_numpy(weights))
        self.centres = nn.ModuleDict({kind: CentreLoss(identities, dim) for kind, dim in network.dims.items()})

    def forward(self, output: NetworkOutput, targets: BatchTargets, ranks: Ranks) -> dict[str, Tensor]:
        """Return the terms by name, of which `total` is minimised.

        `identity`, `triplet`, `centre` and, if it has a weight, `contrastive` are weighted sums over the kinds of
        features; `parsing` and `attributes` are the other losses. Fractions for the log are `ordered` (anchors with
        a correctly ordered hardest triplet), `pixels` (cells with the correct region) and `right` (correct attributes).
        """
        config = self.config
        all_pids = ranks.gather(targets.pids)
        parts: dict[str, list[Tensor]] = {"identity": [], "triplet": [], "centre": [], "ordered": []}
        for kind, (pre, post, logits) in output.features.items():
            assert logits is not None
            weight = self._weight(kind)
            parts["identity"].append(weight * identity_loss(logits, targets.pids, smoothing=config.label_smoothing))
            hard, order = triplet_loss(pre, targets.pids, ranks.gather(pre), all_pids, margin=config.triplet_margin)
            parts["triplet"].append(weight * hard)
            parts["centre"].append(weight * self.centres[kind](pre, targets.pids))
            if config.contrastive_weight:
                contrast = contrastive_loss(
                    post,
                    targets.pids,
                    ranks.gather(post),
                    all_pids,
                    first=ranks.rank * len(post),
                    temperature=config.contrastive_temperature,
                )
                parts.setdefault("contrastive", []).append(weight * contrast)
            parts["ordered"].append(order)
        terms = {name: torch.stack(each).sum() for name, each in parts.items()}
        terms["ordered"] = terms["ordered"] / len(output.features)
        total = terms["identity"] + config.triplet_weight * terms["triplet"] + config.centre_weight * terms["centre"]
        if "contrastive" in terms:
            total = total + config.contrastive_weight * terms["contrastive"]
        if output.region_logits is not None and targets.maps is not None:
            terms |= parsing_terms(
                output.region_logits,
                targets.maps,
                summed=config.parsing_reduction == "sum",
                belongings_weight=self.belongings_weight,
            )
            total = total + config.alpha * terms["parsing"]
        if output.attributes is not None and output.raw_attributes is not None and targets.attributes is not None:
            assert self.schema is not None
            terms["attributes"] = self._attributes(output.attributes, targets.attributes)
            terms["right"] = accuracy(output.attributes, targets.attributes, self.schema)
            total = total + config.lambda_attr * terms["attributes"]
            if config.awm_aux_loss and output.raw_attributes is not output.attributes:
                total = total + config.awm_aux_loss * self._attributes(output.raw_attributes, targets.attributes)
        return {"total": total, **terms}

    def _attributes(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        assert self.schema is not None
        return attribute_loss(log_probabilities, labels, self.schema, self.class_weights, self.config.attr_noise)

    def _weight(self, kind: str) -> float:
        return self.config.globalattr_weight if kind == GLOBAL_ATTRIBUTES else 1.0

    def rescale_gradients(self) -> None:
        """Divide the gradients of the centres by the weight of their loss in the total."""
        for kind, centres in self.centres.items():
            centres.rescale_gradients(self.config.centre_weight * self._weight(kind))  # type: ignore[operator]


def parsing_terms(pixels: Tensor, maps: Tensor, *, summed: bool, belongings_weight: float = 1.0) -> dict[str, Tensor]:
    """Compute the parsing loss over labelled cells (equations 16 and 17) and the fraction of correct ones.

    `pixels` are logits, B x K x h x w, and `maps` label maps, B x h x w int64. With `summed`, losses are summed over
    cells and averaged over images, instead of averaged over cells. `belongings_weight` is the weight of a cell of
    belongings, also in the mean; 1 in the paper. The terms are `parsing`, 0 without labelled cells, and `pixels`.
    """
    known = maps != UNLABELLED
    factors = pixels.new_ones(pixels.shape[1], dtype=torch.float32)
    if pixels.shape[1] > BELONGINGS:
        factors[BELONGINGS] = belongings_weight
    losses = functional.cross_entropy(pixels.float(), maps, factors, ignore_index=UNLABELLED, reduction="sum")
    correct = ((pixels.argmax(dim=1) == maps) & known).sum() / known.sum().clamp(min=1)
    count = factors[maps[known]].sum().clamp(min=1)
    return {"parsing": losses / (len(maps) if summed else count), "pixels": correct}


def accuracy(log_probabilities: Tensor, labels: Tensor, schema: AttributeSchema) -> Tensor:
    """Return the fraction of the labelled attributes of B images whose most probable class is the label."""
    predicted = torch.stack([log_probabilities[:, classes].argmax(dim=1) for classes in schema.slices], dim=1)
    known = labels >= 0
    return ((predicted == labels) & known).sum() / known.sum().clamp(min=1)
