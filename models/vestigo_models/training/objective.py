"""The objective of a training (docs/method.md, "Losses", equations 15 to 20)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import Float32Array
from vestigo_models.networks.outputs import GLOBAL_ATTRIBUTES, NetworkOutput, ReidNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import BELONGINGS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import CentreLoss, attribute_loss, identity_loss, triplet_loss

UNLABELLED = 255
"""Id of cells without a label in a label map."""


class BatchTargets(NamedTuple):
    """Targets of B training images."""

    pids: Tensor  # identities, B int64, 0..identities-1
    maps: Tensor | None = None  # label maps, B x h x w int64, with `UNLABELLED` cells; None without regions
    attributes: Tensor | None = None  # classes, B x n int64, -1 if missing; None without attributes


class Objective(nn.Module):
    """Losses of every kind of feature (equation 15 of docs/method.md), of parsing and of attributes.

    It holds the centres of the identities for each kind, and factors on the attribute loss of each class, (M,).
    """

    class_weights: Tensor

    def __init__(
        self,
        network: ReidNetwork,
        config: TrainConfig,
        identities: int,
        schema: AttributeSchema | None,
        class_weights: Float32Array | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        # No cluster is belongings.
        self.belongings_weight = config.belongings_weight if config.fls.labels == "fls" else 1.0
        self.schema = schema
        even = np.ones(0 if schema is None else schema.classes, dtype=np.float32)
        self.register_buffer("class_weights", torch.from_numpy(even if class_weights is None else class_weights))
        self.centres = nn.ModuleDict({kind: CentreLoss(identities, dim) for kind, dim in network.dims.items()})

    def forward(self, output: NetworkOutput, targets: BatchTargets, ranks: Ranks) -> dict[str, Tensor]:
        """Return the terms by name, of which `total` is minimised.

        `identity`, `triplet` and `centre` are weighted sums over the kinds of features; `parsing` and `attributes` are
        the other losses. Fractions for the log are `ordered` (anchors with a correctly ordered hardest triplet),
        `pixels` (cells with the correct region) and `right` (correct attributes).
        """
        config = self.config
        all_pids = ranks.gather(targets.pids)
        identity, triplet, centre, ordered = [], [], [], []
        for kind, (pre, _, logits) in output.features.items():
            assert logits is not None
            weight = self._weight(kind)
            identity.append(weight * identity_loss(logits, targets.pids, smoothing=config.label_smoothing))
            hard, order = triplet_loss(pre, targets.pids, ranks.gather(pre), all_pids, margin=config.triplet_margin)
            triplet.append(weight * hard)
            ordered.append(order)
            centre.append(weight * self.centres[kind](pre, targets.pids))
        terms = {name: torch.stack(each).sum() for name, each in (("identity", identity), ("triplet", triplet))}
        terms["centre"] = torch.stack(centre).sum()
        terms["ordered"] = torch.stack(ordered).mean()
        total = terms["identity"] + terms["triplet"] + config.centre_weight * terms["centre"]
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

    Args:
        pixels: Logits, B x K x h x w.
        maps: Label maps, B x h x w int64.
        summed: Whether losses are summed over cells and averaged over images, instead of averaged over cells.
        belongings_weight: Weight of a cell of belongings, also in the mean; 1 in the paper.

    Returns:
        `parsing`, 0 without labelled cells, and `pixels`.
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
    predicted = torch.stack([log_probabilities[:, schema.slice(name)].argmax(dim=1) for name in schema.names], dim=1)
    known = labels >= 0
    return ((predicted == labels) & known).sum() / known.sum().clamp(min=1)
