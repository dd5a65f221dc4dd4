"""Rank and score queries from chunks of distances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vestigo.evaluation.metrics.ranking import (
    ApDefinition,
    ImageSet,
    Protocol,
    QueryScores,
    compared_images,
    score_queries,
)
from vestigo.ranking.distance import Features, Metric, distance_chunks
from vestigo.ranking.screening import DistanceBlock
from vestigo_models.arrays import Int64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.progress import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from vestigo.evaluation.filter import FilterEvaluator

NEAREST_SHOWN = 10
"""Nearest images that are kept of each query for reports."""
PAIRS_AT_ONCE = 2_000_000
"""Query-gallery pairs that are ranked at a time; about 60 bytes each."""
FILTER_OFF = FilterChoice(mode="off", threshold=OFF)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How a ranking is made and scored."""

    protocol: Protocol = "cross-camera"
    ap: ApDefinition = "standard"
    metric: Metric = "cosine"  # Distance of plain features; models have their own distance
    rerank: bool = False
    filter: FilterChoice = FILTER_OFF  # Attribute filter, for models only
    keep_camera_bias: bool = False  # Compare descriptors as models make them; a search removes the bias of cameras


def rank_and_score(
    chunks: Iterable[DistanceBlock],
    query: ImageSet,
    gallery: ImageSet,
    options: EvaluationOptions,
    *,
    progress: ProgressCallback = ignore_progress,
    filter: FilterEvaluator | None = None,
    shown: int = NEAREST_SHOWN,
) -> tuple[QueryScores, Int64Array]:
    """Rank and score queries from chunks of distances, each (c, G), in the order of the queries.

    Returns the scores, and the `shown` nearest images of each query, as in `vestigo.evaluation.result.Evaluation`.
    """
    parts: list[QueryScores] = []
    nearest: list[Int64Array] = [np.empty((0, shown), dtype=np.int64)]
    start = 0
    for distances in chunks:
        rows = slice(start, start + len(distances))
        images, ranked = query[rows], distances
        if filter is None:
            parts.append(score_queries(distances, images, gallery, protocol=options.protocol, ap=options.ap))
        else:
            scores, ranked = filter.apply(distances, rows)
            parts.append(scores.with_filter)
        if shown:
            compared = compared_images(images, gallery, options.protocol)
            nearest.append(ranked.among(compared).nearest(shown)[0])
        start += len(distances)
        progress(start, len(query))
    return QueryScores.merge(parts), np.concatenate(nearest)


def evaluation_distances(query: Features, gallery: Features, options: EvaluationOptions) -> Iterator[DistanceBlock]:
    """Yield chunks of distances between features or descriptors, re-ranked if the options say so."""
    if not len(gallery):
        return iter([DistanceBlock.of(np.empty((len(query), 0)))])
    chunk = max(1, PAIRS_AT_ONCE // len(gallery))
    if options.rerank:
        from vestigo.ranking.rerank import reranked_chunks

        return reranked_chunks(query, gallery, metric=options.metric, chunk=chunk)
    return distance_chunks(query, gallery, metric=options.metric, chunk=chunk)
