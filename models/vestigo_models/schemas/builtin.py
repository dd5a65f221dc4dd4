"""The attribute schemas of the public annotations, and schemas by name: what `--schema` takes.

See docs/method.md, section "Attribute annotations".
"""

from pathlib import Path

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema


def _attribute(name: str, field: str, values: str, title: str) -> Attribute:
    """Return an attribute with one field, or, where `field` ends in `*`, one field for each value."""
    names = tuple(values.split())
    fields = tuple(field[:-1] + value for value in names) if field.endswith("*") else (field,)
    return Attribute(name=name, values=names, fields=fields, title=title)


MARKET_1501 = AttributeSchema(
    name="market-1501",
    attributes=(
        _attribute("gender", "gender", "male female", "Gender"),
        _attribute("age", "age", "young teenager adult old", "Age"),
        _attribute("hair", "hair", "short long", "Hair length"),
        _attribute("sleeve", "up", "long short", "Sleeve length"),
        _attribute("lower_length", "down", "long short", "Lower-body length"),
        _attribute("lower_type", "clothes", "dress pants", "Lower-body type"),
        _attribute("backpack", "backpack", "no yes", "Backpack"),
        _attribute("handbag", "handbag", "no yes", "Handbag"),
        _attribute("bag", "bag", "no yes", "Bag"),
        _attribute("hat", "hat", "no yes", "Hat"),
        _attribute("upper_colour", "up*", "black white red purple gray blue green yellow", "Upper-body colour"),
        _attribute(
            "lower_colour", "down*", "black white pink gray blue green brown yellow purple", "Lower-body colour"
        ),
    ),
)
DUKEMTMC_REID = AttributeSchema(
    name="dukemtmc-reid",
    attributes=(
        _attribute("gender", "gender", "male female", "Gender"),
        _attribute("hat", "hat", "no yes", "Hat"),
        _attribute("boots", "boots", "no yes", "Boots"),
        _attribute("upper_length", "top", "short long", "Upper-body length"),
        _attribute("backpack", "backpack", "no yes", "Backpack"),
        _attribute("handbag", "handbag", "no yes", "Handbag"),
        _attribute("bag", "bag", "no yes", "Bag"),
        _attribute("shoe_colour", "shoes", "dark light", "Shoe colour"),
        _attribute("upper_colour", "up*", "black white red purple gray blue green brown", "Upper-body colour"),
        _attribute("lower_colour", "down*", "black white red gray blue green brown", "Lower-body colour"),
    ),
)
SCHEMAS: dict[str, AttributeSchema] = {"market1501": MARKET_1501, "dukemtmc": DUKEMTMC_REID}
"""The built-in schemas by the name that users give."""


def resolve_schema(name_or_path: str | Path) -> AttributeSchema:
    """Return a built-in schema by its key in `SCHEMAS` or its own name, or the one of a `.yaml` or `.yml` file.

    The format of files is that of `AttributeSchema.from_yaml`.

    Raises:
        ConfigError: If there is no such schema, or the file is not one.
    """
    text = str(name_or_path)
    by_name = SCHEMAS | {schema.name: schema for schema in SCHEMAS.values()}
    if text in by_name:
        return by_name[text]
    if Path(text).suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"unknown attribute schema {text!r}; give {', '.join(SCHEMAS)} or a file such as shop.yaml")
    return AttributeSchema.from_yaml(Path(text))
