"""Options of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from vestigo.evaluation.metrics.ranking import ApDefinition, Protocol
from vestigo.ranking.distance import Metric
from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.modes import FilterChoice

FILTER_OFF = FilterChoice(mode="off", threshold=OFF)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How a ranking is made and scored.

    Attributes:
        metric: Distance of plain features; models have their own distance.
        filter: Attribute filter, for models only.
    """

    protocol: Protocol = "cross-camera"
    ap: ApDefinition = "standard"
    metric: Metric = "cosine"
    rerank: bool = False
    filter: FilterChoice = FILTER_OFF
