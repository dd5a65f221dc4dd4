"""Attribute schemas: the attributes of a person, their values, and the regions that they are read from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from vestigo_models.config_files import read_yaml
from vestigo_models.errors import ConfigError, quote
from vestigo_models.names import normal_form
from vestigo_models.schemas.regions import FOREGROUND, GLOBAL, REGIONS

REGION_NAMES = (GLOBAL, FOREGROUND, *REGIONS.names[1:])
"""What a schema can name as the source of an attribute."""
CANNOT_TELL = "cannot tell"
"""An annotation like a value: the annotator cannot see the attribute."""
CARRIED = ("belongings", "upper")
"""Carried objects are labelled per identity, and their straps lie on the torso."""
DEFAULT_REGIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gender", "age"), (FOREGROUND,)),
    **dict.fromkeys(("hair", "hat"), ("head",)),
    **dict.fromkeys(("sleeve", "upper_length", "upper_colour"), ("upper",)),
    **dict.fromkeys(("lower_length", "lower_type", "lower_colour"), ("lower",)),
    **dict.fromkeys(("shoe_colour", "boots"), ("shoes",)),
    **dict.fromkeys(("backpack", "bag", "handbag"), CARRIED),
}
"""Regions by attribute name: of the built-in schemas, and of schemas that do not name any, such as those in older
model packages (docs/method.md, section "ALM")."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A property of a person that takes one of several values."""

    name: str  # in tables, labels and conditions
    values: tuple[str, ...]  # its c_j values; their positions are the class ids
    # fields of a `.mat` file that hold it: one whose entries 1, 2, ... are the values in order, or one no/yes field for
    # each value (colours)
    fields: tuple[str, ...]
    title: str  # for reports and screens
    regions: tuple[str, ...] = ()  # regions that ALM reads it from; by default those of `DEFAULT_REGIONS`, else none

    def __post_init__(self) -> None:
        if not self.regions:
            object.__setattr__(self, "regions", DEFAULT_REGIONS.get(self.name, ()))

    @property
    def multi_field(self) -> bool:
        """Whether every value has its own no/yes field, so that an identity may have none or several of them."""
        return len(self.fields) > 1


@dataclass(frozen=True)
class AttributeSchema:
    """Named, ordered attributes.

    Label arrays of a schema are int64 of shape (N, n) with class ids from 0, -1 if missing. Probabilities have shape
    (N, M); the classes of an attribute are adjacent. See docs/method.md, section "Symbols".
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
    def classes(self) -> int:
        """M, the number of classes of all attributes (39 for Market-1501, 31 for DukeMTMC-reID)."""
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each of the n attributes."""
        return tuple(len(attribute.values) for attribute in self.attributes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First position of each of the n attributes in a vector of M classes."""
        return tuple(accumulate(self.sizes[:-1], initial=0))

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Positions of each of the n attributes in a vector of M classes."""
        return tuple(slice(start, start + size) for start, size in zip(self.offsets, self.sizes, strict=True))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return the position of the attribute `name`.

        Raises:
            ConfigError: If the schema has no such attribute.
        """
        try:
            return self._positions[name]
        except KeyError:
            raise ConfigError(f"unknown attribute {name!r}; {self.name} has {', '.join(self.names)}") from None

    def __getitem__(self, name: str) -> Attribute:
        return self.attributes[self.index(name)]

    def slice(self, name: str) -> slice:
        """Return the positions of the attribute `name` in a vector of M classes."""
        return self.slices[self.index(name)]

    def parse(self, text: str) -> dict[str, str]:
        """Read conditions such as `gender=female,backpack=yes`.

        Raises:
            ConfigError: If a condition is malformed, repeated, or not in the schema; all mistakes are listed.
        """
        conditions: dict[str, str] = {}
        mistakes: list[str] = []
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            name = _known_form(name, self.names)
            if name in self._positions:
                value = _known_form(value, self[name].values)
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
        _raise_all(f"attributes {text!r}", mistakes)
        return conditions

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the schema's name, and the names and values of its attributes in order.

        Titles, fields and regions do not change what a class id means and are not part of it.
        """
        meaning = [self.name, [[attribute.name, list(attribute.values)] for attribute in self.attributes]]
        return hashlib.sha256(json.dumps(meaning, ensure_ascii=False).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON or YAML; `from_dict` reads it back."""
        return {
            "name": self.name,
            "attributes": [
                {
                    "name": attribute.name,
                    "values": list(attribute.values),
                    "fields": list(attribute.fields),
                    "title": attribute.title,
                    **({"regions": list(attribute.regions)} if attribute.regions else {}),
                }
                for attribute in self.attributes
            ],
        }

    @classmethod
    def from_dict(cls, data: object, *, origin: str = "attribute schema") -> Self:
        """Build a schema from plain data with the keys of `from_yaml`; error messages begin with `origin`.

        Raises:
            ConfigError: If the data are not a schema; one line lists all mistakes.
        """
        mistakes: list[str] = []
        top = _read_mapping(data, "the schema", {"name", "attributes"}, set(), mistakes)
        name = _read_text(top.get("name"), "name", mistakes) if "name" in top else ""
        items = _read_list(top["attributes"], "attributes", 1, mistakes) if "attributes" in top else ()
        attributes = [_read_attribute(item, f"attributes[{index}]", mistakes) for index, item in enumerate(items)]
        mistakes += _find_repeated([a.name for a in attributes if a.name], "attribute")
        mistakes += _find_repeated([field for a in attributes for field in dict.fromkeys(a.fields)], "field")
        _raise_all(origin, mistakes)
        return cls(name=name, attributes=tuple(attributes))

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a schema from a YAML file.

        The file has a `name` and a list of `attributes`. Each attribute has these keys:

        - `name`: name in tables, labels and conditions, without `=` and `,`.
        - `values`: at least two values. Write `yes` and `no` in quotes.
        - `regions` (optional): regions that a model reads it from: `head`, `upper`, `lower`, `shoes`, `belongings`,
          `foreground` (all of these) or `global` (the whole image). Names in `DEFAULT_REGIONS` have a default; for
          others the key is required to train with `network.attributes: regions`.
        - `fields` (optional): fields of a `.mat` file, one or one for each value. Default: the name.
        - `title` (optional): name for reports and screens. Default: the name in words.

        An example is in docs/extending/schema.md.

        Raises:
            ConfigError: If the file cannot be read or is not a schema; one line lists all mistakes.
        """
        origin = f"attribute schema {path}"
        return cls.from_dict(read_yaml(path, origin), origin=origin)


def _known_form(text: str, known: Sequence[str]) -> str:
    """Return the entry of `known` that is the text in another Unicode form, else the text."""
    return next((entry for entry in known if normal_form(entry) == normal_form(text)), text)


def _raise_all(origin: str, mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError(f"{origin}: {'; '.join(mistakes)}")


def _read_attribute(data: object, where: str, mistakes: list[str]) -> Attribute:
    entry = _read_mapping(data, where, {"name", "values"}, {"fields", "title", "regions"}, mistakes)
    name = _read_text(entry["name"], f"{where}.name", mistakes) if "name" in entry else ""
    values = _read_texts(entry["values"], f"{where}.values", 2, mistakes) if "values" in entry else ()
    for key, text in [("name", name), *(("values", value) for value in values)]:
        if any(character in text for character in "=,"):
            mistakes.append(f"{where}.{key}: {text!r} must hold neither '=' nor ','")
    fields = _read_texts(entry["fields"], f"{where}.fields", 1, mistakes) if "fields" in entry else (name,)
    if values and len(fields) not in (0, 1, len(values)):
        mistakes.append(f"{where}.fields: {len(fields)} fields for {len(values)} values; give one, or one per value")
    title = name.replace("_", " ").capitalize()
    if "title" in entry:
        title = _read_text(entry["title"], f"{where}.title", mistakes)
    regions = _read_texts(entry["regions"], f"{where}.regions", 1, mistakes) if "regions" in entry else ()
    unknown = [region for region in regions if region and region not in REGION_NAMES]
    mistakes += [f"{where}.regions: unknown region {r!r} (known: {', '.join(REGION_NAMES)})" for r in unknown]
    return Attribute(name=name, values=values, fields=fields, title=title, regions=regions)


def _read_mapping(
    data: object, where: str, required: set[str], optional: set[str], mistakes: list[str]
) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        mistakes.append(f"{where}: expected keys {', '.join(sorted(required))}, found {quote(data)}")
        return {}
    mistakes += [f"{where}: key {key!r} is missing" for key in sorted(required - set(data))]
    known = ", ".join(sorted(required | optional))
    unknown = [key for key in data if key not in required | optional]
    mistakes += [f"{where}: unknown key {quote(key)} (known: {known})" for key in unknown]
    return data


def _read_list(data: object, where: str, least: int, mistakes: list[str]) -> Sequence[object]:
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) < least:
        mistakes.append(f"{where}: expected a list of at least {least}, found {quote(data)}")
        return ()
    return data


def _read_text(data: object, where: str, mistakes: list[str]) -> str:
    # YAML reads a bare yes or no as true or false.
    if isinstance(data, bool):
        mistakes.append(f"{where}: a bare {'yes' if data else 'no'} is a truth value in YAML; put it in quotes")
        return ""
    if not isinstance(data, str) or not data.strip():
        mistakes.append(f"{where}: expected text, found {quote(data)}")
        return ""
    return data.strip()


def _read_texts(data: object, where: str, least: int, mistakes: list[str]) -> tuple[str, ...]:
    texts = [_read_text(item, where, mistakes) for item in _read_list(data, where, least, mistakes)]
    mistakes += _find_repeated([text for text in texts if text], f"{where}:")
    return tuple(texts)


def _find_repeated(items: Sequence[str], kind: str) -> list[str]:
    return [f"{kind} {item!r} occurs twice" for item in dict.fromkeys(items) if items.count(item) > 1]
