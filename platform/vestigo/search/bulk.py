"""Bulk re-identification: many queries against the archive in one pass, the ranking kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.evaluation.metrics.truncated import NOBODY_KNOWS
from vestigo.evaluation.saved_rankings import NOWHERE, Truth, distinct
from vestigo.ranking.top_k import Ranking
from vestigo.search.filter import NO_FILTER, Comparison
from vestigo.search.gallery import (
    EVERYWHERE,
    LOOKS,
    Appearance,
    Archive,
    Scope,
    looks_of,
    nobody,
    require_model,
    stored_appearance,
)
from vestigo.search.query import fuse
from vestigo.store.parquet.schemas import QUERIES, RANKING
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig

QUERIES_A_BATCH = 256

QueryKind = Literal["crops", "tracklets", "images"]


def no_picture(position: int) -> bytes | None:
    """Of queries that the store shows anyway."""
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkQueries:
    """Q queries of the model with digest `model`: their `names`, what they look like (`views`, Q rows), and the crops
    that each is made of (`own`, one collection a query), which are left out of its ranking.

    Attributes:
        labels: of images, the person and the camera that their dataset names; Q pairs, or none. They count for images
            that the archive does not have itself, where it has others of these queries.
        picture: JPEG of the query at a position, None without one; asked for where no stored crop shows it.
        source: where the queries are from, in a word.
    """

    names: Sequence[str]
    views: Appearance
    own: Sequence[Sequence[str]]
    model: str
    kind: QueryKind
    labels: Sequence[tuple[int, str]] = ()
    picture: Callable[[int], bytes | None] = no_picture
    source: str = ""


def named_crops(queries: BulkQueries, ranking: Ranking) -> Iterator[NDArray[np.bytes_]]:
    """All crops that a ranking or its queries name."""
    yield ranking.ids.reshape(-1)
    yield np.array([crop.encode() for own in queries.own for crop in own], dtype="S")


def ranking_batches(queries: BulkQueries, ranking: Ranking, truth: Truth) -> Iterator[pa.RecordBatch]:
    """Rows (`vestigo.store.parquet.schemas.RANKING`), ranks from 1, a few queries a batch."""
    cameras = pa.array(truth.cameras, pa.string())
    for start in range(0, len(queries.names), QUERIES_A_BATCH):
        some = slice(start, start + QUERIES_A_BATCH)
        query, place = np.nonzero(ranking.distances[some] < np.inf)
        crops = ranking.ids[some][query, place]
        known = truth.places(crops)
        pids, camids = truth.pids[known], truth.camids[known]
        columns = {
            "query": pa.array(queries.names[some], pa.string()).take(pa.array(query)),
            "rank": pa.array(place + 1, pa.int32()),
            "crop": pa.array(crops.tolist(), pa.binary()).cast(pa.string()),
            "distance": pa.array(ranking.distances[some][query, place], pa.float32()),
            "pid": pa.array(pids, pa.int32(), mask=pids == NOBODY_KNOWS),
            "camera": cameras.take(pa.array(camids, mask=camids == NOWHERE)),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=RANKING)


def query_batches(queries: BulkQueries, ranking: Ranking, truth: Truth) -> Iterator[pa.RecordBatch]:
    """The queries (`vestigo.store.parquet.schemas.QUERIES`), a few a batch."""
    lengths = (ranking.distances < np.inf).sum(axis=1)
    own = [_stored(crops, truth) for crops in queries.own]
    if not any(map(len, own)):
        # A benchmark that the archive holds nothing of may number its people as it likes.
        queries = replace(queries, labels=())
    for start in range(0, len(queries.names), QUERIES_A_BATCH):
        rows = [
            _query(queries, position, own[position], truth) | {"rows": int(lengths[position])}
            for position in range(start, min(start + QUERIES_A_BATCH, len(queries.names)))
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=QUERIES)


def _stored(crops: Sequence[str], truth: Truth) -> NDArray[np.int64]:
    """Where the crops of a query stand in `truth`; without those that the archive does not have."""
    places = truth.places(np.array([crop.encode() for crop in crops], dtype="S"))
    return np.asarray(places[truth.camids[places] != NOWHERE])


def _query(queries: BulkQueries, position: int, own: NDArray[np.int64], truth: Truth) -> dict[str, object]:
    """One query, made of the crops at the places `own` of `truth`."""
    if len(own):
        pid, camera = _agreed(truth, own)
    else:
        pid, camera = queries.labels[position] if queries.labels else (None, None)
    ours = int(truth.in_gallery[own].sum()) if pid is not None else 0
    there = {} if pid is None else truth.matches.get(pid, {})
    matches = {truth.cameras[camid]: count for camid, count in there.items()}
    if camera is not None and ours:
        matches[camera] -= ours
    crop = truth.ids[own[len(own) // 2]].decode() if len(own) else None
    return {
        "query": queries.names[position],
        "pid": pid,
        "camera": camera,
        "crop": crop,
        "own": ours,
        "matches": [{"camera": name, "crops": count} for name, count in sorted(matches.items()) if count],
        "image": None if crop else queries.picture(position),
    }


def _agreed(truth: Truth, own: NDArray[np.int64]) -> tuple[int | None, str | None]:
    """The person and the camera of a query's own crops, None where they do not agree."""
    pids, camids = set(truth.pids[own].tolist()), set(truth.camids[own].tolist())
    if len(camids) > 1:
        return None, None
    pid = pids.pop() if len(pids) == 1 else NOBODY_KNOWS
    return None if pid == NOBODY_KNOWS else pid, truth.cameras[camids.pop()]


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
