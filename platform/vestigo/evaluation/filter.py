"""The attribute filter between distances and ranking, and how much faster it makes matching (specification, section
11)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.filter import FilterCost, FilterScores, filtered_distances, score_filtered
from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo.evaluation.options import Distances, Options
from vestigo_models.attribute_filter.modes import FilterChoice
from vestigo_models.attribute_filter.rule import conflict_penalty, count_conflicts, encode_predictions, survivors
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.attributes import AttributeSchema

TIMED_QUERIES, TIMED_TOP, ROUNDS = 64, 100, 3
"""Speed is measured on so many queries, one by one, that ask for so many nearest images; the median round counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterJudgement:
    """What a filter did on this dataset.

    Attributes:
        cost: what it kept and lost; the metrics with it are those of the whole benchmark.
        speed_up: time of matching without the filter over the time with it, features cached;
            None if nothing is discarded.
    """

    choice: FilterChoice
    cost: FilterCost
    speed_up: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Who is on some images, and what the model says of them."""

    images: ImageSet
    outputs: CropFeatures


class FilterRun:
    """Puts a filter into chunks of distances, one after the other, and counts what it does."""

    def __init__(
        self, choice: FilterChoice, schema: AttributeSchema, query: Side, gallery: Side, options: Options
    ) -> None:
        self._choice, self._schema, self._options = choice, schema, options
        self._query, self._gallery = query, gallery
        held = gallery.outputs.probabilities
        self._words = encode_predictions(held, schema, choice.threshold, choice.names)
        self._parts: list[FilterScores] = []

    def apply(self, distances: Distances, some: slice) -> tuple[FilterScores, Distances]:
        """The scores of the queries `some`, and their (c, G) distances as the filter changes them."""
        soft = self._choice.mode == "soft"
        part, changed = self._softened(distances, some) if soft else self._discarded(distances, some)
        self._parts.append(part)
        return part, changed

    def judgement(self) -> FilterJudgement:
        """What was found, once all chunks went through."""
        timed = self._choice.discards and len(self._query.images)
        return FilterJudgement(
            choice=self._choice,
            cost=FilterScores.merge(self._parts).summary(),
            speed_up=self._speed_up() if timed else None,
        )

    def _discarded(self, distances: Distances, some: slice) -> tuple[FilterScores, Distances]:
        conflicts, kept = self._survivors(self._query.outputs.probabilities[some])
        return self._scored(distances, conflicts, kept, some), filtered_distances(distances, conflicts, kept)

    def _survivors(self, query: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Count the conflicts of queries with given probabilities, and decide which gallery crops they keep."""
        choice, gallery = self._choice, self._gallery.outputs.probabilities
        words = encode_predictions(query, self._schema, choice.threshold, choice.names)
        conflicts = count_conflicts(words, self._words, self._schema)

        def penalty(row: int, columns: NDArray[np.int64]) -> NDArray[np.float32]:
            sides = query[row : row + 1], gallery[columns]
            penalties: NDArray[np.float32] = conflict_penalty(*sides, self._schema, choice.threshold, choice.names)[0]
            return penalties

        return conflicts, survivors(conflicts, penalty, max_conflicts=choice.max_conflicts)

    def _softened(self, distances: Distances, some: slice) -> tuple[FilterScores, Distances]:
        choice = self._choice
        asked, held = self._query.outputs.probabilities[some], self._gallery.outputs.probabilities
        penalty = conflict_penalty(asked, held, self._schema, choice.threshold, choice.names)
        changed = np.asarray(distances + choice.weight * penalty.astype(np.float64))
        nothing = np.zeros(distances.shape, dtype=np.uint8)
        plain = self._scored(distances, nothing, nothing == 0, some)
        options = self._options
        scores = score_queries(
            changed, self._query.images[some], self._gallery.images, protocol=options.protocol, ap=options.ap
        )
        return replace(plain, with_filter=scores), changed

    def _scored(
        self, distances: Distances, counts: NDArray[np.uint8], kept: NDArray[np.bool_], some: slice
    ) -> FilterScores:
        options = self._options
        query, gallery = self._query.images[some], self._gallery.images
        return score_filtered(distances, counts, kept, query, gallery, protocol=options.protocol, ap=options.ap)

    def _speed_up(self) -> float:
        """Measure the time of matching without the filter over the time with it.

        Both compute distances and select the nearest. With the filter, the survivors are decided first and only their
        distances are computed. Features and the words of the gallery are cached.
        """
        query, gallery = self._query.outputs, self._gallery.outputs.descriptors
        rows = np.unique(np.linspace(0, len(query) - 1, TIMED_QUERIES).round().astype(np.int64))
        queries = [(query.descriptors[rows[[at]]], query.probabilities[rows[[at]]]) for at in range(len(rows))]

        def match_all() -> None:
            for descriptor, _ in queries:
                _nearest(descriptor, gallery)

        def match_survivors() -> None:
            for descriptor, probabilities in queries:
                _, kept = self._survivors(probabilities)
                _nearest(descriptor, gallery[np.flatnonzero(kept[0])])

        times = [(_seconds(match_all), _seconds(match_survivors)) for _ in range(ROUNDS)]
        slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
        return float(slow / fast)


def _nearest(query: Descriptors, gallery: Descriptors) -> NDArray[np.int64]:
    distances = part_visible_distance(query, gallery)[0]
    top = min(TIMED_TOP, len(gallery))
    nearest = np.argpartition(distances, top - 1)[:top]
    return nearest[np.argsort(distances[nearest], kind="stable")].astype(np.int64)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
