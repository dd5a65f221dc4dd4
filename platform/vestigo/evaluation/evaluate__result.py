"""What was found about a model or about features."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.attributes import AttributeJudgement
from vestigo.evaluation.filter import FilterJudgement
from vestigo.evaluation.metrics.ranking import ImageSet, QueryScores, RetrievalMetrics
from vestigo.evaluation.metrics.regions import RegionMetrics
from vestigo_models.schemas.attributes import AttributeSchema

CURVE = tuple(range(1, 21))


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What was found, for the ranking that was asked for.

    Attributes:
        scores: by query, for the Q queries that could be read.
        nearest: (Q, `STRIP`) int64, gallery rows of the images that each query was compared with, nearest first,
            -1 where there are fewer.
        unreadable: reason -> number of queries left out because their image cannot be read.
        gallery_unreadable: the same for gallery images.
        schema: attributes that the model predicts, None where it predicts none.
        probabilities: (Q, M) and (G, M) float32, what it says of them for query and gallery.
        attributes: of the gallery, None where they cannot be judged.
        regions: of the gallery, None where they cannot be judged.
        belongings_auc: see `vestigo.evaluation.regions.belongings_auc`.
        filter: what the filter did, None without one.
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
    schema: AttributeSchema | None = None
    probabilities: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    attributes: AttributeJudgement | None = None
    regions: RegionMetrics | None = None
    belongings_auc: float | None = None
    filter: FilterJudgement | None = None
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
