"""The sum of losses that a training minimises (specification, section 9, equations 15 to 20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.outputs import GLOBAL_ATTRIBUTES, NetworkOutput, ReidNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import BELONGINGS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import CentreLoss, attribute_loss, identity_loss, triplet_loss

UNLABELLED = 255
"""In a label map: nobody knows yet."""


class Truth(NamedTuple):
    """What is known of B training images.

    Attributes:
        pids: B int64, 0..identities-1.
        maps: B x h x w int64 region labels, `UNLABELLED` where there is none; None without regions.
        attributes: B x n int64, -1 where missing; None without attributes.
    """

    pids: Tensor
    maps: Tensor | None = None
    attributes: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Factors and settings of the losses; names as in `TrainConfig`."""

    label_smoothing: float
    triplet_margin: float
    centre_weight: float
    globalattr_weight: float
    alpha: float
    parsing_sum: bool
    belongings_weight: float
    lambda_attr: float
    awm_aux_loss: float
    attr_noise: float

    @classmethod
    def of(cls, config: TrainConfig) -> Weights:
        """The weights that a configuration asks for."""
        return cls(
            label_smoothing=config.label_smoothing,
            triplet_margin=config.triplet_margin,
            centre_weight=config.centre_weight,
            globalattr_weight=config.globalattr_weight,
            alpha=config.alpha,
            parsing_sum=config.parsing_reduction == "sum",
            # Of five or six clusters none is belongings.
            belongings_weight=config.belongings_weight if config.fls.labels == "fls" else 1.0,
            lambda_attr=config.lambda_attr,
            awm_aux_loss=config.awm_aux_loss,
            attr_noise=config.attr_noise,
        )


class Objective(nn.Module):
    """Equation 15 of every kind of features, parsing, attributes; holds the centres, one table for each kind."""

    class_weights: Tensor

    def __init__(
        self,
        network: ReidNetwork,
        weights: Weights,
        identities: int,
        schema: AttributeSchema | None,
        class_weights: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.schema = schema
        even = np.ones(0 if schema is None else schema.classes, dtype=np.float32)
        self.register_buffer("class_weights", torch.from_numpy(even if class_weights is None else class_weights))
        self.centres = nn.ModuleDict({kind: CentreLoss(identities, dim) for kind, dim in network.dims.items()})

    def forward(self, output: NetworkOutput, truth: Truth, ranks: Ranks) -> dict[str, Tensor]:
        """The terms by name, `total` the one to minimise.

        Weighted sums over the kinds of features: `identity`, `triplet`, `centre`. Shares that are logged only:
        `ordered`, anchors whose hardest triplet is in order, `pixels`, cells whose region is right, `right`, attributes
        that are.
        """
        weights = self.weights
        everyone = ranks.gather(truth.pids)
        identity, triplet, centre, ordered = [], [], [], []
        for kind, (pre, _, logits) in output.features.items():
            assert logits is not None
            weight = self._weight(kind)
            identity.append(weight * identity_loss(logits, truth.pids, smoothing=weights.label_smoothing))
            hard, order = triplet_loss(pre, truth.pids, ranks.gather(pre), everyone, margin=weights.triplet_margin)
            triplet.append(weight * hard)
            ordered.append(order)
            centre.append(weight * self.centres[kind](pre, truth.pids))
        terms = {name: torch.stack(each).sum() for name, each in (("identity", identity), ("triplet", triplet))}
        terms["centre"] = torch.stack(centre).sum()
        terms["ordered"] = torch.stack(ordered).mean()
        total = terms["identity"] + terms["triplet"] + weights.centre_weight * terms["centre"]
        if output.region_logits is not None and truth.maps is not None:
            terms |= parsing_terms(
                output.region_logits,
                truth.maps,
                summed=weights.parsing_sum,
                belongings_weight=weights.belongings_weight,
            )
            total = total + weights.alpha * terms["parsing"]
        if output.attributes is not None and output.raw_attributes is not None and truth.attributes is not None:
            assert self.schema is not None
            terms["attributes"] = self._attributes(output.attributes, truth.attributes)
            terms["right"] = share_right(output.attributes, truth.attributes, self.schema)
            total = total + weights.lambda_attr * terms["attributes"]
            if weights.awm_aux_loss and output.raw_attributes is not output.attributes:
                total = total + weights.awm_aux_loss * self._attributes(output.raw_attributes, truth.attributes)
        return {"total": total, **terms}

    def _attributes(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        assert self.schema is not None
        return attribute_loss(log_probabilities, labels, self.schema, self.class_weights, self.weights.attr_noise)

    def _weight(self, kind: str) -> float:
        return self.weights.globalattr_weight if kind == GLOBAL_ATTRIBUTES else 1.0

    def rescale_gradients(self) -> None:
        """Undo, for the centres alone, the weight that their loss carries in the total."""
        for kind, centres in self.centres.items():
            centres.rescale_gradients(self.weights.centre_weight * self._weight(kind))  # type: ignore[operator]


def parsing_terms(pixels: Tensor, maps: Tensor, *, summed: bool, belongings_weight: float = 1.0) -> dict[str, Tensor]:
    """Equations 16 and 17 over the labelled cells, and the share of them whose region is right.

    pixels: B x K x h x w logits; maps: B x h x w int64. A cell of belongings counts `belongings_weight` times (1 in
    the paper), also in the mean. Without any labelled cell the loss is 0.
    """
    known = maps != UNLABELLED
    factors = pixels.new_ones(pixels.shape[1], dtype=torch.float32)
    if pixels.shape[1] > BELONGINGS:
        factors[BELONGINGS] = belongings_weight
    losses = functional.cross_entropy(pixels.float(), maps, factors, ignore_index=UNLABELLED, reduction="sum")
    right = ((pixels.argmax(dim=1) == maps) & known).sum() / known.sum().clamp(min=1)
    count = factors[maps[known]].sum().clamp(min=1)
    return {"parsing": losses / (len(maps) if summed else count), "pixels": right}


def share_right(log_probabilities: Tensor, labels: Tensor, schema: AttributeSchema) -> Tensor:
    """Share of the labelled attributes of B images whose most probable class is the label."""
    predicted = torch.stack([log_probabilities[:, schema.slice(name)].argmax(dim=1) for name in schema.names], dim=1)
    known = labels >= 0
    return ((predicted == labels) & known).sum() / known.sum().clamp(min=1)
