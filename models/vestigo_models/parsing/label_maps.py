"""Label sets of human parsers, and how their classes merge into regions (specification, section 4).

Parsers name the same things alike, so one table of names serves them all; what it does not know, a label map tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.regions import REGIONS

WHOLE_BODY = "upper and lower"
"""Where a class covers both: upper above the middle of the person, lower below."""
CHOICES = (*REGIONS.names, WHOLE_BODY)

_NAMES = {
    "head": "hat hair sunglasses face",
    "upper": "glove upper-clothes coat scarf belt torso left-arm right-arm upper-arms lower-arms",
    "lower": "socks pants skirt left-leg right-leg upper-legs lower-legs",
    "shoes": "left-shoe right-shoe",
    "belongings": "bag",
    WHOLE_BODY: "dress jumpsuit",
}
_REGION_OF = {name: region for region, names in _NAMES.items() for name in names.split()}
_REGION_OF |= {name: name for name in REGIONS.names}


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The classes of a parser by id, and the id of the region of each; of those in `split`, above the middle."""

    name: str
    classes: tuple[str, ...]
    regions: tuple[int, ...]
    split: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def named(cls, name: str, classes: Sequence[str], label_map: Mapping[str, str] | None = None) -> LabelSet:
        """Find the region of every class by its name; `label_map` (class to one of `CHOICES`) goes first.

        Raises:
            ConfigError: a class without a region, or a label map that names no class or no region.
        """
        told = {_plain(key): value for key, value in (label_map or {}).items()}
        plain = [_plain(text) for text in classes]
        if strange := sorted(told.keys() - set(plain)):
            raise ConfigError(f"label map: {name} has no class {', '.join(strange)}; it has {', '.join(classes)}")
        if wrong := [f"{key}: {value}" for key, value in told.items() if value not in CHOICES]:
            raise ConfigError(f"label map: {', '.join(wrong)}: a region is one of {', '.join(CHOICES)}")
        found = [told.get(text, _REGION_OF.get(text)) for text in plain]
        if unknown := [text for text, region in zip(classes, found, strict=True) if region is None]:
            raise ConfigError(
                f"{name}: no region is known for the classes {', '.join(unknown)};"
                f" name it in a YAML file with --label-map, as in '{unknown[0]}: {REGIONS.names[2]}'"
            )
        return cls(
            name=name,
            classes=tuple(classes),
            regions=tuple(REGIONS.names.index("upper" if r == WHOLE_BODY else str(r)) for r in found),
            split=tuple(index for index, region in enumerate(found) if region == WHOLE_BODY),
        )


def read_label_map(path: Path) -> dict[str, str]:
    """Read a label map: YAML with a region for each class that needs one, `class: region`.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"label map {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"label map {path}: not YAML: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise ConfigError(f"label map {path}: give one line a class, as in 'backpack: belongings'")
    return {str(key): value for key, value in data.items()}


def _plain(name: str) -> str:
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())


_PUBLIC = {
    "lip": "background hat hair glove sunglasses upper-clothes dress coat socks pants jumpsuit scarf skirt face "
    "left-arm right-arm left-leg right-leg left-shoe right-shoe",
    "atr": "background hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face left-leg "
    "right-leg left-arm right-arm bag scarf",
    "pascal": "background head torso upper-arms lower-arms upper-legs lower-legs",
}
LABEL_SETS = {name: LabelSet.named(name, classes.split()) for name, classes in _PUBLIC.items()}
"""The label sets of the public checkpoints by name."""
LIP, ATR, PASCAL = LABEL_SETS.values()
