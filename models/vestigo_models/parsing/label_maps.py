"""Label maps of human parsers: classes, their merge into regions, and the overlap of maps.

One table assigns regions to the usual names of classes; a label map of the user assigns them to others. See
docs/method.md, "Parsing and region merge".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt8Array
from vestigo_models.config_files import read_yaml
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.regions import BELONGINGS, LOWER, REGIONS, UPPER

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
UNNAMED = ""
"""Name of a class id that no label map names; no image may hold it."""
_REGION_OF[UNNAMED] = REGIONS.names[0]


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
    def named(cls, name: str, classes: Sequence[str], label_map: Mapping[str, str] | None = None) -> Self:
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

GRID = (64, 32)
"""Rows and columns of the feature map for an input of 256 x 128."""


def merge(classes: Float32Array, label_set: ParserLabels, grid: tuple[int, int] = GRID) -> Float32Array:
    """Sum class probabilities per region and average them over cells.

    A class for the whole body, such as a dress, is upper body above the middle of the person and lower body below it.
    Class probabilities, (h, w, classes), give region probabilities, (K, rows, columns).
    """
    height, width = classes.shape[:2]
    regions = np.zeros((height, width, len(REGIONS)), dtype=np.float32)
    for index, region in enumerate(label_set.regions):
        regions[..., region] += classes[..., index]
    if label_set.split:
        below = classes[..., label_set.split].sum(axis=-1)
        below[: middle_row(np.array(label_set.regions)[classes.argmax(axis=-1)] > 0)] = 0
        regions[..., UPPER] -= below
        regions[..., LOWER] += below
    return resample_regions(np.ascontiguousarray(np.moveaxis(regions, 2, 0)), grid)


def merge_hard(labels: UInt8Array, label_set: ParserLabels, grid: tuple[int, int] = GRID) -> Float32Array:
    """Merge a label map of class ids (h, w) like `merge`, with probability 1 at every pixel."""
    return merge(np.eye(len(label_set), dtype=np.float32)[labels], label_set, grid)


def merge_labels(labels: UInt8Array, label_set: ParserLabels) -> UInt8Array:
    """Return the region ids of a label map of class ids (h, w); a dress is divided as in `merge`."""
    regions = np.array(label_set.regions, dtype=np.uint8)[labels]
    if label_set.split:
        below = np.isin(labels, label_set.split)
        below[: middle_row(regions > 0)] = False
        regions[below] = LOWER
    return regions


def middle_row(person: BoolArray) -> int:
    """Return the middle row of the vertical extent of a mask; the mask's height if it is empty."""
    rows = np.flatnonzero(person.any(axis=1))
    return int(rows[0] + rows[-1] + 1) // 2 if len(rows) else len(person)


def resample_regions(regions: Float32Array, grid: tuple[int, int]) -> Float32Array:
    """Average region probabilities over the cells of another grid, K x rows x columns to K x grid."""
    if regions.shape[1:] == grid:
        return regions
    # INTER_AREA averages, of at most four channels at a time.
    planes = [cv2.resize(plane, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for plane in regions]
    return np.stack(planes).astype(np.float32)


def label_cells(regions: Float32Array, grid: tuple[int, int]) -> UInt8Array:
    """Return the most probable region of each cell of a grid, from K x rows x columns on any grid."""
    return np.asarray(resample_regions(regions, grid).argmax(axis=0), dtype=np.uint8)


def confusion(truth: UInt8Array | BoolArray, predicted: UInt8Array | BoolArray, classes: int) -> Int64Array:
    """Count pixels by true class (row) and predicted class (column), (classes, classes).

    Both maps have the same shape and ids below `classes`.
    """
    pairs = truth.astype(np.int64).ravel() * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def iou(counts: Int64Array) -> Float64Array:
    """Return the intersection over union of every class, 0..1; NaN for a class in neither map."""
    intersection = np.diagonal(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - intersection
    return np.asarray(np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0))
