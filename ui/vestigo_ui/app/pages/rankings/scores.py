"""Scores of saved rankings, computed when a ranking is opened and cached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import gain_interval, mean_interval
from vestigo.evaluation.saved_rankings import RankingScores, score_ranking
from vestigo.store.rankings.repository import SavedRanking
from vestigo_models.arrays import Float64Array, Int64Array
from vestigo_models.errors import UsageError
from vestigo_ui.app.cache import shared_cache
from vestigo_ui.app.context import PageContext

CACHED_RANKINGS = 6
"""Scored rankings, about 100 bytes for each query, and pairs of them."""
MIN_PROGRESS = 20_000
"""Queries from which on a progress bar is shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenRanking:
    """A saved ranking with its scores under a protocol; `mean` is None if fewer than two identities are scored."""

    ranking: SavedRanking
    protocol: Protocol
    scores: RankingScores
    mean: Difference | None

    @property
    def has_scores(self) -> bool:
        """Whether any query is scored."""
        return bool(self.scores.scores.scored.any())

    @property
    def depth(self) -> int:
        """Largest number of rows of a query."""
        return int(np.diff(self.scores.starts).max(initial=0))

    def cmc(self, depth: int) -> Float64Array:
        """Return (depth,) the CMC curve in percent; NaN beyond the saved rows unless they are the whole gallery."""
        curve = 100 * self.scores.scores.cmc(depth)
        if self.depth >= self.ranking.settings.get("top", 0):
            curve[self.depth :] = np.nan
        return curve


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingPair:
    """Two rankings and the n queries with the same name in both.

    `first_queries` and `second_queries` are their (n,) numbers. `gain` (n,) is the average precision in the second
    minus that in the first ranking, NaN if one is not scored; `difference` is the mean gain with its interval, None if
    it cannot be estimated.
    """

    first: OpenRanking
    second: OpenRanking
    first_queries: Int64Array
    second_queries: Int64Array
    gain: Float64Array
    difference: Difference | None


def open_ranking(context: PageContext, ranking: SavedRanking, protocol: Protocol) -> OpenRanking:
    """Return a ranking with its scores, with a progress bar if that takes long; raises StoreError without its files."""

    def compute() -> OpenRanking:
        if ranking.queries <= MIN_PROGRESS:
            return with_interval(ranking, protocol, score_ranking(context.store.rankings, ranking, protocol))
        bar = st.progress(0.0, "Scoring the ranking")

        def report(done: int, _total: int | None) -> None:
            bar.progress(done / ranking.queries, f"Scoring the ranking: {done:,} queries")

        scores = score_ranking(context.store.rankings, ranking, protocol, report)
        bar.empty()
        return with_interval(ranking, protocol, scores)

    # The path identifies the content: files of a store never change.
    key = context.store.ref, ranking.path, protocol
    opened: OpenRanking = shared_cache("rankings", CACHED_RANKINGS).get_or_compute(key, compute)
    return opened


def with_interval(ranking: SavedRanking, protocol: Protocol, scores: RankingScores) -> OpenRanking:
    """Return a scored ranking with the interval of its mAP."""
    rows = scores.scores.scored
    mean = _estimate(mean_interval, scores.scores.ap[rows], scores.pids[rows])
    return OpenRanking(ranking=ranking, protocol=protocol, scores=scores, mean=mean)


def pair_rankings(context: PageContext, first: OpenRanking, second: OpenRanking) -> RankingPair:
    """Return the cached comparison of two rankings, see `compare_rankings`."""
    key = (context.store.ref, first.ranking.path, second.ranking.path, first.protocol)
    cache = shared_cache("rankings", CACHED_RANKINGS)
    pair: RankingPair = cache.get_or_compute(key, lambda: compare_rankings(first, second))
    return pair


def compare_rankings(first: OpenRanking, second: OpenRanking) -> RankingPair:
    """Compare two rankings on the queries with the same name, in the order of the first."""
    place = pc.index_in(first.scores.names, second.scores.names)
    shared = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
    other = np.asarray(place.drop_null().cast(pa.int64()).to_numpy(), np.int64)
    before, after = first.scores.scores.ap[shared], second.scores.scores.ap[other]
    gain = after - before
    rows = ~np.isnan(gain)
    return RankingPair(
        first=first,
        second=second,
        first_queries=shared,
        second_queries=other,
        gain=gain,
        difference=_estimate(gain_interval, before[rows], after[rows], first.scores.pids[shared][rows]),
    )


def sort_queries(opened: OpenRanking, pair: RankingPair | None, order: str, name: str = "") -> Int64Array:
    """Return the numbers of queries in an order, of those that both rankings of a pair have.

    The order is `worst` or `best` by average precision, `changed`, `gained` or `lost` by the gain of the pair, any
    other as ranked; queries without a score come last. Only names that contain `name`, in any case, are returned.
    """
    queries = np.arange(len(opened.scores)) if pair is None else pair.first_queries
    ap = opened.scores.scores.ap[queries]
    gain = np.full(len(queries), np.nan) if pair is None else pair.gain
    keys = {"worst": ap, "best": -ap, "changed": -np.abs(gain), "gained": -gain, "lost": gain}
    # NaN sorts last.
    ordered = queries[np.argsort(keys[order], kind="stable")] if order in keys else queries
    if name:
        matches = pc.match_substring(opened.scores.names, name, ignore_case=True).to_numpy(zero_copy_only=False)
        ordered = ordered[matches[ordered]]
    return np.asarray(ordered, np.int64)


def _estimate(interval: Callable[..., Difference], *values: Any) -> Difference | None:
    try:
        return interval(*values)
    except UsageError:
        return None
