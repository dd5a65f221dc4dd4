"""Recognise the layout of a dataset by its content, and read its splits and labels; no image is opened."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.datasets.archive import DatasetFolder, open_folder
from vestigo.datasets.attributes_csv import ATTRIBUTES_CSV, COLUMNS, read_attributes_csv
from vestigo.datasets.attributes_mat import IdentityLabels, missing_fields, read_annotations
from vestigo.datasets.files import GALLERY, MSMT17_LISTS, QUERY, TRAIN, DatasetFiles, SplitFiles, list_files
from vestigo.datasets.hold_out import hold_out
from vestigo.datasets.reid import JUNK_PID, ReidDataset, Split
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501


@dataclass(frozen=True, kw_only=True)
class Layout:
    """File names and annotation of a dataset."""

    name: str
    schema: AttributeSchema
    # What the names of its images begin with; `parse_name` reads identity and camera from them
    pattern: re.Pattern[str]
    example: str  # A name, for messages
    annotation: str  # Name of the annotation file, which has the attributes of `schema`
    has_lists: bool = False  # Whether list files name the images of each split (MSMT17)
    # Values that the public annotation of the training split lacks; a caller may fill them in
    overrides: Mapping[tuple[int, str], str] = field(default_factory=dict)


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


def load_dataset(
    source: Path,
    format: str | None = None,
    *,
    schema: AttributeSchema | None = None,
    duke_top_override: bool = False,
    hold_out_identities: int | None = None,
    hold_out_seed: int = 0,
) -> ReidDataset:
    """Load a dataset in a layout of `FORMATS`, recognised by its content or forced by `format`; no image is opened.

    Junk (identity -1) is dropped and counted, distractors (0) stay, cameras are counted from 0. The labels are those of
    `schema`, by default of the layout. They are read from the annotation file if it has the fields of the schema, else
    from `attributes.csv` (columns `pid`, `attribute` and `value`). `duke_top_override` gives the two Duke training
    identities without upper-body length the values that the public attribute baseline hard-codes.

    `source` is a folder or an archive. With `hold_out_identities`, or if there is only a training split, identities of
    the training split are held out and make the query and gallery splits, see `vestigo.datasets.hold_out`.

    Raises:
        DatasetError: If the source cannot be read, a test split is missing or empty (the training split may be empty,
            as in exported archives), a file name does not follow the layout, an annotation is broken, or the training
            split has fewer identities than are held out.
    """
    place = open_folder(source)
    if format is not None and format not in FORMATS:
        raise DatasetError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    files, notes = list_files(place.root), list(place.notes)
    if files.splits and (hold_out_identities is not None or files.splits.keys() == {TRAIN}):
        files = hold_out(files, hold_out_identities, hold_out_seed)
        notes.append(hold_out_note(files, hold_out_identities))
    has_splits = files.splits.keys() == {TRAIN, QUERY, GALLERY}
    layout = FORMATS[format] if format is not None else recognise_files(files) if has_splits else None
    if layout is None:
        raise DatasetError(f"{source}: not a dataset; {describe_folder(place.root)}")
    schema = schema or layout.schema
    _require_splits(source, layout, files)
    train_labels, test_labels, without_labels = read_labels(
        place, layout, schema, files, fill_missing=duke_top_override
    )
    train, train_junk = _split(files.splits[TRAIN], train_labels)
    query, query_junk = _split(files.splits[QUERY], test_labels)
    gallery, gallery_junk = _split(files.splits[GALLERY], test_labels)
    return ReidDataset(
        name=layout.name,
        root=place.root,
        source=source,
        schema=schema,
        train=train,
        query=query,
        gallery=gallery,
        junk=train_junk + query_junk + gallery_junk,
        without_labels=without_labels,
        passed_over=files.passed_over | place.passed_over,
        held_out=files.held_out,
        notes=tuple(notes),
    )


def load_dataset_for_model(source: Path, schema: AttributeSchema | None, **options: Any) -> ReidDataset:
    """Load a dataset with a model's attributes, or with those of its layout if it has no labels of them.

    `options` are those of `load_dataset`.
    """
    dataset = load_dataset(source, schema=schema, **options)
    return load_dataset(source, **options) if dataset.without_labels else dataset


def hold_out_note(files: DatasetFiles, identities: int | None) -> str:
    """Return what the splits of held-out identities hold; `identities` are those that were requested."""
    train, query, gallery = (files.splits[split] for split in (TRAIN, QUERY, GALLERY))
    trained = len({label.pid for label in train.labels if label and label.pid > 0})
    reason = "" if identities is not None else "no test split: "
    advice = "" if identities is not None else "; --hold-out sets how many"
    return (
        f"{reason}{files.held_out} of {files.held_out + trained} training identities are held out and judged: "
        f"{len(query.names)} queries, {len(gallery.names)} gallery images{advice}"
    )


def describe_folder(root: Path) -> str:
    """Return why a folder is no dataset, and what to do."""
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        files = list_files(child)
        if TRAIN in files.splits and recognise_files(files) is not None:
            return f"did you mean {child}?"
    missing = [folder for folder in (TRAIN, QUERY, GALLERY) if not (root / folder).is_dir()]
    if missing:
        return f"it has no {', '.join(missing)}"
    examples = " or ".join(layout.example for layout in FORMATS.values() if not layout.has_lists)
    return f"no image in {QUERY} is named like {examples}; rename them: identity, _c, camera, such as 0001_c2_0003.jpg"


def read_labels(
    place: DatasetFolder, layout: Layout, schema: AttributeSchema, files: DatasetFiles, *, fill_missing: bool = False
) -> tuple[IdentityLabels, IdentityLabels, str]:
    """Return the labels of the training split and of the test splits, and why there are none ("" if there are)."""
    annotation, table = place.label_file(layout.annotation), place.label_file(ATTRIBUTES_CSV)
    is_own = schema.digest == layout.schema.digest
    if annotation is not None:
        absent = missing_fields(annotation, schema)
        if not absent or (is_own and table is None):
            overrides = layout.overrides if fill_missing and is_own else {}
            train_labels = read_annotations(annotation, schema, "train", overrides=overrides)
            test_labels = train_labels if files.held_out else read_annotations(annotation, schema, "test")
            if _share_identity(files, train_labels, test_labels):
                return train_labels, test_labels, ""
            reason = (
                f"{annotation.name} has no identity of its images in the same split; is it of another dataset, or are "
                "its train and test swapped?"
            )
        else:
            reason = f"{annotation.name} has no field {absent[0]!r}"
    else:
        reason = f"{layout.annotation} is not in it; copy it there"
    if table is not None:
        labels, unnamed = read_attributes_csv(table, schema)
        if not unnamed:
            return labels, labels, ""
        reason = f"{ATTRIBUTES_CSV} has no row of the attribute {unnamed[0]!r} of {schema.name}"
    elif not is_own:
        reason = f"no file has the attributes of {schema.name}; write {ATTRIBUTES_CSV} ({', '.join(COLUMNS)}) there"
    none = IdentityLabels.none(schema)
    return none, none, reason


def _share_identity(files: DatasetFiles, train: IdentityLabels, test: IdentityLabels) -> bool:
    """Whether the annotation names an identity of the images in its split; True without identities."""
    people = {split: (train if split == TRAIN else test).pids for split in files.splits}
    pids = [(label.pid, split) for split, part in files.splits.items() for label in part.labels if label]
    return all(pid <= 0 for pid, _ in pids) or any(pid in people[split] for pid, split in pids)


def _require_splits(source: Path, layout: Layout, files: DatasetFiles) -> None:
    """Raise DatasetError unless `files` are the three splits of a layout, each with images named like its own."""
    description = f"{TRAIN}, {QUERY} and {GALLERY}"
    if layout.has_lists:
        description = "list_train.txt, list_query.txt, list_gallery.txt and the folders train and test"
    for split in (TRAIN, QUERY, GALLERY):
        if files.has_lists != layout.has_lists or split not in files.splits:
            need = " and ".join(MSMT17_LISTS[split][1]) if layout.has_lists else split
            raise DatasetError(f"{source} has no {need}; a {layout.name} dataset has {description}")
        folder, names = files.splits[split].folder, files.splits[split].names
        if not names and split != TRAIN:
            raise DatasetError(f"{folder}: holds no image; expected names like {layout.example}")
        unmatched = [name for name in names if not layout.pattern.match(name.rpartition("/")[2])]
        if unmatched:
            raise DatasetError(
                f"{folder}: {len(unmatched)} of {len(names)} image names are not like {layout.example}, "
                f"the first is {unmatched[0]!r}; rename or remove them"
            )


def _split(files: SplitFiles, identities: IdentityLabels) -> tuple[Split, int]:
    labels = [label for label in files.labels if label is not None]
    pids = np.array([label.pid for label in labels], dtype=np.int64)
    cameras = np.array([label.camera for label in labels], dtype=np.int64)
    kept = pids != JUNK_PID
    values, yes = identities.expand(pids[kept])
    split = Split(
        paths=tuple(files.folder / name for name, keep in zip(files.names, kept, strict=True) if keep),
        pids=pids[kept],
        camids=cameras[kept] - 1,
        labels=values,
        yes=yes,
    )
    return split, int((~kept).sum())
