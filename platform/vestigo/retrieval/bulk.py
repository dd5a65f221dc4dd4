"""Bulk re-identification: many queries against the archive in one pass, the ranking kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from vestigo.retrieval.appearance import Appearance
from vestigo.retrieval.archive import (
    EVERYWHERE,
    LOOKS,
    Archive,
    Scope,
    looks_of,
    nobody,
    require_model,
    stored_appearance,
)
from vestigo.retrieval.comparison import NO_FILTER, Comparison
from vestigo.retrieval.fusion import fuse
from vestigo.retrieval.ranking import Ranking
from vestigo.store import Model
from vestigo.store.schema import RANKING
from vestigo_models.filter_modes import FilterChoice, FilterConfig

QUERIES_A_BATCH = 256


class RankingArchive(Archive, Protocol):
    """An archive that keeps rankings."""

    def save_ranking(self, name: str, *, model: str, queries: int, rows: Iterable[pa.RecordBatch]) -> int:
        """Keep a ranking under a name and return its rows."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkQueries:
    """Q queries of the model with digest `model`: their `names`, what they look like (`views`, Q rows), and the stored
    crops that each is made of (`own`, one collection a query), which are left out of its ranking."""

    names: Sequence[str]
    views: Appearance
    own: Sequence[Sequence[str]]
    model: str


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """What was kept: `rows` of a ranking, out of `compared` crops; `kept_fraction` and `filter` as in
    `vestigo.retrieval.search.SearchResult`, the fraction a mean over the queries."""

    rows: int
    compared: int
    kept_fraction: float
    filter: FilterChoice


def crop_queries(archive: Archive, ids: Sequence[str], model: str | None = None) -> BulkQueries:
    """One query a stored crop; errors as in `vestigo.retrieval.archive.stored_appearance`."""
    found, views = stored_appearance(archive, ids, model)
    return BulkQueries(names=ids, views=views, own=[(crop,) for crop in ids], model=found.digest)


def tracklet_queries(archive: Archive, model: Model) -> BulkQueries:
    """One query a tracklet, its crops fused; memory is O(crops in tracklets x D)."""
    attributes = model.facts.attributes is not None
    columns = ("crop_id", "tracklet", *LOOKS, *(("attributes",) if attributes else ()))
    crops: dict[str, list[str]] = {}
    views: dict[str, list[Appearance]] = {}
    for batch in archive.scan_crops(columns, model=model.digest):
        looks = looks_of(batch, model, attributes=attributes)
        for row, (crop, tracklet) in enumerate(
            zip(batch.column("crop_id").to_pylist(), batch.column("tracklet").to_pylist(), strict=True)
        ):
            if tracklet:
                crops.setdefault(tracklet, []).append(crop)
                views.setdefault(tracklet, []).append(looks[row : row + 1])
    names = sorted(crops)
    fused = [fuse(Appearance.joined(views[name]), model.facts.blocks) for name in names]
    return BulkQueries(
        names=names,
        views=Appearance.joined(fused) if fused else nobody(model),
        own=[crops[name] for name in names],
        model=model.digest,
    )


def rank_archive(
    archive: RankingArchive,
    queries: BulkQueries,
    name: str,
    *,
    top: int = 50,
    scope: Scope = EVERYWHERE,
    filter_config: FilterConfig = NO_FILTER,
    advance: Callable[[int], None] = lambda compared: None,
) -> Ranked:
    """Rank the archive for every query in one pass and keep the ranking under `name`.

    A filter takes passes over the attributes before that. `advance` hears how many crops have been compared. Memory is
    O(Q x (top + own crops of the largest query) + batch), and what `ArchiveFilter.of` needs.

    Raises:
        StoreError: the store does not hold the model of the queries.
        UsageError, ConfigError: as in `Comparison.of`.
    """
    model = require_model(archive, queries.model)
    comparison = Comparison.of(archive, model, queries.views, scope, filter_config)
    depth = top + max((len(own) for own in queries.own), default=0)
    ranking = Ranking.of_nothing(len(queries.names), depth)
    for batch in comparison.batches():
        ranking = ranking.add(queries.views.descriptors, batch)
        advance(ranking.compared)
    rows = ranking_batches(queries.names, ranking.without(queries.own, top))
    return Ranked(
        rows=archive.save_ranking(name, model=queries.model, queries=len(queries.names), rows=rows),
        compared=ranking.compared,
        kept_fraction=comparison.kept_fraction,
        filter=comparison.choice,
    )


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
