"""Evaluate an attribute filter: what it keeps and loses, and its speed-up, as in docs/method.md, "Scoring"."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from timeit import timeit

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.filter import FilterCost, FilterScores, filtered_distances, score_filtered
from vestigo.evaluation.metrics.ranking import ApDefinition, Protocol, score_queries
from vestigo.ranking.screening import DistanceBlock
from vestigo.ranking.top_k import GalleryPart, rank
from vestigo.retrieval.filter import GalleryFilter
from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt8Array, UInt64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.rule import (
    confidences,
    conflict_penalty,
    count_conflicts,
    encode_predictions,
    predicted_words,
    survivors,
)
from vestigo_models.schemas.attributes import AttributeSchema

TIMED_QUERIES, TIMED_TOP, ROUNDS = 64, 100, 3
"""Queries that are timed one by one, nearest images that each selects, and rounds, of which the median counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterEvaluation:
    """The effect of a filter on a dataset."""

    choice: FilterChoice
    cost: FilterCost  # Kept and lost images; the metrics with the filter are those of the evaluation
    # Time that a search ranks the gallery without the filter over the time with it; None if nothing is discarded
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
        """Measure the time that a search ranks the gallery without the filter over the time with it.

        With the filter, the search decides first which images are kept, and reads the descriptors of these only.
        Catalogue, index and network, which both need, are not included.
        """
        query = self._query.features
        crops = GalleryImages.of(self._gallery.features.probabilities, self._schema, self._choice)
        part = GalleryPart.of(crops.ids, self._gallery.features.descriptors)
        rows = np.unique(np.linspace(0, len(query) - 1, TIMED_QUERIES).round().astype(np.int64))
        queries = [query[rows[[position]]] for position in range(len(rows))]

        def match_all() -> None:
            for features in queries:
                rank(features.descriptors, [part], TIMED_TOP)

        def match_survivors() -> None:
            for features in queries:
                decided = GalleryFilter.of(self._choice, self._schema, features.probabilities, lambda: [crops])
                kept = replace(part, keeps=partial(decided.keeps, crops))
                rank(features.descriptors, [kept], TIMED_TOP)

        times = [(timeit(match_all, number=1), timeit(match_survivors, number=1)) for _ in range(ROUNDS)]
        slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
        return float(slow / fast)


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryImages:
    """n images as the filter of a search reads them."""

    ids: NDArray[np.bytes_]  # (n,)
    words: UInt64Array  # (n,), of `predicted_words`
    confidences: Float32Array  # (n, attributes)
    reliable: UInt64Array  # (n,), words of one filter, which a search keeps in memory, too

    @classmethod
    def of(cls, probabilities: Float32Array, schema: AttributeSchema, choice: FilterChoice) -> GalleryImages:
        """Return images of probabilities (n, M), named by their numbers."""
        return cls(
            ids=np.char.zfill(np.arange(len(probabilities)).astype("S20"), 20),
            words=predicted_words(probabilities, schema),
            confidences=confidences(probabilities, schema),
            reliable=encode_predictions(probabilities, schema, choice.threshold, choice.names),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def reliable_words(self, _schema: AttributeSchema, _threshold: float, _names: Sequence[str]) -> UInt64Array:
        """Return the words of the filter, (n,)."""
        return self.reliable

    def predictions(self, chosen: Int64Array | slice = slice(None)) -> tuple[UInt64Array, Float32Array]:
        """Return words and confidences of some images."""
        return self.words[chosen], self.confidences[chosen]
