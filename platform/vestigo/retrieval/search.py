"""Search a store for one person: the nearest crops to a query, or the crops that meet attribute conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from vestigo.ranking.top_k import Ranking
from vestigo.resolve import require_attributes, resolve_search_model
from vestigo.retrieval.filter import NO_FILTER, FilteredScan
from vestigo.retrieval.gallery import EVERYWHERE, Gallery, Scope, SearchableStore
from vestigo.retrieval.query import Query, fuse_views, query_features
from vestigo.store.models.records import Model
from vestigo.vectors.index import Selection
from vestigo_models.arrays import Float64Array, Int64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_models.errors import UsageError
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.tracking.quality import near_duplicates

if TYPE_CHECKING:
    import pandas as pd

NEAR_IDENTICAL_BITS = 6
"""Crops of one tracklet are near-identical if their 64-bit difference hashes differ in at most this many bits."""
RERANK_DEPTH = 200
"""Number of nearest crops that re-ranking reorders; crops that are farther away stay behind them."""
HIT_FACTS = ("offset_s", "tracklet", "dhash", "source", "input", "frame")

MIN_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Lower bound of a probability, so that crops that fail one condition keep their order."""

Neighbours = list[tuple[str, float]]
"""Crop ids and distances, nearest first."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One crop of a search result.

    Attributes:
        distance: See `search` and `search_conditions`.
        time: Recording time in UTC, None if unknown.
        offset_s: Seconds from the start of the video, None for images.
        track: Id of the tracklet, "" without one.
        source, input, frame: Where the crop was indexed from; frame is -1 for images.
        attributes: Attribute -> predicted value; empty if the model predicts none.
        confidences: Attribute -> calibrated probability of that value.
    """

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
    confidences: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Attributes:
        compared: Crops in scope, which the query is compared with.
        read: Crops whose descriptors were read for it; an attribute filter spares most of those that it discards.
        kept_fraction: Share of the gallery that the attribute filter keeps, 1.0 without a filter.
        filter: The attribute filter and its expected cost, None without one.
        attributes, confidences: Prediction for the query, as in `Hit`; empty for a search by conditions.
        without_time: Crops without a time, which a time range leaves out.
    """

    hits: tuple[Hit, ...]
    compared: int
    model: str
    read: int = 0
    kept_fraction: float = 1.0
    filter: FilterChoice | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    confidences: dict[str, float] = field(default_factory=dict)
    without_time: int = 0

    def to_frame(self) -> pd.DataFrame:
        """Return the hits as a DataFrame: rank, crop, distance, camera, time, track, and one column an attribute."""
        import pandas as pd

        columns = ("rank", "crop", "distance", "camera", "time", "track")
        rows = [{name: getattr(hit, name) for name in columns} | hit.attributes for hit in self.hits]
        return pd.DataFrame(rows, columns=None if rows else list(columns))


def search_query(
    store: SearchableStore,
    query: Query,
    *,
    top: int = 20,
    scope: Scope = EVERYWHERE,
    filter_config: FilterConfig = NO_FILTER,
    rerank: bool = False,
    progress: OpenProgress = ignore_stages,
) -> SearchResult:
    """Find the `top` crops nearest to a query in one pass over the gallery; a filter reads the attributes first.

    Query crops are omitted, but for `Query.kept`. Of near-identical crops of one tracklet only the nearest is kept.
    With `rerank`, k-reciprocal re-ranking reorders the nearest `RERANK_DEPTH` crops and replaces their distances.
    `progress` shows the stages `cameras`, `attributes` and `crops`.

    Raises:
        StoreError: If a crop or camera is unknown, or as `vestigo.resolve.resolve_search_model` and `Gallery.of`.
        UsageError: If there is no view, views lack their model or have nothing in common, the model predicts no
            attributes and a filter or condition is given, or the soft filter is combined with re-ranking.
        ConfigError: If the filter needs a calibration that the model does not have.
    """
    gallery, views = query_features(store, query, progress)
    model = gallery.model
    person = fuse_views(views, model.facts.blocks)
    scan = FilteredScan.of(gallery, person, scope, filter_config, progress)
    if rerank and scan.choice.mode == "soft":
        raise UsageError("--filter soft adds to the distances that --rerank replaces; choose one of them")

    def nearest(depth: int) -> tuple[Neighbours, Ranking]:
        ranking = scan.rank(person.descriptors, depth)
        omitted = tuple(crop for crop in query.crops if crop not in query.kept)
        neighbours = ranking.excluding([omitted], depth).neighbours(0)
        return (_rerank(gallery, person, neighbours) if rerank else neighbours), ranking

    depth = max(2 * (top + len(query.crops)), RERANK_DEPTH if rerank else 0)
    hits, ranking = _find_hits(gallery, nearest, top, depth)
    return SearchResult(
        hits=hits,
        compared=ranking.compared,
        read=ranking.read,
        model=model.digest,
        kept_fraction=scan.kept_fraction,
        filter=None if scan.choice.mode == "off" else scan.choice,
        without_time=gallery.count_without_time(scope),
        **_predictions(person.probabilities[0].tolist(), model),
    )


def search_conditions(
    store: SearchableStore,
    where: str,
    *,
    model: str | None = None,
    top: int = 20,
    scope: Scope = EVERYWHERE,
    progress: OpenProgress = ignore_stages,
) -> SearchResult:
    """Find the `top` crops that most probably meet conditions; the distance is 1 - the product of the probabilities.

    `where` is such as `gender=female,backpack=yes`, `model` a digest. `progress` shows the stage `attributes`.

    Raises:
        StoreError: If a camera is unknown, or as `vestigo.resolve.resolve_search_model`.
        UsageError: If the model predicts no attributes.
        ConfigError: If its attributes have no such condition.
    """
    made_by = resolve_search_model(store, model)
    schema = require_attributes(made_by)
    conditions = schema.parse(where)

    gallery = Gallery.of(store, made_by, progress)

    def most_probable(depth: int) -> tuple[Neighbours, Ranking]:
        crops = gallery.select(scope, "attributes", progress, predictions=True)
        ranking = rank_where(crops, conditions, schema, depth)
        return [(crop, -math.expm1(-distance)) for crop, distance in ranking.neighbours(0)], ranking

    hits, ranking = _find_hits(gallery, most_probable, top, top * 2)
    without_time = gallery.count_without_time(scope)
    return SearchResult(hits=hits, compared=ranking.compared, model=made_by.digest, without_time=without_time)


def where_scores(crops: Selection, conditions: Mapping[str, str], schema: AttributeSchema) -> Float64Array:
    """Return logarithms of the probability that all conditions hold, (n,)."""
    scores = np.zeros(len(crops))
    # One condition after the other, so that the sum does not depend on how the crops are packed.
    for name, value in sorted(conditions.items()):
        column = schema.slice(name).start + schema[name].values.index(value)
        scores += np.log(np.maximum(crops.probabilities(column).astype(np.float64), MIN_PROBABILITY))
    return scores


def rank_where(gallery: Iterable[Selection], conditions: Mapping[str, str], schema: AttributeSchema, k: int) -> Ranking:
    """Rank a gallery as of one query; distances are the negative scores.

    Equal scores are ordered by crop id, so the result does not depend on how the crops are packed.
    """
    ranking = Ranking.empty(1, k)
    for crops in gallery:
        # 0 - x instead of -x, which makes -0 of certainty.
        distances = 0.0 - where_scores(crops, conditions, schema)
        near: Int64Array = np.arange(len(crops))
        if len(crops) > k:
            near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
        names = crops.ids[near]
        best = np.lexsort((names, distances[near]))[:k]
        part = Ranking(ids=names[best][None], distances=distances[near][best][None], compared=len(crops))
        ranking = ranking.merge(part)
    return ranking


def predicted_values(probabilities: list[float], model: Model) -> dict[str, tuple[str, float]]:
    """Return the predicted value of each attribute, the first of equally probable ones, and its probability."""
    schema = model.facts.attributes
    if schema is None:
        return {}
    groups = [(attribute, probabilities[schema.slice(attribute.name)]) for attribute in schema.attributes]
    return {attribute.name: (attribute.values[group.index(max(group))], max(group)) for attribute, group in groups}


def _find_hits(
    gallery: Gallery, nearest: Callable[[int], tuple[Neighbours, Ranking]], top: int, depth: int
) -> tuple[tuple[Hit, ...], Ranking]:
    """Return the `top` hits without near-identical crops, and the ranking that they are of."""
    while True:
        neighbours, ranking = nearest(depth)
        hits = _distinct_hits(gallery, neighbours)[:top]
        # Near-identical crops took the places of others: rank deeper, unless the whole gallery is ranked.
        if len(hits) == top or len(ranking.neighbours(0)) < depth:
            return tuple(hits), ranking
        depth *= 4


def _rerank(gallery: Gallery, person: CropFeatures, neighbours: Neighbours) -> Neighbours:
    from vestigo.ranking.rerank import reranked_chunks

    if not neighbours:
        return []
    ids = [crop for crop, _ in neighbours]
    (distances,) = reranked_chunks(person.descriptors, gallery.features(ids).descriptors)
    return sorted(zip(ids, distances.dense()[0].tolist(), strict=True), key=lambda pair: (pair[1], pair[0]))


def _distinct_hits(gallery: Gallery, neighbours: Neighbours) -> list[Hit]:
    rows = gallery.index.rows([crop for crop, _ in neighbours], HIT_FACTS)
    by_tracklet: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if row["tracklet"]:
            by_tracklet.setdefault(row["tracklet"], []).append(position)
    repeated: set[int] = set()
    for positions in by_tracklet.values():
        flags = near_duplicates([rows[position]["dhash"] for position in positions], NEAR_IDENTICAL_BITS)
        repeated.update(position for position, flag in zip(positions, flags, strict=True) if flag)
    distinct = [position for position in range(len(rows)) if position not in repeated]
    return [
        Hit(
            rank=rank,
            crop=rows[at]["crop_id"],
            distance=neighbours[at][1],
            track=rows[at]["tracklet"],
            **{name: rows[at][name] for name in ("camera", "time", "offset_s", "source", "input", "frame")},
            **_predictions(rows[at]["attributes"], gallery.model),
        )
        for rank, at in enumerate(distinct, start=1)
    ]


def _predictions(probabilities: list[float], model: Model) -> dict[str, Any]:
    """Return `attributes` and `confidences` of a hit or a query."""
    predicted = predicted_values(probabilities, model)
    return {
        "attributes": {name: value for name, (value, _) in predicted.items()},
        "confidences": {name: confidence for name, (_, confidence) in predicted.items()},
    }
