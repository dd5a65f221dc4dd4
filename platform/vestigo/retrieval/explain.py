"""Explain a match: the distance from a query block by block, and the attributes of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vestigo.resolve import require_attributes, require_crops
from vestigo.retrieval.gallery import Gallery, SearchableStore
from vestigo.retrieval.query import Query, fuse_views, query_features
from vestigo.retrieval.search import predicted_values
from vestigo.store.models.records import Model, ModelFacts
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_models.inference.distance import block_distances
from vestigo_models.inference.features import CropFeatures

Agreement = Literal["disagree", "agree", "unsure"]

GLOBAL, FOREGROUND, ATTRIBUTES = "whole crop", "person without background", "crop and attributes"
"""Labels of the always-present features `global`, `foreground` and `globalattr`."""
_REGION_LABELS = {"upper": "upper body", "lower": "lower body"}
_ORDER: tuple[Agreement, ...] = ("disagree", "agree", "unsure")


@dataclass(frozen=True, kw_only=True)
class BlockMatch:
    """One block of the descriptors: an always-present feature or a part."""

    name: str
    in_query: bool
    in_crop: bool
    distance: float | None  # 1 - cosine, 0 to 2; None if a side does not show it
    share: float  # What it adds to the distance of the crop


@dataclass(frozen=True, kw_only=True)
class AttributeMatch:
    """One attribute: the predicted value of each side and its calibrated probability.

    `agreement` is `unsure` if the confidence of a side is below `STRICT`, as in the strict filter.
    """

    name: str
    title: str
    query: str
    query_confidence: float
    crop: str
    crop_confidence: float
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a crop has its place in a search result."""

    model: str
    # Equation 14 of docs/method.md, which is the sum of the shares of `blocks`, as `search` gives it without a soft
    # filter and without re-ranking; that of `search_conditions` for conditions
    distance: float
    blocks: tuple[BlockMatch, ...]  # Always-present features, then parts; empty for conditions
    # Confident disagreements, then agreements, then unsure attributes, each in descending confidence; empty if the
    # model predicts none
    attributes: tuple[AttributeMatch, ...]


def explain(store: SearchableStore, query: Query, crop: str) -> Explanation:
    """Compare a query with one crop.

    Raises:
        StoreError: If the crop is not in the store under the query's model, or as `vestigo.retrieval.search.search`.
        UsageError: As `vestigo.retrieval.search.search`.
    """
    gallery, views = query_features(store, query)
    model = gallery.model
    person = fuse_views(views, model.facts.blocks)
    features = gallery.features((crop,))
    blocks = _match_blocks(person, features, model.facts)
    query_values, crop_values = (predicted_values(side.probabilities[0].tolist(), model) for side in (person, features))
    return Explanation(
        model=model.digest,
        # Rounding takes the distance of a crop from itself below zero; the ranking has it at 0, too.
        distance=max(sum(block.share for block in blocks), 0.0),
        blocks=blocks,
        attributes=_match_attributes(query_values, crop_values, model),
    )


def explain_where(store: SearchableStore, where: str, crop: str, *, model: str) -> Explanation:
    """Compare conditions, as `search_conditions` takes them, with one crop of the model with digest `model`.

    The conditions are the query's attributes, with confidence 1.

    Raises:
        StoreError: If the crop is not in the store under that model.
        UsageError: If the model predicts no attributes.
        ConfigError: If its attributes have no such condition.
    """
    made_by = require_crops(store, model)
    schema = require_attributes(made_by)
    row = Gallery.of(store, made_by).index.probabilities((crop,))[0].tolist()
    conditions = schema.parse(where)
    probabilities = [row[schema.slice(name)][schema[name].values.index(value)] for name, value in conditions.items()]
    query = {name: (value, 1.0) for name, value in conditions.items()}
    return Explanation(
        model=made_by.digest,
        distance=1.0 - math.prod(probabilities),
        blocks=(),
        attributes=_match_attributes(query, predicted_values(row, made_by), made_by),
    )


def block_names(facts: ModelFacts) -> tuple[str, ...]:
    """Return the label of each block of a descriptor."""
    second = ATTRIBUTES if facts.regions is None and facts.always == 2 else FOREGROUND
    always = (GLOBAL, second, ATTRIBUTES)[: facts.always]
    if facts.regions is None:
        return (*always, *(f"part {number}" for number in range(1, facts.parts + 1)))
    regions = facts.part_names or facts.regions.names[1 : facts.parts + 1]
    return (*always, *(_REGION_LABELS.get(region, region.replace("-", " ")) for region in regions))


def _match_blocks(query: CropFeatures, crop: CropFeatures, facts: ModelFacts) -> tuple[BlockMatch, ...]:
    (distances,) = block_distances(query.descriptors, crop.descriptors, facts.blocks).tolist()
    always = (True,) * facts.always
    in_query = (*always, *query.descriptors.visible[0].tolist())
    in_crop = (*always, *crop.descriptors.visible[0].tolist())
    terms = sum(not math.isnan(distance) for distance in distances)
    return tuple(
        BlockMatch(
            name=name,
            in_query=shown,
            in_crop=visible,
            distance=None if math.isnan(distance) else distance,
            share=0.0 if math.isnan(distance) else distance / terms,
        )
        for name, distance, shown, visible in zip(block_names(facts), distances, in_query, in_crop, strict=True)
    )


def _match_attributes(
    query: Mapping[str, tuple[str, float]], crop: Mapping[str, tuple[str, float]], model: Model
) -> tuple[AttributeMatch, ...]:
    """Compare the attributes of a query, each a value and its probability, with those of a crop."""
    matches = []
    for name, (value, confidence) in query.items():
        crop_value, crop_confidence = crop[name]
        # In float32 as the filter compares them.
        is_reliable = np.float32(min(confidence, crop_confidence)) >= np.float32(STRICT)
        agreement: Agreement = "unsure" if not is_reliable else "agree" if value == crop_value else "disagree"
        match = AttributeMatch(
            name=name,
            title=require_attributes(model)[name].title,
            query=value,
            query_confidence=confidence,
            crop=crop_value,
            crop_confidence=crop_confidence,
            agreement=agreement,
        )
        matches.append((_ORDER.index(agreement), -min(confidence, crop_confidence), match))
    return tuple(match for *_, match in sorted(matches, key=lambda ordered: ordered[:2]))
