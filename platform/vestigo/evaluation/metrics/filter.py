"""What the attribute filter does to a ranking (specification section 11): what it keeps, loses and costs.

Discarded images rank behind all that stay, by number of conflicts, then by their place in the gallery, and every true
match counts in the average precision, so that a wrong discard costs. Evaluation is a fold over queries, as in
`vestigo.evaluation.metrics.ranking`. Symbols: q queries, G gallery images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import (
    SCORED,
    ApDefinition,
    ImageSet,
    Protocol,
    QueryScores,
    RetrievalMetrics,
    compared_images,
    score_queries,
)


@dataclass(frozen=True, kw_only=True)
class FilterCost:
    """The end of the fold; None where there is nothing to divide by.

    Attributes:
        kept_fraction: share of the compared images that stay, over all queries.
        true_matches_lost: share of the true matches that are discarded, over all scored queries.
        identity_loss: the same as `auto` bounds it: mean over the queries of an identity, then over identities.
        without, with_filter: the metrics of both rankings.
    """

    kept_fraction: float | None
    true_matches_lost: float | None
    identity_loss: float | None
    without: RetrievalMetrics
    with_filter: RetrievalMetrics


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterScores:
    """A partial result: for each of q queries its identity `pids`, how many images it is `compared` with and how many
    of them are `kept`, its true `matches` and how many of them are `lost` (all (q,) int64), and both scores."""

    pids: NDArray[np.int64]
    compared: NDArray[np.int64]
    kept: NDArray[np.int64]
    matches: NDArray[np.int64]
    lost: NDArray[np.int64]
    without: QueryScores
    with_filter: QueryScores

    @classmethod
    def merge(cls, parts: Iterable[FilterScores]) -> FilterScores:
        """Join partial results; of none, the result of no query."""
        parts = list(parts)

        def joined(name: str) -> NDArray[np.int64]:
            return np.concatenate([np.empty(0, dtype=np.int64), *(getattr(part, name) for part in parts)])

        return cls(
            pids=joined("pids"),
            compared=joined("compared"),
            kept=joined("kept"),
            matches=joined("matches"),
            lost=joined("lost"),
            without=QueryScores.merge(part.without for part in parts),
            with_filter=QueryScores.merge(part.with_filter for part in parts),
        )

    def summary(self) -> FilterCost:
        """Shares and means."""
        scored = self.without.status == SCORED
        compared, matches = int(self.compared.sum()), int(self.matches[scored].sum())
        shares = self.lost[scored] / self.matches[scored]
        pids = self.pids[scored]
        # fsum rounds once, so the means do not depend on how the queries were split.
        by_identity = [math.fsum(shares[pids == pid]) / int((pids == pid).sum()) for pid in np.unique(pids)]
        return FilterCost(
            kept_fraction=int(self.kept.sum()) / compared if compared else None,
            true_matches_lost=int(self.lost[scored].sum()) / matches if matches else None,
            identity_loss=math.fsum(by_identity) / len(by_identity) if by_identity else None,
            without=self.without.summary(),
            with_filter=self.with_filter.summary(),
        )


def filtered_distances(
    distances: NDArray[np.floating], conflicts: NDArray[np.integer], kept: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(q, G) distances whose stable order has the discarded images behind all that stay, by number of conflicts."""
    behind = float(distances.max(initial=0.0)) + 1.0
    return np.where(kept, distances.astype(np.float64), behind + conflicts)


def score_filtered(
    distances: NDArray[np.floating],
    conflicts: NDArray[np.integer],
    kept: NDArray[np.bool_],
    query: ImageSet,
    gallery: ImageSet,
    *,
    protocol: Protocol = "cross-camera",
    ap: ApDefinition = "standard",
) -> FilterScores:
    """Score q queries with and without a filter that keeps `kept` (q, G) and counts `conflicts` (q, G)."""
    compared = compared_images(query, gallery, protocol)
    matches = compared & (query.pids[:, None] == gallery.pids)
    behind = filtered_distances(distances, conflicts, kept)
    return FilterScores(
        pids=query.pids,
        compared=compared.sum(axis=1),
        kept=(compared & kept).sum(axis=1),
        matches=matches.sum(axis=1),
        lost=(matches & ~kept).sum(axis=1),
        without=score_queries(distances, query, gallery, protocol=protocol, ap=ap),
        with_filter=score_queries(behind, query, gallery, protocol=protocol, ap=ap),
    )
