"""One person in an archive: a query of one or several views, the nearest crops in answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from vestigo.ranking.rerank import reranked_chunks
from vestigo.ranking.top_k import Ranking, rank
from vestigo.search.filter import NO_FILTER, Comparison
from vestigo.search.gallery import (
    EVERYWHERE,
    LOOKS,
    Advance,
    Appearance,
    Archive,
    Scope,
    appearance_of,
    current_model,
    probability_batches,
    require_attributes,
    require_model,
    stored_appearance,
)
from vestigo.search.query import fuse
from vestigo.search.where import rank_where
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig
from vestigo_models.errors import UsageError
from vestigo_models.tracking.selection import near_duplicates

NEAR_IDENTICAL_BITS = 6
"""Crops of one tracklet whose 64-bit difference hashes differ in at most so many bits are one picture to a reader."""
RERANK_DEPTH = 200
"""Re-ranking reorders so many of the nearest crops; what is farther away stays behind them."""
SHOWN = ("crop_id", "camera", "time", "offset_s", "tracklet", "dhash", "source", "input", "frame", "attributes")

Found = list[tuple[str, float]]
"""Crop ids and distances, nearest first."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Views of one person: stored `crops` by id, and `views` of new images.

    `model` is the digest of the model that made the views; without views it may be left out, which means
    `vestigo.search.gallery.current_model`.
    """

    crops: tuple[str, ...] = ()
    views: Appearance | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One crop of the answer. `time` is in UTC and `offset_s` in seconds from the start of the video, each None where
    unknown; `attributes` maps names to the likeliest values and `confidences` names to their calibrated probabilities,
    both empty for a model that predicts none."""

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
    """The answer: `hits` nearest first, out of `compared` crops of the model with digest `model`.

    `kept_fraction` is the share of the crops in scope that an attribute filter left over (1.0: there was none);
    `filter` is what that filter was and what it is expected to cost, None where nobody asked for one. `attributes` and
    `confidences` are what the model says of the query, as in `Hit`; a search by attributes alone has none.
    """

    hits: tuple[Hit, ...]
    compared: int
    model: str
    kept_fraction: float = 1.0
    filter: FilterChoice | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    confidences: dict[str, float] = field(default_factory=dict)


def search(
    archive: Archive,
    query: Query,
    *,
    top: int = 20,
    scope: Scope = EVERYWHERE,
    filter_config: FilterConfig = NO_FILTER,
    rerank: bool = False,
    advance: Advance | None = None,
) -> SearchResult:
    """Find the `top` crops nearest to a query, in one pass over the archive (a filter takes further ones over the
    attributes alone).

    Query crops are left out of the answer, and of near-identical crops of one tracklet only the nearest is shown.
    What a filter discards is not in the answer. With `rerank`, the nearest `RERANK_DEPTH` crops are put in order by
    k-reciprocal re-ranking, whose distances the answer then carries. `advance` hears how far each pass is.

    Raises:
        StoreError: an unknown crop, a model that the store does not hold, or as `current_model`.
        UsageError: no view, views without their model or without anything in common, a filter or a condition and a
            model without attributes, or the soft filter together with re-ranking.
        ConfigError: the filter needs a calibration that the model does not have.
    """
    model, views = query_views(archive, query)
    person = fuse(views, model.facts.blocks)
    comparison = Comparison.of(archive, model, person, scope, filter_config, advance)
    if rerank and comparison.choice.mode == "soft":
        raise UsageError("--filter soft adds to the distances that --rerank replaces; choose one of them")

    def nearest(depth: int) -> tuple[Found, Ranking]:
        ranking = rank(person.descriptors, comparison.batches(), depth)
        found = ranking.without([query.crops], depth).of_query(0)
        return (_reranked(archive, person, found, model) if rerank else found), ranking

    wanted = top + len(query.crops)
    hits, compared = _deep_enough(archive, model, nearest, top, max(wanted * 2, RERANK_DEPTH if rerank else 0))
    attributes, confidences = likeliest_values(person.probabilities[0].tolist(), model)
    return SearchResult(
        hits=hits,
        compared=compared,
        model=model.digest,
        kept_fraction=comparison.kept_fraction,
        filter=None if comparison.choice.mode == "off" else comparison.choice,
        attributes=attributes,
        confidences=confidences,
    )


def search_where(
    archive: Archive,
    where: str,
    *,
    model: str | None = None,
    top: int = 20,
    scope: Scope = EVERYWHERE,
    advance: Advance | None = None,
) -> SearchResult:
    """Find the `top` crops that are likeliest to meet conditions such as `gender=female,backpack=yes`.

    The distance is 1 - the product of the calibrated probabilities. `model` is a digest, by default that of
    `current_model`; `advance` hears how far a pass is.

    Raises:
        StoreError: as `current_model`, or the store does not hold that model.
        UsageError: the model predicts no attributes.
        ConfigError: a condition that its attributes do not have.
    """
    found = current_model(archive) if model is None else require_model(archive, model)
    schema = require_attributes(found)
    conditions = schema.parse(where)

    def likeliest(depth: int) -> tuple[Found, Ranking]:
        ranking = rank_where(probability_batches(archive, found, scope, advance=advance), conditions, schema, depth)
        return [(crop, -math.expm1(-distance)) for crop, distance in ranking.of_query(0)], ranking

    hits, compared = _deep_enough(archive, found, likeliest, top, top * 2)
    return SearchResult(hits=hits, compared=compared, model=found.digest)


def query_views(archive: Archive, query: Query) -> tuple[Model, Appearance]:
    """The model that a query is in, and its views, at least one. Raises StoreError and UsageError as `search`."""
    views = [] if query.views is None else [query.views]
    digest = query.model
    if query.crops:
        found, stored = stored_appearance(archive, query.crops, query.model)
        digest = found.digest
        views.append(stored)
    if digest is None or not sum(map(len, views)):
        raise UsageError("a search needs a crop, or views of new images and the digest of the model that made them")
    return require_model(archive, digest), Appearance.joined(views)


def _deep_enough(
    archive: Archive, model: Model, nearest: Callable[[int], tuple[Found, Ranking]], top: int, depth: int
) -> tuple[tuple[Hit, ...], int]:
    """The `top` hits after near-identical crops are taken out, and how many crops were compared."""
    while True:
        found, ranking = nearest(depth)
        hits = _shown_once(archive, found, model)[:top]
        # Near-identical crops took places that others should have: look deeper, unless that was everything.
        if len(hits) == top or len(ranking.of_query(0)) < depth:
            return tuple(hits), ranking.compared
        depth *= 4


def _reranked(archive: Archive, person: Appearance, nearest: Found, model: Model) -> Found:
    if not nearest:
        return []
    ids = [crop for crop, _ in nearest]
    candidates = appearance_of(archive.crops(ids, [*LOOKS, "attributes"], model=model.digest), model)
    (distances,) = reranked_chunks(person.descriptors, candidates.descriptors)
    return sorted(zip(ids, distances[0].tolist(), strict=True), key=lambda pair: (pair[1], pair[0]))


def _shown_once(archive: Archive, nearest: Found, model: Model) -> list[Hit]:
    rows = archive.crops([crop for crop, _ in nearest], SHOWN, model=model.digest)
    by_tracklet: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if row["tracklet"]:
            by_tracklet.setdefault(row["tracklet"], []).append(position)
    repeated: set[int] = set()
    for positions in by_tracklet.values():
        marked = near_duplicates([rows[position]["dhash"] for position in positions], NEAR_IDENTICAL_BITS)
        repeated.update(position for position, mark in zip(positions, marked, strict=True) if mark)
    hits = [
        _hit(row, distance, model)
        for position, (row, (_, distance)) in enumerate(zip(rows, nearest, strict=True))
        if position not in repeated
    ]
    return [replace(hit, rank=position) for position, hit in enumerate(hits, start=1)]


def _hit(row: dict[str, Any], distance: float, model: Model) -> Hit:
    attributes, confidences = likeliest_values(row["attributes"], model)
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
        attributes=attributes,
        confidences=confidences,
    )


def likeliest_values(probabilities: list[float], model: Model) -> tuple[dict[str, str], dict[str, float]]:
    """The likeliest value of each attribute, the first of equally likely ones, and how likely it is."""
    schema = model.facts.attributes
    if schema is None:
        return {}, {}
    groups = [(attribute, probabilities[schema.slice(attribute.name)]) for attribute in schema.attributes]
    values = {attribute.name: attribute.values[group.index(max(group))] for attribute, group in groups}
    return values, {attribute.name: max(group) for attribute, group in groups}
