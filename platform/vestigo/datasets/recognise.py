"""Recognise the layout of a dataset folder by its content."""

from __future__ import annotations

from pathlib import Path

from vestigo.datasets.formats.dukemtmc import DUKE_LAYOUT
from vestigo.datasets.formats.layout import GALLERY, QUERY, TRAIN, Layout, image_names, read_layout
from vestigo.datasets.formats.market1501 import MARKET_LAYOUT
from vestigo.datasets.reid import ReidDataset
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema

FORMATS: dict[str, Layout] = {layout.name: layout for layout in (MARKET_LAYOUT, DUKE_LAYOUT)}
"""What `--format` takes."""


def recognise(root: Path) -> Layout | None:
    """Return the layout whose file names `root`'s query folder holds, or None where it is no benchmark dataset."""
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

    Args:
        root: Folder of the dataset.
        format: Name of a layout.
        schema: Attributes of the labels; by default those of the layout. They are read from the annotation file if it
            has the fields of the schema, else from `attributes.csv` (columns `pid`, `attribute` and `value`).
        duke_top_override: Give the two Duke training identities without upper-body length the values that the public
            attribute baseline hard-codes.

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
    """Load a dataset with the attributes that a model predicts, or with those of its layout if it has no such labels.

    Args:
        root: Folder of the dataset.
        schema: Attributes of the model, None if it predicts none.
        format: See `load_dataset`.

    Raises:
        DatasetError: As `load_dataset`.
    """
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
