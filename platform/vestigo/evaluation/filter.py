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
from vestigo_models.attribute_filter.matching import FilteredGallery, GalleryWords
from vestigo_models.attribute_filter.modes import FilterChoice
from vestigo_models.attribute_filter.rule import conflict_penalty, conflicts, encode
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.extractor import Outputs
from vestigo_models.schemas.attributes import AttributeSchema

TIMED_QUERIES, TIMED_TOP, ROUNDS = 64, 100, 3
"""Speed is measured on so many queries, one by one, that ask for so many nearest images; the median round counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterJudgement:
    """What a filter did on this dataset.

    Attributes:
        cost: what it kept and lost; the metrics with it are those of the whole benchmark.
        speed_up: time of matching without the filter over the time with it, features cached and the gallery grouped;
            None where nothing is discarded.
    """

    choice: FilterChoice
    cost: FilterCost
    speed_up: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Who is on some images, and what the model says of them."""

    images: ImageSet
    outputs: Outputs


class FilterRun:
    """Puts a filter into chunks of distances, one after the other, and counts what it does."""

    def __init__(
        self, choice: FilterChoice, schema: AttributeSchema, query: Side, gallery: Side, options: Options
    ) -> None:
        self._choice, self._schema, self._options = choice, schema, options
        self._query, self._gallery = query, gallery
        held = gallery.outputs.probabilities
        self._words = encode(held, schema, choice.threshold, choice.names)
        self._groups = GalleryWords.of(held, schema, choice.threshold, choice.names, choice.max_conflicts)
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
        asked = self._query.outputs.probabilities[some]
        kept = np.zeros(distances.shape, dtype=np.bool_)
        for row, stay in enumerate(self._groups.stay(asked)):
            kept[row, self._groups.rows(stay)] = True
        words = encode(asked, self._schema, self._choice.threshold, self._choice.names)
        counts = conflicts(words, self._words, self._schema)
        return self._scored(distances, counts, kept, some), filtered_distances(distances, counts, kept)

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
        """Matching a query with everything over matching it with what the filter leaves."""
        choice, asked, held = self._choice, self._query.outputs, self._gallery.outputs
        rows = np.unique(np.linspace(0, len(asked) - 1, TIMED_QUERIES).round().astype(np.int64))
        top = min(TIMED_TOP, len(held))
        queries = [(asked.descriptors[rows[[at]]], asked.probabilities[rows[[at]]]) for at in range(len(rows))]
        grouped = FilteredGallery.of(
            held.descriptors, held.probabilities, self._schema, choice.threshold, choice.names, choice.max_conflicts
        )

        def without() -> None:
            for descriptor, _ in queries:
                _nearest(descriptor, held.descriptors, top)

        def with_filter() -> None:
            for descriptor, probabilities in queries:
                grouped.match(descriptor, probabilities, top)

        times = [(_seconds(without), _seconds(with_filter)) for _ in range(ROUNDS)]
        slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
        return float(slow / fast)


def _nearest(query: Descriptors, gallery: Descriptors, top: int) -> NDArray[np.int64]:
    distances = part_visible_distance(query, gallery)[0]
    found = np.argpartition(distances, top - 1)[:top]
    return found[np.argsort(distances[found], kind="stable")].astype(np.int64)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
