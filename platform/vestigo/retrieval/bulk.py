"""Rank the gallery for many queries in one pass and save the ranking in the store."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.datasets.recognise import load_dataset, recognise
from vestigo.evaluation.images import Embedder, as_embedder
from vestigo.evaluation.metrics.truncated import UNKNOWN_CAMERA, UNKNOWN_PID
from vestigo.ingest.crops import whole_image_id
from vestigo.ranking.top_k import Ranking
from vestigo.resolve import require_crops, resolve_search_model
from vestigo.retrieval.filter import NO_FILTER, FilteredScan
from vestigo.retrieval.gallery import EVERYWHERE, Gallery, Scope, SearchableStore, as_features, empty_features
from vestigo.retrieval.query import fuse_views
from vestigo.retrieval.truth import RankingTruth, distinct_ids
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import QUERIES, RANKING
from vestigo_models.arrays import Int64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import encode_jpeg, find_images, read_image, shrink
from vestigo_models.progress import ProgressCallback, ignore_progress

QUERIES_A_BATCH = 256
THUMBNAIL_HEIGHT = 256

QueryKind = Literal["crops", "tracklets", "images"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkQueries:
    """Q queries of the model with digest `model`."""

    names: Sequence[str]
    # Fused features, Q rows; those of images have the bias of their cameras
    features: CropFeatures
    own: Sequence[Sequence[str]]  # Ids of the crops that each query is made of; its ranking does not contain them
    model: str
    kind: QueryKind
    # Identity and camera of each image query as its dataset gives them; Q pairs, or none. They are used for images that
    # are not in the store, if it has other images of these queries.
    labels: Sequence[tuple[int, str]] = ()
    # Returns the JPEG of the query at a position, None without one; called if no stored crop shows it
    thumbnail: Callable[[int], bytes | None] | None = None
    source: str = ""  # Name of the folder that the queries are from


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """A saved ranking: `rows` in all, out of `compared` crops; `kept_fraction` is the mean over the queries.

    A time range left out the crops `without_time`.
    """

    rows: int
    compared: int
    kept_fraction: float
    filter: FilterChoice
    without_time: int = 0


def crop_queries(store: SearchableStore, ids: Sequence[str], model: str | None = None) -> BulkQueries:
    """Return one query for each stored crop; `model` is a digest.

    Raises:
        StoreError: If a crop is not in the store, or as `vestigo.resolve.resolve_search_model`.
    """
    made_by = resolve_search_model(store, model)
    features = Gallery.of(store, made_by).features(ids)
    return BulkQueries(names=ids, features=features, own=[(crop,) for crop in ids], model=made_by.digest, kind="crops")


def tracklet_queries(store: SearchableStore, model: Model) -> BulkQueries:
    """Return one query for each tracklet, its crops fused; memory is O(crops in tracklets x D)."""
    gallery = Gallery.of(store, model)
    crops: defaultdict[str, list[str]] = defaultdict(list)
    views: defaultdict[str, list[CropFeatures]] = defaultdict(list)
    for selection in gallery.select(EVERYWHERE, "crops"):
        tracklets = selection.facts(("tracklet",)).column(0).to_pylist()
        shown = np.flatnonzero(np.array(tracklets) != "")
        descriptors = selection.pack.crops.descriptors(shown, gallery.index.bias)
        features = as_features(descriptors, selection.pack.probabilities[shown])
        for number, row in enumerate(shown.tolist()):
            crops[tracklets[row]].append(selection.ids[row].decode())
            views[tracklets[row]].append(features[number : number + 1])
        gallery.index.release(selection.pack)
    names = sorted(crops)
    fused = [fuse_views(CropFeatures.joined(views[name]), model.facts.blocks) for name in names]
    return BulkQueries(
        names=names,
        features=CropFeatures.joined(fused) if fused else empty_features(model),
        own=[crops[name] for name in names],
        model=model.digest,
        kind="tracklets",
    )


def image_queries(
    folder: Path, open_encoder: Callable[[], Extractor | Embedder], progress: ProgressCallback
) -> tuple[BulkQueries, dict[str, int]]:
    """Make queries from the images in a folder.

    Of a dataset, the query split is taken. An image that was indexed as a whole crop is recognised by its name and
    content. Returns the queries, and reason -> number of unreadable images.

    Raises:
        UsageError: If the folder does not exist or has no image.
        DatasetError: If the dataset cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such file or folder")
    labels: list[tuple[int, str]] = []
    if recognise(folder) is not None:
        query = load_dataset(folder).query
        paths = list(query.paths)
        labels = [(int(pid), f"c{camid + 1}") for pid, camid in zip(query.pids, query.camids, strict=True)]
    else:
        paths = find_images(folder)
    if not paths:
        raise UsageError(f"{folder}: holds no image")
    names = [path.relative_to(folder).as_posix() for path in paths]
    encoder = as_embedder(open_encoder())
    embedded = encoder.embed(paths, progress)
    rows = embedded.rows.tolist()
    sizes = [(height, width) for height, width in embedded.sizes.tolist()]
    queries = BulkQueries(
        names=[names[row] for row in rows],
        features=embedded.features,
        own=[
            (whole_image_id(names[row], paths[row].read_bytes(), size),) for row, size in zip(rows, sizes, strict=True)
        ],
        model=encoder.package.digest,
        kind="images",
        labels=[labels[row] for row in rows] if labels else [],
        thumbnail=lambda position: _thumbnail(paths[rows[position]]),
        source=folder.resolve().name,
    )
    return queries, embedded.unreadable


def _thumbnail(path: Path) -> bytes | None:
    try:
        return encode_jpeg(shrink(read_image(path), THUMBNAIL_HEIGHT))
    except BadInput:
        # The file was readable before; the ranking is saved without its thumbnail.
        return None


def rank_gallery(
    store: Store,
    queries: BulkQueries,
    name: str,
    *,
    top: int = 50,
    scope: Scope = EVERYWHERE,
    filter_config: FilterConfig = NO_FILTER,
    before: Callable[[], None] = lambda: None,
    progress: ProgressCallback = ignore_progress,
) -> BulkResult:
    """Rank the gallery for every query in one pass and save the `top` crops of each, with known identities and cameras.

    A filter scans the attributes first, and identities are read in a pass of their own afterwards. Memory is O(Q x (top
    + own crops of the largest query) + batch). A ranking of the same name is replaced. `before` is called
    once the request is known to be valid and before anything is ranked.

    Raises:
        StoreError: If the store has no crops of the queries' model.
        UsageError, ConfigError: As `FilteredScan.of`.
    """
    model, snapshot = require_crops(store, queries.model), store.crops.snapshot()
    gallery = Gallery.of(store, model)
    features = _without_camera_bias(gallery, queries) if queries.kind == "images" else queries.features
    scan = FilteredScan.of(gallery, features, scope, filter_config, lambda _: progress)
    before()
    depth = top + max((len(own) for own in queries.own), default=0)
    ranking = scan.rank(features.descriptors, depth).excluding(queries.own, top)
    truth = RankingTruth.of(gallery, scope, distinct_ids([ranking.ids.reshape(-1), *map(_encode, queries.own)]))
    without_time = gallery.count_without_time(scope)
    rows = store.rankings.save(
        name,
        model=queries.model,
        rows=_ranking_batches(queries, ranking, truth),
        queries=_query_batches(queries, ranking, truth),
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
            "threshold": scan.choice.threshold if scan.choice.discards else None,
            "kept_fraction": scan.kept_fraction,
            "compared": ranking.compared,
            "without_time": without_time,
            "snapshot": snapshot,
        },
    )
    return BulkResult(
        rows=rows,
        compared=ranking.compared,
        kept_fraction=scan.kept_fraction,
        filter=scan.choice,
        without_time=without_time,
    )


def _without_camera_bias(gallery: Gallery, queries: BulkQueries) -> CropFeatures:
    """Return the features of image queries without the bias of those cameras that the store knows."""
    if not gallery.index.bias.offsets:
        return queries.features
    crops = distinct_ids(map(_encode, queries.own))
    truth = RankingTruth.of(gallery, EVERYWHERE, crops)
    own, labels = _stored(queries, truth)
    cameras = [_label_of(positions, truth, labels, row)[1] for row, positions in enumerate(own)]
    descriptors = gallery.index.bias.remove(queries.features.descriptors, pa.array(cameras, pa.string()))
    return replace(queries.features, descriptors=descriptors)


def _stored(queries: BulkQueries, truth: RankingTruth) -> tuple[list[Int64Array], Sequence[tuple[int, str]]]:
    """Return the positions in `truth` of those crops of each query that are in the store, and the labels of queries."""
    positions_of = [truth.positions(_encode(crops)) for crops in queries.own]
    own = [positions[truth.camids[positions] != UNKNOWN_CAMERA] for positions in positions_of]
    # The identities of a dataset that is not in the store have no relation to those in the store.
    return own, queries.labels if any(map(len, own)) else ()


def _label_of(
    own: Int64Array, truth: RankingTruth, labels: Sequence[tuple[int, str]], position: int
) -> tuple[int | None, str | None]:
    """Return the identity and the camera of a query: those of its own crops, None if these differ, else its label."""
    if not len(own):
        return labels[position] if labels else (None, None)
    pids, camids = np.unique(truth.pids[own]), np.unique(truth.camids[own])
    camera = truth.cameras[camids[0]] if len(camids) == 1 else None
    is_known = camera is not None and len(pids) == 1 and pids[0] != UNKNOWN_PID
    return int(pids[0]) if is_known else None, camera


def _encode(crops: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([crop.encode() for crop in crops], dtype="S")


def _ranking_batches(queries: BulkQueries, ranking: Ranking, truth: RankingTruth) -> Iterator[pa.RecordBatch]:
    """Yield the rows (`vestigo.store.parquet.schemas.RANKING`), ranks from 1, a few queries at a time."""
    cameras = pa.array(truth.cameras, pa.string())
    for start in range(0, len(queries.names), QUERIES_A_BATCH):
        part = slice(start, start + QUERIES_A_BATCH)
        query, place = np.nonzero(ranking.distances[part] < np.inf)
        crops = ranking.ids[part][query, place]
        positions = truth.positions(crops)
        pids, camids = truth.pids[positions], truth.camids[positions]
        columns = {
            "query": pa.array(queries.names[part], pa.string()).take(pa.array(query)),
            "rank": pa.array(place + 1, pa.int32()),
            "crop": pa.array(crops.tolist(), pa.binary()).cast(pa.string()),
            "distance": pa.array(ranking.distances[part][query, place], pa.float32()),
            "pid": pa.array(pids, pa.int32(), mask=pids == UNKNOWN_PID),
            "camera": cameras.take(pa.array(camids, mask=camids == UNKNOWN_CAMERA)),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=RANKING)


def _query_batches(queries: BulkQueries, ranking: Ranking, truth: RankingTruth) -> Iterator[pa.RecordBatch]:
    """Yield the queries (`vestigo.store.parquet.schemas.QUERIES`), a few at a time."""
    lengths = (ranking.distances < np.inf).sum(axis=1).tolist()
    own, labels = _stored(queries, truth)
    for start in range(0, len(queries.names), QUERIES_A_BATCH):
        rows = [
            _query_row(queries, position, own[position], truth, labels) | {"rows": lengths[position]}
            for position in range(len(queries.names))[start : start + QUERIES_A_BATCH]
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=QUERIES)


def _query_row(
    queries: BulkQueries, position: int, own: Int64Array, truth: RankingTruth, labels: Sequence[tuple[int, str]]
) -> dict[str, object]:
    """Return a row of `QUERIES`."""
    pid, camera = _label_of(own, truth, labels, position)
    own_in_gallery = int(truth.in_gallery[own].sum()) if pid is not None else 0
    by_camera = {} if pid is None else truth.matches.get(pid, {})
    matches = {truth.cameras[camid]: count for camid, count in by_camera.items()}
    if camera is not None and own_in_gallery:
        matches[camera] -= own_in_gallery
    crop = truth.ids[own[len(own) // 2]].decode() if len(own) else None
    return {
        "query": queries.names[position],
        "pid": pid,
        "camera": camera,
        "crop": crop,
        "own": own_in_gallery,
        "matches": [{"camera": name, "crops": count} for name, count in sorted(matches.items()) if count],
        "image": None if crop or queries.thumbnail is None else queries.thumbnail(position),
    }
