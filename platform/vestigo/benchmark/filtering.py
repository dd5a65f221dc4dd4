"""What the attribute filter does to a ranking: what it keeps, what it loses, how much faster it is (specification,
section 11).

Discarded images stand behind all that stay, by number of conflicts, then by their place in the gallery, and every true
match counts, so that a wrong discard costs average precision.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.benchmark.options import Options
from vestigo.benchmark.ranking import Distances
from vestigo.evaluation import SCORED, ImageSet, QueryScores, RetrievalMetrics, compared_images, score_queries
from vestigo_models.distance import Descriptors, part_visible_distance
from vestigo_models.extraction import Outputs
from vestigo_models.filter_matching import FilteredGallery
from vestigo_models.filter_modes import FilterChoice
from vestigo_models.filter_words import GalleryWords
from vestigo_models.gallery_filter import conflict_penalty, conflicts, encode
from vestigo_models.schemas import AttributeSchema

BEHIND = 4.0
"""Added to what is discarded; distances end at 2."""
TIMED_QUERIES, TIMED_TOP, ROUNDS = 64, 100, 3
"""Speed is measured on so many queries, one by one, that ask for so many nearest images; the median round counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterJudgement:
    """What a filter did on this dataset.

    Attributes:
        kept_fraction: share of the gallery that stays, mean over queries; None without any gallery image.
        true_matches_lost: share of its true matches that an identity loses: mean over the scored queries of each
            identity, then over identities; None where no query is scored.
        speed_up: time of matching without the filter over the time with it, features cached; None where nothing is
            discarded.
        without: the metrics of the same ranking without the filter.
    """

    choice: FilterChoice
    kept_fraction: float | None
    true_matches_lost: float | None
    speed_up: float | None
    without: RetrievalMetrics


class FilterRun:
    """Puts a filter between distances and ranking, and counts what it does."""

    def __init__(
        self,
        choice: FilterChoice,
        schema: AttributeSchema,
        query: tuple[ImageSet, Outputs],
        gallery: tuple[ImageSet, Outputs],
        options: Options,
    ) -> None:
        self.choice, self.schema, self.options = choice, schema, options
        self.query, self.asked = query
        self.gallery, self.held = gallery
        probabilities = self.held.probabilities
        self._words = encode(probabilities, schema, choice.threshold, choice.names)
        self._groups = GalleryWords.of(probabilities, schema, choice.threshold, choice.names, choice.max_conflicts)
        self._plain: list[QueryScores] = []
        self._kept: list[int] = []
        self._lost: list[float] = []

    def filtered(self, chunks: Iterable[Distances]) -> Iterator[Distances]:
        """Yield each chunk of distances with the filter in it, and score it without."""
        start = 0
        for distances in chunks:
            some = slice(start, start + len(distances))
            self._plain.append(
                score_queries(
                    distances, self.query[some], self.gallery, protocol=self.options.protocol, ap=self.options.ap
                )
            )
            yield self._soft(distances, some) if self.choice.mode == "soft" else self._discarded(distances, some)
            start += len(distances)

    def judgement(self) -> FilterJudgement:
        """What was found, once all chunks went through."""
        scores = QueryScores.merge(self._plain)
        kept, lost = np.array(self._kept), np.array(self._lost)
        pids = self.query.pids[scores.status == SCORED]
        lost = lost[scores.status == SCORED]
        return FilterJudgement(
            choice=self.choice,
            kept_fraction=float(kept.mean() / len(self.gallery)) if len(kept) and len(self.gallery) else None,
            true_matches_lost=float(np.mean([lost[pids == pid].mean() for pid in np.unique(pids)]))
            if len(lost)
            else None,
            speed_up=self._speed_up() if self.choice.discards and len(self.query) and len(self.gallery) else None,
            without=scores.summary(),
        )

    def _soft(self, distances: Distances, some: slice) -> Distances:
        choice = self.choice
        penalty = conflict_penalty(
            self.asked.probabilities[some], self.held.probabilities, self.schema, choice.threshold, choice.names
        )
        self._count(np.ones(distances.shape, dtype=np.bool_), some)
        return np.asarray(distances + choice.weight * penalty.astype(np.float64))

    def _discarded(self, distances: Distances, some: slice) -> Distances:
        asked = self.asked.probabilities[some]
        kept = np.zeros(distances.shape, dtype=np.bool_)
        for row, stay in enumerate(self._groups.stay(asked)):
            kept[row, self._groups.rows(stay)] = True
        self._count(kept, some)
        words = encode(asked, self.schema, self.choice.threshold, self.choice.names)
        return np.where(kept, distances, BEHIND + conflicts(words, self._words, self.schema))

    def _count(self, kept: NDArray[np.bool_], some: slice) -> None:
        query = self.query[some]
        matches = compared_images(query, self.gallery, self.options.protocol)
        matches &= query.pids[:, None] == self.gallery.pids
        self._kept += kept.sum(axis=1).tolist()
        self._lost += ((matches & ~kept).sum(axis=1) / np.maximum(matches.sum(axis=1), 1)).tolist()

    def _speed_up(self) -> float:
        """Matching a query with everything over matching it with what the filter leaves."""
        choice = self.choice
        rows = np.unique(np.linspace(0, len(self.query) - 1, TIMED_QUERIES).round().astype(np.int64))
        top = min(TIMED_TOP, len(self.gallery))
        gallery = self.held.descriptors
        asked = [(self.asked.descriptors[rows[[at]]], self.asked.probabilities[rows[[at]]]) for at in range(len(rows))]
        grouped = FilteredGallery.of(
            gallery, self.held.probabilities, self.schema, choice.threshold, choice.names, choice.max_conflicts
        )

        def without() -> None:
            for descriptor, _ in asked:
                _nearest(descriptor, gallery, top)

        def with_filter() -> None:
            for descriptor, probabilities in asked:
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
