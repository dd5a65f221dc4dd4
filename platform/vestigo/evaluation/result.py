"""The evaluation of one ranking."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from vestigo.evaluation.metrics.interval import mean_interval
from vestigo.evaluation.metrics.ranking import (
    SCORED,
    CameraPairMetrics,
    ImageSet,
    QueryScores,
    RetrievalMetrics,
    score_camera_pairs,
)
from vestigo_models.arrays import Float32Array, Int64Array

if TYPE_CHECKING:
    from pathlib import Path

    from vestigo.evaluation.attributes import AttributeEvaluation
    from vestigo.evaluation.filter import FilterEvaluation
    from vestigo.evaluation.metrics.regions import RegionMetrics
    from vestigo_models.schemas.attributes import AttributeSchema

CMC_RANKS = tuple(range(1, 21))


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The evaluation of one ranking, over the Q queries and G gallery images that could be read.

    Attributes:
        nearest: (Q, `NEAREST_SHOWN`) int64, rows of the nearest compared gallery images, -1 if there are fewer.
        unreadable: Reason -> number of images that could not be read.
        probabilities: (Q, M) and (G, M) float32 attribute probabilities.
        attributes: Evaluation of the gallery's attributes, None if impossible.
        regions: Evaluation of the gallery's regions, None if impossible.
        filter: Effect of the attribute filter, None without one.
        notes: Why something that the dataset or the model has was not evaluated.
    """

    query: ImageSet
    gallery: ImageSet
    scores: QueryScores
    nearest: Int64Array
    unreadable: dict[str, int] = field(default_factory=dict)
    gallery_unreadable: dict[str, int] = field(default_factory=dict)
    query_paths: tuple[Path, ...] = ()
    gallery_paths: tuple[Path, ...] = ()
    schema: AttributeSchema | None = None
    probabilities: tuple[Float32Array, Float32Array] | None = None
    attributes: AttributeEvaluation | None = None
    regions: RegionMetrics | None = None
    belongings_auc: float | None = None
    filter: FilterEvaluation | None = None
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> RetrievalMetrics:
        """Metrics over all queries; unreadable ones count as excluded."""
        summary = self.scores.summary(CMC_RANKS)
        unreadable = {f"query image unreadable ({reason})": count for reason, count in self.unreadable.items()}
        queries = summary.queries + sum(unreadable.values())
        return replace(summary, queries=queries, excluded=summary.excluded | unreadable)

    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """Return the 95 % intervals, in percent, of mAP and Rank-1 for other identities; None for fewer than two."""
        scored = self.scores.status == SCORED
        pids = self.query.pids[scored]
        values = {"mAP": self.scores.ap[scored], "rank1": (self.scores.first[scored] == 1).astype(np.float64)}
        found = {name: mean_interval(each, pids) for name, each in values.items()}
        return {name: each and (100 * each[0], 100 * each[1]) for name, each in found.items()}

    def by_camera_pair(self) -> dict[tuple[int, int], CameraPairMetrics]:
        """Return the metrics by the camera of the query and that of the gallery, counted from 0."""
        return score_camera_pairs(self.scores, self.query.camids, self.gallery.camids)

    def by_camera(self) -> dict[int, RetrievalMetrics]:
        """Return the metrics of the queries of each camera, counted from 0."""
        return {
            int(camera): self.scores[self.query.camids == camera].summary() for camera in np.unique(self.query.camids)
        }
