"""Rankings under their truth, as page Rankings needs them: judged at first sight, remembered for the next ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st
from numpy.typing import NDArray

from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import gain_interval, mean_interval
from vestigo.evaluation.saved_rankings import RankingScores, score_ranking
from vestigo.store.rankings.repository import SavedRanking
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext

REMEMBERED = 6
"""Judged rankings, about 100 bytes a query each."""
AT_ONCE = 20_000
"""Queries that are judged before a bar would be worth it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRanking:
    """A ranking and its scores; `mean` is the mAP with its interval, None where fewer than two people are scored."""

    ranking: SavedRanking
    judged: RankingScores
    mean: Difference | None

    @property
    def known(self) -> bool:
        """Whether any query can be scored."""
        return bool(self.judged.scores.scored.any())

    @property
    def depth(self) -> int:
        """The most rows that a query has."""
        return int(np.diff(self.judged.starts).max(initial=0))

    def cmc(self, depth: int) -> NDArray[np.float64]:
        """(depth,) the CMC curve in percent; NaN beyond what was kept, unless the gallery holds no more."""
        curve = 100 * self.judged.scores.cmc(depth)
        if self.depth >= self.ranking.settings.get("top", 0):
            curve[self.depth :] = np.nan
        return curve


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingPair:
    """The n queries that two rankings share: where each stands in the `first` and in the `second` (n,) int64, by how
    much the second's average precision is above the first's (`gain`, fractions, NaN where one is not scored), and that
    of the mean, None where it cannot be told.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    gain: NDArray[np.float64]
    difference: Difference | None


class LruCache:
    """Remembers the last few answers; one at a time is worked out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is remembered under a key, made first where nothing is."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[key]


@st.cache_resource(show_spinner=False)
def shared_rankings() -> LruCache:
    """Return what this process remembers of rankings."""
    return LruCache(REMEMBERED)


def opened(context: PageContext, ranking: SavedRanking, protocol: Protocol) -> ScoredRanking:
    """Return a ranking with its scores; a bar shows how far they are while there are none yet.

    Raises StoreError where its files are gone.
    """

    def make() -> ScoredRanking:
        if ranking.queries <= AT_ONCE:
            return scored(ranking, score_ranking(context.store.rankings, ranking, protocol))
        bar = st.progress(0.0, "Judging the ranking")

        def advance(done: int, _total: int | None) -> None:
            bar.progress(done / ranking.queries, f"Judging the ranking: {done:,} queries")

        judged = score_ranking(context.store.rankings, ranking, protocol, advance)
        bar.empty()
        return scored(ranking, judged)

    # A file of the store never changes, and no other one ever has its name.
    found: ScoredRanking = shared_rankings().get((context.store.ref, ranking.path, protocol), make)
    return found


def scored(ranking: SavedRanking, judged: RankingScores) -> ScoredRanking:
    """Return a judged ranking with the interval of its mAP."""
    rows = judged.scores.scored
    return ScoredRanking(
        ranking=ranking, judged=judged, mean=_told(mean_interval, judged.scores.ap[rows], judged.pids[rows])
    )


def paired(first: ScoredRanking, second: ScoredRanking) -> RankingPair:
    """Return the queries, by name, that two rankings share, in the order of the first."""
    place = pc.index_in(first.judged.names, second.judged.names)
    shared = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
    other = np.asarray(place.drop_null().cast(pa.int64()).to_numpy(), np.int64)
    gain = second.judged.scores.ap[other] - first.judged.scores.ap[shared]
    rows = ~np.isnan(gain)
    aps = first.judged.scores.ap[shared][rows], second.judged.scores.ap[other][rows]
    difference = _told(gain_interval, *aps, first.judged.pids[shared][rows])
    return RankingPair(first=shared, second=other, gain=gain, difference=difference)


def ordered(one: ScoredRanking, both: RankingPair | None, order: str, find: str = "") -> NDArray[np.int64]:
    """Return the queries (numbers in `one`; with `both` only those) as `order` has it, whose names contain `find`.

    `worst` and `best` go by average precision, `changed`, `gained` and `lost` by what the second ranking gained;
    queries that are not scored come last, in the ranking's order as in every other `order`.
    """
    queries = np.arange(len(one.judged)) if both is None else both.first
    ap = one.judged.scores.ap[queries]
    gain = np.full(len(queries), np.nan) if both is None else both.gain
    keys = {"worst": ap, "best": -ap, "changed": -np.abs(gain), "gained": -gain, "lost": gain}
    # NaN sorts last.
    found = queries[np.argsort(keys[order], kind="stable")] if order in keys else queries
    if not find:
        return found
    hits = pc.match_substring(one.judged.names, find, ignore_case=True).to_numpy(zero_copy_only=False)
    return np.asarray(found[hits[found]])


def _told(interval: Callable[..., Difference], *values: Any) -> Difference | None:
    try:
        return interval(*values)
    except UsageError:
        return None
