"""Recognise the layout of a dataset folder by its content."""

import re
from pathlib import Path

from vestigo.datasets.formats.files import DatasetFiles, list_files
from vestigo.datasets.formats.layout import Layout, read_layout
from vestigo.datasets.formats.names import GALLERY, QUERY, TRAIN
from vestigo.datasets.reid import ReidDataset
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

MARKET_LAYOUT = Layout(
    name="market-1501",
    schema=MARKET_1501,
    # Converters write other datasets into this layout: MSMT17 as 0001_c12_0003.jpg, CUHK03-NP as 0001_c1_1.png.
    pattern=re.compile(r"(-1|\d+)_c\d+(?!\d|_f\d+\.)"),
    example="0002_c1s1_000451_03.jpg",
    annotation="market_attribute.mat",
)
# The authors withdrew the dataset; archives and tools still use its layout.
DUKE_LAYOUT = Layout(
    name="dukemtmc-reid",
    schema=DUKEMTMC_REID,
    pattern=re.compile(r"\d+_c\d+_f\d+\."),
    example="0001_c2_f0046182.jpg",
    annotation="duke_attribute.mat",
    # Missing (0) in the public file; the public attribute baseline hard-codes these two.
    overrides={(370, "upper_length"): "short", (679, "upper_length"): "long"},
)
MSMT17_LAYOUT = Layout(
    name="msmt17",
    schema=MARKET_1501,
    pattern=re.compile(r"\d+_\d+_\d+_\d+(morning|noon|afternoon)_"),
    example="0000_000_01_0303morning_0015_0.jpg",
    annotation="market_attribute.mat",
    has_lists=True,
)
FORMATS: dict[str, Layout] = {layout.name: layout for layout in (MARKET_LAYOUT, DUKE_LAYOUT, MSMT17_LAYOUT)}
"""The names of `--format`."""


def recognise(root: Path) -> Layout | None:
    """Return the layout of the dataset in a folder; None if it is no benchmark dataset.

    Raises:
        DatasetError: If a list file is broken.
    """
    files = list_files(root)
    return recognise_files(files) if files.splits.keys() == {TRAIN, QUERY, GALLERY} else None


def recognise_files(files: DatasetFiles) -> Layout | None:
    """Return the layout that most names of the query split, or of the first one that there is, follow."""
    if not files.splits:
        return None
    if files.has_lists:
        return MSMT17_LAYOUT
    split = files.splits.get(QUERY) or next(iter(files.splits.values()))
    names = [layout.name for layout in FORMATS.values() if not layout.has_lists]
    fitting = {name: sum(map(bool, map(FORMATS[name].pattern.match, split.names))) for name in names}
    best = max(names, key=lambda name: fitting[name])
    return FORMATS[best] if fitting[best] else None


def require_folder(root: Path) -> None:
    """Raise DatasetError unless `root` is a folder; the message says what it is."""
    if root.is_file():
        is_packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
        kind = "an archive" if is_packed else "a file"
        advice = "unpack it and give the folder" if is_packed else "give the folder"
        raise DatasetError(f"{root} is {kind}, not a folder; {advice} that holds {TRAIN}, {QUERY} and {GALLERY}")
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")


def load_dataset(
    root: Path, format: str | None = None, *, schema: AttributeSchema | None = None, duke_top_override: bool = False
) -> ReidDataset:
    """Load a dataset in a layout of `FORMATS`, recognised by its content or forced by `format`.

    The labels are those of `schema`, by default of the layout. They are read from the annotation file if it has the
    fields of the schema, else from `attributes.csv` (columns `pid`, `attribute` and `value`). `duke_top_override` gives
    the two Duke training identities without upper-body length the values that the public attribute baseline hard-codes.

    Raises:
        DatasetError: If the folder or its annotation is wrong; one line says what.
    """
    require_folder(root)
    if format is not None and format not in FORMATS:
        raise DatasetError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
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
    examples = " or ".join(layout.example for layout in FORMATS.values() if not layout.has_lists)
    return f"no image in {QUERY} is named like {examples}; rename them: identity, _c, camera, such as 0001_c2_0003.jpg"
