"""How a model or features are judged, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.benchmark.attributes import AttributeJudgement
from vestigo.evaluation import ApDefinition, ImageSet, Metric, Protocol, QueryScores, RetrievalMetrics

STRIP = 10
CURVE = tuple(range(1, 21))

Advance = Callable[[str, int, int], None]
"""Hears the stage, how many of its items are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a ranking is made and scored; `metric` is for plain features, a model brings its own distance."""

    protocol: Protocol = "cross-camera"
    ap: ApDefinition = "standard"
    metric: Metric = "cosine"
    rerank: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What was found.

    Attributes:
        scores: by query, for the Q queries that could be read.
        nearest: (Q, `STRIP`) int64, gallery rows of the images that each query was compared with, nearest first,
            -1 where there are fewer.
        unreadable: reason -> number of queries left out because their image cannot be read.
        gallery_unreadable: the same for gallery images.
        attributes: of the gallery, None where they cannot be judged.
        notes: why something that the dataset or the model has was not judged.
    """

    query: ImageSet
    gallery: ImageSet
    scores: QueryScores
    nearest: NDArray[np.int64]
    unreadable: dict[str, int] = field(default_factory=dict)
    gallery_unreadable: dict[str, int] = field(default_factory=dict)
    query_paths: tuple[Path, ...] = ()
    gallery_paths: tuple[Path, ...] = ()
    attributes: AttributeJudgement | None = None
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> RetrievalMetrics:
        """Summary over all queries, unreadable ones among the excluded."""
        summary = self.scores.summary(CURVE)
        unreadable = {f"query image unreadable ({reason})": count for reason, count in self.unreadable.items()}
        return RetrievalMetrics(
            mAP=summary.mAP,
            mINP=summary.mINP,
            cmc=summary.cmc,
            queries=summary.queries + sum(unreadable.values()),
            excluded=summary.excluded | unreadable,
        )

    def by_camera(self) -> dict[int, RetrievalMetrics]:
        """Summary of the queries of each camera (counted from 0)."""
        return {
            int(camera): self.scores[self.query.camids == camera].summary() for camera in np.unique(self.query.camids)
        }
