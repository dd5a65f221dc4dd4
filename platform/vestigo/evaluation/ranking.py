"""Distances to rankings to scores, a chunk of queries at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.filter import FilterRun
from vestigo.evaluation.metrics.ranking import ImageSet, QueryScores, compared_images, score_queries
from vestigo.evaluation.options import Advance, Distances, Options
from vestigo.ranking.distance import Features, distance_chunks
from vestigo.ranking.rerank import reranked_chunks

STRIP = 10
"""Nearest images that are kept of each query, to look at."""
CELLS_AT_ONCE = 2_000_000
"""Query-gallery pairs that are ranked at a time; about 60 bytes each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Scores of all queries, and `nearest` as `Benchmark` has it."""

    scores: QueryScores
    nearest: NDArray[np.int64]


def rank(
    chunks: Iterable[Distances],
    query: ImageSet,
    gallery: ImageSet,
    options: Options,
    advance: Advance,
    filter: FilterRun | None = None,
) -> Ranked:
    """Rank and score from chunks of distances, each (c, G), in the order of the queries."""
    parts: list[QueryScores] = []
    nearest: list[NDArray[np.int64]] = [np.empty((0, STRIP), dtype=np.int64)]
    start = 0
    for found in chunks:
        rows = slice(start, start + len(found))
        some, changed = query[rows], found
        if filter is None:
            parts.append(score_queries(found, some, gallery, protocol=options.protocol, ap=options.ap))
        else:
            scores, changed = filter.apply(found, rows)
            parts.append(scores.with_filter)
        nearest.append(_nearest(changed, compared_images(some, gallery, options.protocol)))
        start += len(found)
        advance("ranking", start, len(query))
    return Ranked(scores=QueryScores.merge(parts), nearest=np.concatenate(nearest))


def distances(query: Features, gallery: Features, options: Options) -> Iterator[Distances]:
    """Chunks of distances between features, or of equation 14 between descriptors; re-ranked if that is asked for."""
    if not len(gallery):
        return iter([np.empty((len(query), 0))])
    chunk = max(1, CELLS_AT_ONCE // len(gallery))
    if options.rerank:
        return reranked_chunks(query, gallery, metric=options.metric, chunk=chunk)
    return distance_chunks(query, gallery, metric=options.metric, chunk=chunk)


def _nearest(distances: Distances, compared: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(c, `STRIP`) int64: the nearest compared images, -1 where there are fewer."""
    masked = np.where(compared, distances, np.inf)
    order = np.argsort(masked, axis=1, kind="stable")[:, :STRIP]
    nearest = np.where(np.take_along_axis(compared, order, axis=1), order, -1)
    return np.pad(nearest, ((0, 0), (0, STRIP - nearest.shape[1])), constant_values=-1)
