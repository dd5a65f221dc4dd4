"""The attribute schemas of the public annotations (docs/method.md, section "Attribute annotations")."""

from __future__ import annotations

from vestigo_models.schemas.attributes import Attribute, AttributeSchema

_NO_YES = ("no", "yes")


def _single(name: str, field: str, values: tuple[str, ...], title: str) -> Attribute:
    return Attribute(name=name, values=values, fields=(field,), title=title)


def _colours(name: str, prefix: str, values: tuple[str, ...], title: str) -> Attribute:
    return Attribute(name=name, values=values, fields=tuple(prefix + value for value in values), title=title)


MARKET_1501 = AttributeSchema(
    name="market-1501",
    attributes=(
        _single("gender", "gender", ("male", "female"), "Gender"),
        _single("age", "age", ("young", "teenager", "adult", "old"), "Age"),
        _single("hair", "hair", ("short", "long"), "Hair length"),
        _single("sleeve", "up", ("long", "short"), "Sleeve length"),
        _single("lower_length", "down", ("long", "short"), "Lower-body length"),
        _single("lower_type", "clothes", ("dress", "pants"), "Lower-body type"),
        _single("backpack", "backpack", _NO_YES, "Backpack"),
        _single("handbag", "handbag", _NO_YES, "Handbag"),
        _single("bag", "bag", _NO_YES, "Bag"),
        _single("hat", "hat", _NO_YES, "Hat"),
        _colours(
            "upper_colour",
            "up",
            ("black", "white", "red", "purple", "gray", "blue", "green", "yellow"),
            "Upper-body colour",
        ),
        _colours(
            "lower_colour",
            "down",
            ("black", "white", "pink", "gray", "blue", "green", "brown", "yellow", "purple"),
            "Lower-body colour",
        ),
    ),
)

DUKEMTMC_REID = AttributeSchema(
    name="dukemtmc-reid",
    attributes=(
        _single("gender", "gender", ("male", "female"), "Gender"),
        _single("hat", "hat", _NO_YES, "Hat"),
        _single("boots", "boots", _NO_YES, "Boots"),
        _single("upper_length", "top", ("short", "long"), "Upper-body length"),
        _single("backpack", "backpack", _NO_YES, "Backpack"),
        _single("handbag", "handbag", _NO_YES, "Handbag"),
        _single("bag", "bag", _NO_YES, "Bag"),
        _single("shoe_colour", "shoes", ("dark", "light"), "Shoe colour"),
        _colours(
            "upper_colour",
            "up",
            ("black", "white", "red", "purple", "gray", "blue", "green", "brown"),
            "Upper-body colour",
        ),
        _colours(
            "lower_colour",
            "down",
            ("black", "white", "red", "gray", "blue", "green", "brown"),
            "Lower-body colour",
        ),
    ),
)
