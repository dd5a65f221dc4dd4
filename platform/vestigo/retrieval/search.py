"""One person in an archive: a query of one or several views, the nearest crops in answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation import reranked_chunks
from vestigo.retrieval.archive import EVERYWHERE, Archive, Scope, embedding_batches, require_model, stored_embeddings
from vestigo.retrieval.fusion import fuse
from vestigo.retrieval.ranking import rank
from vestigo_models.errors import UsageError
from vestigo_models.tracking.selection import near_duplicates

NEAR_IDENTICAL_BITS = 6
"""Crops of one tracklet whose 64-bit difference hashes differ in at most so many bits are one picture to a reader."""
RERANK_DEPTH = 200
"""Re-ranking reorders so many of the nearest crops; what is farther away stays behind them."""
SHOWN = ("crop_id", "camera", "time", "offset_s", "tracklet", "dhash", "source", "input", "frame")


@dataclass(frozen=True, kw_only=True)
class Query:
    """Views of one person: stored `crops` by id, and `embeddings` (V, D) float32, rows L2-normalised.

    `model` is the digest of the model that made the embeddings; without embeddings it may be left out, which means
    the newest model that saw the crops.
    """

    crops: tuple[str, ...] = ()
    embeddings: NDArray[np.float32] | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One crop of the answer. `time` is in UTC and `offset_s` in seconds from the start of the video, each None where
    unknown; `attributes` maps names to values, empty for a model that predicts none."""

    rank: int
    crop: str
    distance: float
    camera: str
    time: datetime | None
    offset_s: float | None
    track: str
    source: str
    input: str
    frame: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The answer: `hits` nearest first, out of `compared` crops of the model with digest `model`.

    `kept_fraction` is the share of the crops in scope that an attribute filter left over (1.0: there was none).
    """

    hits: tuple[Hit, ...]
    compared: int
    model: str
    kept_fraction: float = 1.0


def search(
    archive: Archive, query: Query, *, top: int = 20, scope: Scope = EVERYWHERE, rerank: bool = False
) -> SearchResult:
    """Find the `top` crops nearest to a query, in one pass over the archive.

    Query crops are left out of the answer, and of near-identical crops of one tracklet only the nearest is shown.
    With `rerank`, the nearest `RERANK_DEPTH` crops are put in order by k-reciprocal re-ranking, whose distances the
    answer then carries.

    Raises:
        StoreError: an unknown crop, crops of several models, or a model that the store does not hold.
        UsageError: no view, embeddings without their model, or views without anything in common.
    """
    model, views = _views(archive, query)
    person = fuse(views)[None]
    wanted = top + len(query.crops)
    depth = max(wanted * 2, RERANK_DEPTH if rerank else 0)
    while True:
        ranking = rank(person, embedding_batches(archive, model, scope), depth)
        nearest = ranking.without([query.crops], depth).of_query(0)
        if rerank:
            nearest = _reranked(archive, person, nearest, model)
        hits = _shown_once(archive, nearest, model)[:top]
        # Near-identical crops took places that others should have: look deeper, unless that was everything.
        if len(hits) == top or depth >= ranking.compared:
            return SearchResult(hits=tuple(hits), compared=ranking.compared, model=model)
        depth *= 4


def _views(archive: Archive, query: Query) -> tuple[str, NDArray[np.float32]]:
    """The model that the query is in, and its (V, D) views."""
    views = [] if query.embeddings is None else [query.embeddings]
    model = query.model
    if query.crops:
        model, stored = stored_embeddings(archive, query.crops, query.model)
        views.append(stored)
    if model is None or not sum(map(len, views)):
        raise UsageError("a search needs a crop, or an embedding and the digest of the model that made it")
    require_model(archive, model)
    return model, np.concatenate(views)


def _reranked(
    archive: Archive, person: NDArray[np.float32], nearest: Sequence[tuple[str, float]], model: str
) -> list[tuple[str, float]]:
    if not nearest:
        return []
    ids = [crop for crop, _ in nearest]
    candidates = np.array(
        [row["embedding"] for row in archive.crops(ids, ["embedding"], model=model)], dtype=np.float32
    )
    (distances,) = reranked_chunks(person, candidates)
    return sorted(zip(ids, distances[0].tolist(), strict=True), key=lambda pair: (pair[1], pair[0]))


def _shown_once(archive: Archive, nearest: Sequence[tuple[str, float]], model: str) -> list[Hit]:
    rows = archive.crops([crop for crop, _ in nearest], SHOWN, model=model)
    by_tracklet: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if row["tracklet"]:
            by_tracklet.setdefault(row["tracklet"], []).append(position)
    repeated: set[int] = set()
    for positions in by_tracklet.values():
        marked = near_duplicates([rows[position]["dhash"] for position in positions], NEAR_IDENTICAL_BITS)
        repeated.update(position for position, mark in zip(positions, marked, strict=True) if mark)
    hits = [
        _hit(row, distance)
        for position, (row, (_, distance)) in enumerate(zip(rows, nearest, strict=True))
        if position not in repeated
    ]
    return [replace(hit, rank=position) for position, hit in enumerate(hits, start=1)]


def _hit(row: dict[str, Any], distance: float) -> Hit:
    return Hit(
        rank=0,
        crop=row["crop_id"],
        distance=distance,
        camera=row["camera"],
        time=row["time"],
        offset_s=row["offset_s"],
        track=row["tracklet"],
        source=row["source"],
        input=row["input"],
        frame=row["frame"],
    )
