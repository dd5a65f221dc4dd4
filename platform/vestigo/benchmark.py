"""A model judged on a dataset, or anybody's features judged as they are: everything `evaluate` and `score` report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets import ReidDataset, Split
from vestigo.datasets.features import FeatureSet
from vestigo.embedding import CropExtractor, Embedded, embed_files
from vestigo.evaluation import (
    ApDefinition,
    ImageSet,
    Metric,
    Protocol,
    QueryScores,
    RetrievalMetrics,
    compared_images,
    distance_chunks,
    reranked_chunks,
    score_queries,
)

CELLS_AT_ONCE = 2_000_000
"""Query-gallery pairs that are ranked at a time; about 60 bytes each."""
STRIP = 10
CURVE = tuple(range(1, 21))

Advance = Callable[[str, int, int], None]
"""Hears the stage, how many of its items are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a ranking is made and scored."""

    protocol: Protocol = "cross-camera"
    ap: ApDefinition = "standard"
    metric: Metric = "cosine"
    rerank: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What was found.

    Attributes:
        scores: by query, for the Q queries that could be read.
        nearest: (Q, `STRIP`) int64, gallery rows of the images that each query was compared with, nearest first,
            -1 where there are fewer.
        unreadable: reason -> number of queries left out because their image cannot be read.
        gallery_unreadable: the same for gallery images.
    """

    query: ImageSet
    gallery: ImageSet
    scores: QueryScores
    nearest: NDArray[np.int64]
    unreadable: dict[str, int] = field(default_factory=dict)
    gallery_unreadable: dict[str, int] = field(default_factory=dict)
    query_paths: tuple[Path, ...] = ()
    gallery_paths: tuple[Path, ...] = ()

    @property
    def metrics(self) -> RetrievalMetrics:
        """Summary over all queries, unreadable ones among the excluded."""
        summary = self.scores.summary(CURVE)
        unreadable = {f"query image unreadable ({reason})": count for reason, count in self.unreadable.items()}
        return RetrievalMetrics(
            mAP=summary.mAP,
            mINP=summary.mINP,
            cmc=summary.cmc,
            queries=summary.queries + sum(unreadable.values()),
            excluded=summary.excluded | unreadable,
        )

    def by_camera(self) -> dict[int, RetrievalMetrics]:
        """Summary of the queries of each camera (counted from 0)."""
        return {
            int(camera): self.scores[self.query.camids == camera].summary() for camera in np.unique(self.query.camids)
        }


def judge_model(
    dataset: ReidDataset, extractor: CropExtractor, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Embed a dataset's query and gallery images and score the ranking; unreadable images are left out and counted."""

    def embedded(stage: str, split: Split) -> Embedded:
        return embed_files(split.paths, extractor, lambda done: advance(stage, done, len(split)))

    def images(split: Split, found: Embedded) -> ImageSet:
        return ImageSet(pids=split.pids[found.rows], camids=split.camids[found.rows], ids=found.ids)

    query, gallery = embedded("query", dataset.query), embedded("gallery", dataset.gallery)
    query_images, gallery_images = images(dataset.query, query), images(dataset.gallery, gallery)
    scores, nearest = _ranked(query.embeddings, gallery.embeddings, query_images, gallery_images, options, advance)
    return Benchmark(
        query=query_images,
        gallery=gallery_images,
        scores=scores,
        nearest=nearest,
        unreadable=query.unreadable,
        gallery_unreadable=gallery.unreadable,
        query_paths=tuple(dataset.query.paths[row] for row in query.rows),
        gallery_paths=tuple(dataset.gallery.paths[row] for row in gallery.rows),
    )


def judge_features(
    query: FeatureSet, gallery: FeatureSet, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Score the ranking that given features make."""
    query_images = ImageSet(pids=query.pids, camids=query.camids, ids=query.ids)
    gallery_images = ImageSet(pids=gallery.pids, camids=gallery.camids, ids=gallery.ids)
    scores, nearest = _ranked(query.embeddings, gallery.embeddings, query_images, gallery_images, options, advance)
    return Benchmark(query=query_images, gallery=gallery_images, scores=scores, nearest=nearest)


def _ranked(
    query: NDArray[np.floating],
    gallery: NDArray[np.floating],
    query_images: ImageSet,
    gallery_images: ImageSet,
    options: Options,
    advance: Advance,
) -> tuple[QueryScores, NDArray[np.int64]]:
    parts: list[QueryScores] = []
    nearest: list[NDArray[np.int64]] = [np.empty((0, STRIP), dtype=np.int64)]
    start = 0
    for distances in _distances(query, gallery, options):
        some = query_images[start : start + len(distances)]
        parts.append(score_queries(distances, some, gallery_images, protocol=options.protocol, ap=options.ap))
        nearest.append(_nearest(distances, compared_images(some, gallery_images, options.protocol)))
        start += len(distances)
        advance("ranking", start, len(query_images))
    return QueryScores.merge(parts), np.concatenate(nearest)


def _distances(
    query: NDArray[np.floating], gallery: NDArray[np.floating], options: Options
) -> Iterator[NDArray[np.float64]]:
    if not len(gallery):
        return iter([np.empty((len(query), 0))])
    chunk = max(1, CELLS_AT_ONCE // len(gallery))
    if not options.rerank:
        return distance_chunks(query, gallery, metric=options.metric, chunk=chunk)
    return reranked_chunks(query, gallery, metric=options.metric, chunk=chunk)


def _nearest(distances: NDArray[np.float64], compared: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(c, `STRIP`) int64: the nearest compared images, -1 where there are fewer."""
    masked = np.where(compared, distances, np.inf)
    order = np.argsort(masked, axis=1, kind="stable")[:, :STRIP]
    nearest = np.where(np.take_along_axis(compared, order, axis=1), order, -1)
    return np.pad(nearest, ((0, 0), (0, STRIP - nearest.shape[1])), constant_values=-1)
