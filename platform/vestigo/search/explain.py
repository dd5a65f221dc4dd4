"""Why a crop matched: its distance from a query, block by block of the descriptors, and what attributes say of both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vestigo.search.gallery import Appearance, Archive, require_attributes, stored_appearance
from vestigo.search.query import fuse
from vestigo.search.run import Query, likeliest_values, query_views
from vestigo.store.models.facts import ModelFacts
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_models.schemas.attributes import Attribute

Agreement = Literal["disagree", "agree", "unsure"]

WHOLE, FOREGROUND, ATTRIBUTES = "whole picture", "person without background", "picture and attributes"
"""The always-present features `global`, `foreground` and `globalattr`, in words."""
_REGIONS = {"upper": "upper body", "lower": "lower body"}
_ORDER: tuple[Agreement, ...] = ("disagree", "agree", "unsure")


@dataclass(frozen=True, kw_only=True)
class BlockMatch:
    """One block of the descriptors: an always-present feature, or a part.

    Attributes:
        name: what it is, in words.
        in_query: whether the query shows it; a query of several views shows what any of them does.
        in_crop: whether the crop shows it.
        distance: 1 - cosine, 0..2; None where only one side shows it, or none: then there is nothing to compare.
        share: what it adds to the distance of the crop.
    """

    name: str
    in_query: bool
    in_crop: bool
    distance: float | None
    share: float

    @property
    def counts(self) -> bool:
        """Whether the distance takes it in."""
        return self.distance is not None


@dataclass(frozen=True, kw_only=True)
class AttributeMatch:
    """One attribute: the likeliest value of each side and its calibrated probability.

    It is `unsure` where either side is less than `STRICT` sure, as the strict filter has it.
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
    """Why a crop stands where it does in an answer.

    Attributes:
        model: digest of the model that says so.
        distance: equation 14, as `search` gives it without a soft filter and without re-ranking, which is the sum of
            the shares of `blocks`; that of `search_where` for conditions.
        blocks: the always-present features, then the parts; none for conditions.
        attributes: confident disagreements first, then what agrees, then what is unsure, the surest of each first;
            empty for a model without.
    """

    model: str
    distance: float
    blocks: tuple[BlockMatch, ...]
    attributes: tuple[AttributeMatch, ...]


def explain(archive: Archive, query: Query, crop: str) -> Explanation:
    """Compare a query with one crop.

    Raises:
        StoreError: a crop is not in the store under the query's model, or as `search`.
        UsageError: as `search`.
    """
    model, views = query_views(archive, query)
    person = fuse(views, model.facts.blocks)
    _, found = stored_appearance(archive, (crop,), model.digest)
    blocks = _blocks(person, found, model.facts)
    return Explanation(
        model=model.digest,
        # Rounding brings a crop's distance from itself below nothing; the ranking has it at 0, too.
        distance=max(sum(block.share for block in blocks), 0.0),
        blocks=blocks,
        attributes=_attributes(person, found, model),
    )


def explain_where(archive: Archive, where: str, crop: str, *, model: str) -> Explanation:
    """Compare conditions, as `search_where` takes them, with one crop of the model with digest `model`.

    The conditions are the query's attributes, and as sure as can be; the distance is that of `search_where`.

    Raises:
        StoreError: the crop is not in the store under that model.
        UsageError: the model predicts no attributes.
        ConfigError: a condition that its attributes do not have.
    """
    found, looks = stored_appearance(archive, (crop,), model)
    schema = require_attributes(found)
    conditions = schema.parse(where)
    said = looks.probabilities[0]
    likely = [float(said[schema.slice(name)][schema[name].values.index(value)]) for name, value in conditions.items()]
    values, confidences = likeliest_values(said.tolist(), found)
    return Explanation(
        model=found.digest,
        distance=1.0 - math.prod(likely),
        blocks=(),
        attributes=_surest_first(
            _match(schema[name], (value, 1.0), (values[name], confidences[name])) for name, value in conditions.items()
        ),
    )


def block_names(facts: ModelFacts) -> tuple[str, ...]:
    """What each block of a descriptor is, in words."""
    if facts.always == 1:
        always: tuple[str, ...] = (WHOLE,)
    elif facts.always == 2:
        always = (WHOLE, ATTRIBUTES if facts.regions is None else FOREGROUND)
    else:
        always = (WHOLE, FOREGROUND, ATTRIBUTES)
    if facts.regions is None:
        return (*always, *(f"part {number}" for number in range(1, facts.parts + 1)))
    return (*always, *(_in_words(name) for name in facts.regions.names[1 : facts.parts + 1]))


def _in_words(region: str) -> str:
    return _REGIONS.get(region, region.replace("-", " "))


def _blocks(query: Appearance, crop: Appearance, facts: ModelFacts) -> tuple[BlockMatch, ...]:
    ours, theirs = query.descriptors, crop.descriptors
    ends = np.cumsum(facts.blocks)[:-1]
    products = ours.vectors[0].astype(np.float64) * theirs.vectors[0]
    cosines = [float(block.sum()) for block in np.split(products, ends)]
    always = (True,) * facts.always
    in_query, in_crop = (*always, *ours.visible[0].tolist()), (*always, *theirs.visible[0].tolist())
    terms = sum(a and b for a, b in zip(in_query, in_crop, strict=True))
    return tuple(
        BlockMatch(
            name=name,
            in_query=shown,
            in_crop=seen,
            distance=1.0 - cosine if shown and seen else None,
            share=(1.0 - cosine) / terms if shown and seen else 0.0,
        )
        for name, cosine, shown, seen in zip(block_names(facts), cosines, in_query, in_crop, strict=True)
    )


def _attributes(query: Appearance, crop: Appearance, model: Model) -> tuple[AttributeMatch, ...]:
    schema = model.facts.attributes
    if schema is None:
        return ()
    ours, sure = likeliest_values(query.probabilities[0].tolist(), model)
    theirs, surely = likeliest_values(crop.probabilities[0].tolist(), model)
    return _surest_first(
        _match(one, (ours[one.name], sure[one.name]), (theirs[one.name], surely[one.name])) for one in schema.attributes
    )


def _match(attribute: Attribute, query: tuple[str, float], crop: tuple[str, float]) -> AttributeMatch:
    agreement: Agreement = "agree" if query[0] == crop[0] else "disagree"
    # In float32 as the filter compares them.
    if np.float32(min(query[1], crop[1])) < np.float32(STRICT):
        agreement = "unsure"
    return AttributeMatch(
        name=attribute.name,
        title=attribute.title,
        query=query[0],
        query_confidence=query[1],
        crop=crop[0],
        crop_confidence=crop[1],
        agreement=agreement,
    )


def _surest_first(matches: Iterable[AttributeMatch]) -> tuple[AttributeMatch, ...]:
    def order(match: AttributeMatch) -> tuple[int, float]:
        return _ORDER.index(match.agreement), -min(match.query_confidence, match.crop_confidence)

    return tuple(sorted(matches, key=order))
