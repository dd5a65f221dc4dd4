"""Bulk re-identification: many queries against the archive in one pass, the ranking kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.retrieval.archive import (
    EVERYWHERE,
    Archive,
    Scope,
    embedding_batches,
    matrix,
    require_model,
    stored_embeddings,
)
from vestigo.retrieval.fusion import fuse
from vestigo.retrieval.ranking import Ranking
from vestigo.store.schema import RANKING

QUERIES_A_BATCH = 256


class RankingArchive(Archive, Protocol):
    """An archive that keeps rankings."""

    def save_ranking(self, name: str, *, model: str, queries: int, rows: Iterable[pa.RecordBatch]) -> int:
        """Keep a ranking under a name and return its rows."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkQueries:
    """Q queries of one model: their `names`, `embeddings` (Q, D) float32, rows L2-normalised, and the stored crops
    that each is made of (`own`, one collection a query), which are left out of its ranking."""

    names: Sequence[str]
    embeddings: NDArray[np.float32]
    own: Sequence[Sequence[str]]
    model: str


def crop_queries(archive: Archive, ids: Sequence[str], model: str | None = None) -> BulkQueries:
    """One query a stored crop; errors as in `vestigo.retrieval.archive.stored_embeddings`."""
    model, embeddings = stored_embeddings(archive, ids, model)
    return BulkQueries(names=ids, embeddings=embeddings, own=[(crop,) for crop in ids], model=model)


def tracklet_queries(archive: Archive, model: str) -> BulkQueries:
    """One query a tracklet, its crops fused; memory is O(crops in tracklets x D)."""
    crops: dict[str, list[str]] = {}
    views: dict[str, list[NDArray[np.float32]]] = {}
    for batch in archive.scan_crops(("crop_id", "tracklet", "embedding"), model=model):
        columns = (batch.column("crop_id").to_pylist(), batch.column("tracklet").to_pylist())
        for crop, tracklet, embedding in zip(*columns, matrix(batch.column("embedding")), strict=True):
            if tracklet:
                crops.setdefault(tracklet, []).append(crop)
                views.setdefault(tracklet, []).append(embedding)
    names = sorted(crops)
    return BulkQueries(
        names=names,
        embeddings=np.array([fuse(np.stack(views[name])) for name in names], dtype=np.float32),
        own=[crops[name] for name in names],
        model=model,
    )


def rank_archive(
    archive: RankingArchive,
    queries: BulkQueries,
    name: str,
    *,
    top: int = 50,
    scope: Scope = EVERYWHERE,
    advance: Callable[[int], None] = lambda compared: None,
) -> int:
    """Rank the archive for every query in one pass and keep the ranking under `name`; returns its rows.

    `advance` hears how many crops have been compared. Memory is O(Q x (top + own crops of the largest query) + batch).

    Raises:
        StoreError: the store does not hold the model of the queries.
    """
    require_model(archive, queries.model)
    depth = top + max((len(own) for own in queries.own), default=0)
    ranking = Ranking.of_nothing(len(queries.names), depth)
    for ids, embeddings in embedding_batches(archive, queries.model, scope):
        ranking = ranking.add(queries.embeddings, ids, embeddings)
        advance(ranking.compared)
    rows = ranking_batches(queries.names, ranking.without(queries.own, top))
    return archive.save_ranking(name, model=queries.model, queries=len(queries.names), rows=rows)


def ranking_batches(names: Sequence[str], ranking: Ranking) -> Iterator[pa.RecordBatch]:
    """Rows (query, rank from 1, crop, distance), a few queries a batch."""
    for start in range(0, len(names), QUERIES_A_BATCH):
        rows = [
            (names[position], place, crop, distance)
            for position in range(start, min(start + QUERIES_A_BATCH, len(names)))
            for place, (crop, distance) in enumerate(ranking.of_query(position), start=1)
        ]
        columns = list(zip(*rows, strict=True)) or [()] * 4
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, RANKING, strict=True)],
            schema=RANKING,
        )
