"""What is said below a picture of a result: few words, and what speaks against the match."""

from __future__ import annotations

from collections.abc import Mapping

from vestigo.search.run import Hit
from vestigo_models.attribute_filter.rule import STRICT

BRIEF = 4
ALONE = ("gender", "age")
"""Attributes whose values need no name."""


def brief(attributes: Mapping[str, str], confidences: Mapping[str, float]) -> str:
    """Say the first four things that the model is sure of; what somebody does not wear or carry is left out."""
    sure = [name for name, value in attributes.items() if value != "no" and confidences[name] >= STRICT]
    return ", ".join(_said(name, attributes[name]) for name in sure[:BRIEF])


def differing(hit: Hit, attributes: Mapping[str, str], confidences: Mapping[str, float]) -> list[str]:
    """Return the attributes of which the model is sure on both sides, and says different things."""
    return [
        name
        for name, value in attributes.items()
        if hit.attributes.get(name, value) != value and min(confidences[name], hit.confidences[name]) >= STRICT
    ]


def spoken(name: str) -> str:
    """Return an attribute's name as people write it."""
    return name.replace("_", " ")


def _said(name: str, value: str) -> str:
    if value == "yes":
        return spoken(name)
    return value if name in ALONE else f"{spoken(name.removesuffix('_colour'))} {value}"
