"""Classes of human parsers and their regions (docs/method.md, "Parsing and region merge").

One table assigns regions to the usual names of classes; a label map assigns them to others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vestigo_models.config_files import read_yaml
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.regions import BELONGINGS, REGIONS

WHOLE_BODY = "upper and lower"
"""For a class of the whole body: upper above the middle of the person, lower below it."""
BAGS = REGIONS.names[BELONGINGS]
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
class ParserLabels:
    """The classes of a parser."""

    name: str  # name of the label set
    classes: tuple[str, ...]  # names of the classes by id
    regions: tuple[int, ...]  # region id of each class
    # ids of classes that are upper body (as in `regions`) above the person's middle and lower body below it
    split: tuple[int, ...] = ()
    has_unreliable_bags: bool = False  # belongings come from a class `bag` that no label map names, as in ATR

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def named(cls, name: str, classes: Sequence[str], label_map: Mapping[str, str] | None = None) -> ParserLabels:
        """Return the label set of classes, named by id, with the region of every class by its name.

        `label_map` has one of `CHOICES` for each class whose region differs from that of its name.

        Raises:
            ConfigError: If a class has no region, or the label map names an unknown class or region.
        """
        chosen = {_normalise(key): value for key, value in (label_map or {}).items()}
        normalised = [_normalise(text) for text in classes]
        if unknown := sorted(chosen.keys() - set(normalised)):
            raise ConfigError(f"label map: {name} has no class {', '.join(unknown)}; it has {', '.join(classes)}")
        if wrong := [f"{key}: {value}" for key, value in chosen.items() if value not in CHOICES]:
            raise ConfigError(f"label map: {', '.join(wrong)}: a region is one of {', '.join(CHOICES)}")
        regions = [chosen.get(text, _REGION_OF.get(text)) for text in normalised]
        if unknown := [text for text, region in zip(classes, regions, strict=True) if region is None]:
            raise ConfigError(
                f"{name}: no region is known for the classes {', '.join(unknown)};"
                f" name it in a YAML file with --label-map, as in '{unknown[0]}: {REGIONS.names[2]}'"
            )
        belongings = [text for text, region in zip(normalised, regions, strict=True) if region == BAGS]
        return cls(
            name=name,
            classes=tuple(classes),
            regions=tuple(REGIONS.names.index("upper" if r == WHOLE_BODY else str(r)) for r in regions),
            split=tuple(index for index, region in enumerate(regions) if region == WHOLE_BODY),
            has_unreliable_bags=belongings == ["bag"] and "bag" not in chosen,
        )


def read_label_map(path: Path) -> dict[str, str]:
    """Read a label map, a YAML file with lines `class: region`.

    Raises:
        ConfigError: If the file cannot be read or has another form.
    """
    data = read_yaml(path, f"label map {path}")
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise ConfigError(f"label map {path}: give one line for each class, as in 'backpack: belongings'")
    return {str(key): value for key, value in data.items()}


def _normalise(name: str) -> str:
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())


_PUBLIC = {
    "lip": "background hat hair glove sunglasses upper-clothes dress coat socks pants jumpsuit scarf skirt face "
    "left-arm right-arm left-leg right-leg left-shoe right-shoe",
    "atr": "background hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face left-leg "
    "right-leg left-arm right-arm bag scarf",
    "pascal": "background head torso upper-arms lower-arms upper-legs lower-legs",
}
LABEL_SETS = {name: ParserLabels.named(name, classes.split()) for name, classes in _PUBLIC.items()}
"""Label sets of the public checkpoints by name."""
LIP, ATR, PASCAL = LABEL_SETS.values()
