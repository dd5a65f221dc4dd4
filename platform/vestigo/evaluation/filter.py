"""Evaluate an attribute filter: what it keeps and loses, and its speed-up, as in docs/method.md, "Scoring"."""

import statistics
from dataclasses import dataclass, replace
from timeit import timeit

import numpy as np

from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.filter import FilterCost, FilterScores, filtered_distances, score_filtered
from vestigo.evaluation.metrics.ranking import ApDefinition, Protocol, score_queries
from vestigo.ranking.screening import DistanceBlock
from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt8Array, UInt64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.rule import conflict_penalty, count_conflicts, encode_predictions, survivors
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.schemas.attributes import AttributeSchema

TIMED_QUERIES, TIMED_TOP, ROUNDS = 64, 100, 3
"""Queries that are timed one by one, nearest images that each selects, and rounds, of which the median counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterEvaluation:
    """The effect of a filter on a dataset."""

    choice: FilterChoice
    cost: FilterCost  # Kept and lost images; the metrics with the filter are those of the evaluation
    # Time of matching without the filter over the time with it, features cached; None if nothing is discarded
    speed_up: float | None


class FilterEvaluator:
    """Applies a filter to chunks of distances and counts its effect."""

    def __init__(
        self,
        choice: FilterChoice,
        schema: AttributeSchema,
        query: ImageFeatures,
        gallery: ImageFeatures,
        *,
        protocol: Protocol = "cross-camera",
        ap: ApDefinition = "standard",
    ) -> None:
        self._choice, self._schema, self._protocol, self._ap = choice, schema, protocol, ap
        self._query, self._gallery = query, gallery
        self._words = self._encode(gallery.features.probabilities)
        self._parts: list[FilterScores] = []

    def apply(self, distances: DistanceBlock, rows: slice) -> tuple[FilterScores, DistanceBlock]:
        """Return the scores of the queries `rows`, and their distances as the filter changes them."""
        query, gallery = self._query.images[rows], self._gallery.images
        probabilities, is_soft = self._query.features.probabilities[rows], self._choice.mode == "soft"
        if is_soft:
            penalty = self._penalty(probabilities, self._gallery.features.probabilities)
            changed = distances.combined(1.0, self._choice.weight * penalty.astype(np.float64))
            conflicts = np.zeros(distances.rough.shape, dtype=np.uint8)
            kept = conflicts == 0
        else:
            conflicts, kept = self._survivors(probabilities)
            changed = filtered_distances(distances, conflicts, kept)
        scores = score_filtered(distances, conflicts, kept, query, gallery, protocol=self._protocol, ap=self._ap)
        if is_soft:
            ranked = score_queries(changed, query, gallery, protocol=self._protocol, ap=self._ap)
            scores = replace(scores, with_filter=ranked)
        self._parts.append(scores)
        return scores, changed

    def result(self) -> FilterEvaluation:
        """Return the effect over all chunks."""
        is_timed = self._choice.discards and len(self._query)
        return FilterEvaluation(choice=self._choice, cost=self.cost(), speed_up=self._speed_up() if is_timed else None)

    def cost(self) -> FilterCost:
        """Return what the filter kept and lost in all chunks."""
        return FilterScores.merge(self._parts).summary()

    def _encode(self, probabilities: Float32Array) -> UInt64Array:
        return encode_predictions(probabilities, self._schema, self._choice.threshold, self._choice.names)

    def _penalty(self, query: Float32Array, gallery: Float32Array) -> Float32Array:
        return conflict_penalty(query, gallery, self._schema, self._choice.threshold, self._choice.names)

    def _survivors(self, query: Float32Array) -> tuple[UInt8Array, BoolArray]:
        """Count the conflicts of queries with given probabilities, and decide which gallery images they keep."""
        gallery = self._gallery.features.probabilities
        conflicts = count_conflicts(self._encode(query), self._words, self._schema)

        def penalty(row: int, columns: Int64Array) -> Float32Array:
            return np.asarray(self._penalty(query[row : row + 1], gallery[columns])[0])

        return conflicts, survivors(conflicts, penalty, max_conflicts=self._choice.max_conflicts)

    def _speed_up(self) -> float:
        """Measure the time of matching without the filter over the time with it.

        Both compute distances and select the nearest. With the filter, the survivors are decided first and only their
        distances are computed. Features and the words of the gallery are cached.
        """
        query, gallery = self._query.features, self._gallery.features.descriptors
        rows = np.unique(np.linspace(0, len(query) - 1, TIMED_QUERIES).round().astype(np.int64))
        queries = [query[rows[[position]]] for position in range(len(rows))]

        def match_all() -> None:
            for features in queries:
                _nearest(features.descriptors, gallery)

        def match_survivors() -> None:
            for features in queries:
                _, kept = self._survivors(features.probabilities)
                _nearest(features.descriptors, gallery[np.flatnonzero(kept[0])])

        times = [(timeit(match_all, number=1), timeit(match_survivors, number=1)) for _ in range(ROUNDS)]
        slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
        return float(slow / fast)


def _nearest(query: Descriptors, gallery: Descriptors) -> Int64Array:
    distances = part_visible_distance(query, gallery)[0]
    top = min(TIMED_TOP, len(gallery))
    nearest = np.argpartition(distances, top - 1)[:top]
    return nearest[np.argsort(distances[nearest], kind="stable")].astype(np.int64)
