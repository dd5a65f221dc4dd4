"""How a model or features are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import ApDefinition, Protocol
from vestigo.ranking.distance import Metric
from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.modes import FilterChoice

Distances = NDArray[np.float64]
"""(c, G): c queries to the whole gallery, the smaller the more alike."""
NO_FILTER = FilterChoice(mode="off", threshold=OFF)

Advance = Callable[[str, int, int], None]
"""Hears the stage, how many of its items are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a ranking is made and scored. `metric` is for plain features: a model brings its own distance; `filter` is
    for models."""

    protocol: Protocol = "cross-camera"
    ap: ApDefinition = "standard"
    metric: Metric = "cosine"
    rerank: bool = False
    filter: FilterChoice = NO_FILTER
