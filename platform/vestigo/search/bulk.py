"""Bulk re-identification: many queries against the archive in one pass, the ranking kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from vestigo.evaluation.saved_rankings__truth import Truth, distinct
from vestigo.ranking.top_k import Ranking
from vestigo.search.bulk__keeping import BulkQueries, named_crops, query_batches, ranking_batches
from vestigo.search.filter__comparison import NO_FILTER, Comparison
from vestigo.search.gallery import EVERYWHERE, LOOKS, Archive, Scope, looks_of, nobody, require_model, stored_appearance
from vestigo.search.gallery__appearance import Appearance
from vestigo.search.query__fusion import fuse
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig


class RankingArchive(Archive, Protocol):
    """An archive that keeps rankings."""

    def snapshot(self) -> str:
        """What names the crops that readers see now."""
        ...

    def save_ranking(
        self,
        name: str,
        *,
        model: str,
        rows: Iterable[pa.RecordBatch],
        queries: Iterable[pa.RecordBatch],
        settings: Mapping[str, Any],
    ) -> int:
        """Keep a ranking under a name and return its rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """What was kept: `rows` of a ranking, out of `compared` crops; `kept_fraction` and `filter` as in
    `vestigo.search.run.SearchResult`, the fraction a mean over the queries."""

    rows: int
    compared: int
    kept_fraction: float
    filter: FilterChoice


def crop_queries(archive: Archive, ids: Sequence[str], model: str | None = None) -> BulkQueries:
    """One query a stored crop; errors as in `vestigo.search.gallery.stored_appearance`."""
    found, views = stored_appearance(archive, ids, model)
    return BulkQueries(names=ids, views=views, own=[(crop,) for crop in ids], model=found.digest, kind="crops")


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
        kind="tracklets",
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
    """Rank the archive for every query in one pass and keep the ranking under `name`, with the truth where it is known.

    A filter takes passes over the attributes before that, the truth one over the labels afterwards. `advance` hears how
    many crops have been compared. Memory is O(Q x (top + own crops of the largest query) + batch), and what
    `ArchiveFilter.of` and `Truth.of` need.

    Raises:
        StoreError: the store does not hold the model of the queries.
        UsageError, ConfigError: as in `Comparison.of`.
    """
    model, snapshot = require_model(archive, queries.model), archive.snapshot()
    comparison = Comparison.of(archive, model, queries.views, scope, filter_config)
    depth = top + max((len(own) for own in queries.own), default=0)
    ranking = Ranking.of_nothing(len(queries.names), depth)
    for batch in comparison.batches():
        ranking = ranking.add(queries.views.descriptors, batch)
        advance(ranking.compared)
    ranking = ranking.without(queries.own, top)
    truth = Truth.of(archive, model, scope, distinct(named_crops(queries, ranking)))
    rows = archive.save_ranking(
        name,
        model=queries.model,
        rows=ranking_batches(queries, ranking, truth),
        queries=query_batches(queries, ranking, truth),
        settings={
            "kind": queries.kind,
            "source": queries.source,
            "top": top,
            "where": scope.where,
            "cameras": None if scope.cameras is None else list(scope.cameras),
            "since": None if scope.since is None else scope.since.isoformat(),
            "until": None if scope.until is None else scope.until.isoformat(),
            "filter": filter_config.filter,
            "max_lost": filter_config.max_lost,
            "threshold": comparison.choice.threshold if comparison.choice.discards else None,
            "kept_fraction": comparison.kept_fraction,
            "compared": ranking.compared,
            "snapshot": snapshot,
        },
    )
    return Ranked(
        rows=rows,
        compared=ranking.compared,
        kept_fraction=comparison.kept_fraction,
        filter=comparison.choice,
    )
