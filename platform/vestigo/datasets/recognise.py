"""Recognise the layout of a dataset folder by its content."""

from __future__ import annotations

import re
from pathlib import Path

from vestigo.datasets.formats.layout import GALLERY, QUERY, TRAIN, Layout, image_names, read_layout
from vestigo.datasets.reid import ReidDataset
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

MARKET_LAYOUT = Layout(
    name="market-1501",
    schema=MARKET_1501,
    pattern=re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>[1-9]\d*)s\d+_\d+_\d+\."),
    example="0002_c1s1_000451_03.jpg",
    annotation="market_attribute.mat",
)
# The authors withdrew the dataset; archives and tools still use its layout.
DUKE_LAYOUT = Layout(
    name="dukemtmc-reid",
    schema=DUKEMTMC_REID,
    pattern=re.compile(r"(?P<pid>\d+)_c(?P<camera>[1-9]\d*)_f\d+\."),
    example="0001_c2_f0046182.jpg",
    annotation="duke_attribute.mat",
    # Missing (0) in the public file; the public attribute baseline hard-codes these two.
    overrides={(370, "upper_length"): "short", (679, "upper_length"): "long"},
)
FORMATS: dict[str, Layout] = {layout.name: layout for layout in (MARKET_LAYOUT, DUKE_LAYOUT)}
"""The names of `--format`."""


def recognise(root: Path) -> Layout | None:
    """Return the layout of the file names in `root`'s query folder; None if it is no benchmark dataset."""
    if not all((root / folder).is_dir() for folder in (TRAIN, QUERY, GALLERY)):
        return None
    names = image_names(root / QUERY)
    fitting = {name: sum(map(bool, map(layout.pattern.match, names))) for name, layout in FORMATS.items()}
    best = max(fitting, key=lambda name: fitting[name])
    return FORMATS[best] if fitting[best] else None


def load_dataset(
    root: Path,
    format: str | None = None,
    *,
    schema: AttributeSchema | None = None,
    duke_top_override: bool = False,
) -> ReidDataset:
    """Load a dataset in the Market-1501 or DukeMTMC-reID layout, recognised by its content or forced by `format`.

    The labels are those of `schema`, by default of the layout. They are read from the annotation file if it has the
    fields of the schema, else from `attributes.csv` (columns `pid`, `attribute` and `value`). `duke_top_override` gives
    the two Duke training identities without upper-body length the values that the public attribute baseline hard-codes.

    Raises:
        DatasetError: If the folder or its annotation is wrong; one line says what.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    if format is not None and format not in FORMATS:
        raise DatasetError(f"unknown format {format!r}; choose {' or '.join(FORMATS)}")
    layout = FORMATS[format] if format is not None else recognise(root)
    if layout is None:
        raise DatasetError(f"{root}: not a dataset; {_advice(root)}")
    return read_layout(root, layout, schema, fill_missing=duke_top_override)


def load_dataset_for_model(root: Path, schema: AttributeSchema | None, format: str | None = None) -> ReidDataset:
    """Load a dataset with a model's attributes, or with those of its layout if it has no labels of them."""
    dataset = load_dataset(root, format, schema=schema)
    return load_dataset(root, format) if dataset.without_labels else dataset


def _advice(root: Path) -> str:
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        if recognise(child) is not None:
            return f"did you mean {child}?"
    missing = [folder for folder in (TRAIN, QUERY, GALLERY) if not (root / folder).is_dir()]
    if missing:
        return f"it has no {', '.join(missing)}"
    examples = " or ".join(layout.example for layout in FORMATS.values())
    return f"no image in {QUERY} is named like {examples}; name the layout with --format"
