"""Metrics of an attribute filter: what it keeps and loses, as in docs/method.md, "Scoring".

Discarded images rank behind all kept ones, by number of conflicts, then by their position in the gallery. Every true
match counts in the average precision, so a wrong discard lowers it. Scores of queries are merged as in
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
    concatenate,
    score_queries,
)
from vestigo.ranking.screening import DistanceBlock
from vestigo_models.arrays import BoolArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class FilterCost:
    """The cost of a filter; None if there is nothing to divide by."""

    kept_fraction: float | None  # Share of the compared images that are kept, over all queries
    true_matches_lost: float | None  # Share of the true matches that are discarded, over all scored queries
    # The same as `auto` bounds it: mean over the queries of an identity, then over identities
    identity_loss: float | None
    without: RetrievalMetrics
    with_filter: RetrievalMetrics


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterScores:
    """Scores of q queries."""

    pids: Int64Array
    compared: Int64Array  # (q,) compared images
    kept: Int64Array  # (q,) how many of them are kept
    matches: Int64Array  # (q,) true matches
    lost: Int64Array  # (q,) how many of them are discarded
    without: QueryScores
    with_filter: QueryScores

    @classmethod
    def merge(cls, parts: Iterable[FilterScores]) -> FilterScores:
        """Concatenate scores; no query without parts."""
        parts = list(parts)
        return cls(
            **concatenate(parts, ("pids", "compared", "kept", "matches", "lost"), np.int64),
            without=QueryScores.merge(part.without for part in parts),
            with_filter=QueryScores.merge(part.with_filter for part in parts),
        )

    def summary(self) -> FilterCost:
        """Return shares and means."""
        scored = self.without.status == SCORED
        compared, matches = int(self.compared.sum()), int(self.matches[scored].sum())
        shares = self.lost[scored] / self.matches[scored]
        pids = self.pids[scored]
        # fsum rounds once, so the means do not depend on how the queries are split.
        by_identity = [math.fsum(shares[pids == pid]) / int((pids == pid).sum()) for pid in np.unique(pids)]
        return FilterCost(
            kept_fraction=int(self.kept.sum()) / compared if compared else None,
            true_matches_lost=int(self.lost[scored].sum()) / matches if matches else None,
            identity_loss=math.fsum(by_identity) / len(by_identity) if by_identity else None,
            without=self.without.summary(),
            with_filter=self.with_filter.summary(),
        )


def filtered_distances(distances: DistanceBlock, conflicts: NDArray[np.integer], kept: BoolArray) -> DistanceBlock:
    """Return distances (q, G) that order discarded images behind all kept ones, by number of conflicts."""
    behind = np.ceil(float(distances.rough.max(initial=0.0))) + 2.0
    return distances.changed(kept, behind + conflicts)


def score_filtered(
    distances: DistanceBlock,
    conflicts: NDArray[np.integer],
    kept: BoolArray,
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
