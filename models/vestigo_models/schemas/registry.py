"""Attribute schemas by name: what `--schema` takes."""

from __future__ import annotations

from pathlib import Path

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

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
