"""Attribute schemas: which attributes a person has, and which values each of them takes.

Heads, filters, labels, tables and screens read this one object, so that the order of attributes and classes
is decided in one place. Symbols: n attributes, c_j classes of attribute j, M = sum of c_j (specification,
symbols and section 2.3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from vestigo_models.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute: a softmax over `values`.

    `fields` names where a `.mat` file keeps it: one field whose entries 1, 2, ... are the values in order, or one
    no/yes field for each value (the colours).
    """

    name: str
    values: tuple[str, ...]
    fields: tuple[str, ...]
    title: str

    @property
    def multi_field(self) -> bool:
        """Whether every value has its own no/yes field, so that an identity may have none or several of them."""
        return len(self.fields) > 1


@dataclass(frozen=True)
class AttributeSchema:
    """Named, ordered attributes; the order is the printing order of specification section 2.5.

    Label arrays that follow a schema are int64 of shape (N, n) with 0-based class ids, -1 = missing.
    """

    name: str
    attributes: tuple[Attribute, ...]

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the n attributes."""
        return tuple(attribute.name for attribute in self.attributes)

    @property
    def columns(self) -> int:
        """Number of annotation columns (27 for Market-1501, 23 for DukeMTMC-reID)."""
        return sum(len(attribute.fields) for attribute in self.attributes)

    @property
    def classes(self) -> int:
        """M, the number of classes of all attributes together (39 for Market-1501, 31 for DukeMTMC-reID)."""
        return sum(len(attribute.values) for attribute in self.attributes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each of the n attributes begins in a vector of M class scores."""
        return tuple(accumulate((len(attribute.values) for attribute in self.attributes[:-1]), initial=0))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Position of the attribute `name`.

        Raises:
            ConfigError: the schema has no such attribute.
        """
        try:
            return self._positions[name]
        except KeyError:
            raise ConfigError(f"unknown attribute {name!r}; {self.name} has {', '.join(self.names)}") from None

    def __getitem__(self, name: str) -> Attribute:
        return self.attributes[self.index(name)]

    def slice(self, name: str) -> slice:
        """Where the classes of the attribute `name` stand in a vector of M class scores."""
        position = self.index(name)
        start = self.offsets[position]
        return slice(start, start + len(self.attributes[position].values))

    def parse(self, text: str) -> dict[str, str]:
        """Read conditions such as `gender=female,backpack=yes`.

        Raises:
            ConfigError: names every condition that is malformed, repeated, or not in the schema.
        """
        conditions: dict[str, str] = {}
        mistakes: list[str] = []
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not name or not value:
                mistakes.append(f"{part.strip()!r} is not of the form attribute=value")
            elif name not in self._positions:
                mistakes.append(f"unknown attribute {name!r} (known: {', '.join(self.names)})")
            elif value not in self[name].values:
                mistakes.append(f"{name} cannot be {value!r} (it is one of {', '.join(self[name].values)})")
            elif name in conditions:
                mistakes.append(f"{name} is given twice")
            else:
                conditions[name] = value
        _raise_together(f"attributes {text!r}", mistakes)
        return conditions

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what a model's outputs mean: the schema's name, attributes and values, in order."""
        meaning = [self.name, [[attribute.name, list(attribute.values)] for attribute in self.attributes]]
        return hashlib.sha256(json.dumps(meaning, ensure_ascii=False).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; `from_dict` reads it back."""
        return {
            "name": self.name,
            "attributes": [
                {
                    "name": attribute.name,
                    "values": list(attribute.values),
                    "fields": list(attribute.fields),
                    "title": attribute.title,
                }
                for attribute in self.attributes
            ],
        }

    @classmethod
    def from_dict(cls, data: object, *, origin: str = "attribute schema") -> AttributeSchema:
        """Build a schema from plain data: `name` and `attributes`, each with `name`, `values` and, if wanted,
        `fields` (default: the name) and `title` (default: the name in words).

        Raises:
            ConfigError: one line, beginning with `origin`, that lists all mistakes.
        """
        mistakes: list[str] = []
        top = _mapping(data, "the schema", {"name", "attributes"}, set(), mistakes)
        name = _text(top.get("name"), "name", mistakes) if "name" in top else ""
        items = _sequence(top["attributes"], "attributes", 1, mistakes) if "attributes" in top else ()
        attributes = [_attribute(item, f"attributes[{position}]", mistakes) for position, item in enumerate(items)]
        mistakes += _repeated([a.name for a in attributes if a.name], "attribute")
        mistakes += _repeated([field for a in attributes for field in dict.fromkeys(a.fields)], "field")
        _raise_together(origin, mistakes)
        return cls(name=name, attributes=tuple(attributes))

    @classmethod
    def from_yaml(cls, path: Path) -> AttributeSchema:
        """Read a user's own schema; the keys are those of `from_dict`.

        Raises:
            ConfigError: the file cannot be read, or one line with all of its mistakes.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"attribute schema {path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"attribute schema {path}: not UTF-8 text") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"attribute schema {path}: not YAML: {' '.join(str(error).split())}") from None
        return cls.from_dict(data, origin=f"attribute schema {path}")


def _raise_together(origin: str, mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError(f"{origin}: {'; '.join(mistakes)}")


def _attribute(data: object, where: str, mistakes: list[str]) -> Attribute:
    entry = _mapping(data, where, {"name", "values"}, {"fields", "title"}, mistakes)
    name = _text(entry["name"], f"{where}.name", mistakes) if "name" in entry else ""
    if any(character in name for character in "=,"):
        mistakes.append(f"{where}.name: {name!r} must hold neither '=' nor ','")
    values = _texts(entry["values"], f"{where}.values", 2, mistakes) if "values" in entry else ()
    for value in values:
        if any(character in value for character in "=,"):
            mistakes.append(f"{where}.values: {value!r} must hold neither '=' nor ','")
    fields = _texts(entry["fields"], f"{where}.fields", 1, mistakes) if "fields" in entry else (name,)
    if values and len(fields) not in (0, 1, len(values)):
        mistakes.append(f"{where}.fields: {len(fields)} fields for {len(values)} values; give one, or one a value")
    title = name.replace("_", " ").capitalize()
    if "title" in entry:
        title = _text(entry["title"], f"{where}.title", mistakes)
    return Attribute(name=name, values=values, fields=fields, title=title)


def _mapping(
    data: object, where: str, required: set[str], optional: set[str], mistakes: list[str]
) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        mistakes.append(f"{where}: expected keys {', '.join(sorted(required))}, found {data!r}")
        return {}
    mistakes += [f"{where}: key {key!r} is missing" for key in sorted(required - set(data))]
    known = required | optional
    mistakes += [
        f"{where}: unknown key {key!r} (known: {', '.join(sorted(known))})" for key in data if key not in known
    ]
    return data


def _sequence(data: object, where: str, least: int, mistakes: list[str]) -> Sequence[object]:
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) < least:
        mistakes.append(f"{where}: expected a list of at least {least}, found {data!r}")
        return ()
    return data


def _text(data: object, where: str, mistakes: list[str]) -> str:
    # YAML reads a bare yes or no as true or false: the commonest slip in a schema of belongings.
    if isinstance(data, bool):
        mistakes.append(f"{where}: a bare {'yes' if data else 'no'} is a truth value in YAML; put it in quotes")
        return ""
    if not isinstance(data, str) or not data.strip():
        mistakes.append(f"{where}: expected text, found {data!r}")
        return ""
    return data.strip()


def _texts(data: object, where: str, least: int, mistakes: list[str]) -> tuple[str, ...]:
    texts = [_text(item, where, mistakes) for item in _sequence(data, where, least, mistakes)]
    mistakes += _repeated([text for text in texts if text], f"{where}:")
    return tuple(texts)


def _repeated(items: Sequence[str], what: str) -> list[str]:
    return [f"{what} {item!r} occurs twice" for item in dict.fromkeys(items) if items.count(item) > 1]
