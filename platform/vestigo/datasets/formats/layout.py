"""Read a dataset in a public layout: splits with identities, cameras and attribute labels; no image is opened."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vestigo.datasets.attributes_csv import ATTRIBUTES_CSV, COLUMNS, read_attributes_csv
from vestigo.datasets.attributes_mat import IdentityLabels, missing_fields, read_annotations
from vestigo.datasets.formats.files import MSMT17_LISTS, DatasetFiles, SplitFiles, list_files
from vestigo.datasets.formats.names import GALLERY, QUERY, TRAIN
from vestigo.datasets.reid import JUNK_PID, ReidDataset, Split
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class Layout:
    """File names and annotation of a dataset.

    Attributes:
        pattern: What the names of its images begin with; `parse_name` reads identity and camera from them.
        example: A name, for messages.
        annotation: Name of the annotation file, which has the attributes of `schema`.
        has_lists: Whether list files name the images of each split (MSMT17).
        overrides: Values that the public annotation of the training split lacks; a caller may fill them in.
    """

    name: str
    schema: AttributeSchema
    pattern: re.Pattern[str]
    example: str
    annotation: str
    has_lists: bool = False
    overrides: Mapping[tuple[int, str], str] = field(default_factory=dict)


def read_layout(
    root: Path, layout: Layout, schema: AttributeSchema | None = None, *, fill_missing: bool = False
) -> ReidDataset:
    """Load the dataset under `root`: file names and annotations, no image.

    Junk (identity -1) is dropped and counted, distractors (0) stay, cameras are counted from 0. With
    `fill_missing`, the layout's `overrides` are applied to the training labels. The labels are those of `schema` (the
    layout's own without one), from the annotation file if it has all fields of the schema, else from `attributes.csv`.

    Raises:
        DatasetError: If a split is missing, or empty other than the training split (exported archives have none), a
            file name does not follow the layout, or the annotation file exists and is broken.
    """
    schema = schema or layout.schema
    files = list_files(root)
    require_splits(root, layout, files)
    train_labels, test_labels, without_labels = read_labels(root, layout, schema, fill_missing)
    train, train_junk = _split(files.splits[TRAIN], train_labels)
    query, query_junk = _split(files.splits[QUERY], test_labels)
    gallery, gallery_junk = _split(files.splits[GALLERY], test_labels)
    return ReidDataset(
        name=layout.name,
        root=root,
        schema=schema,
        train=train,
        query=query,
        gallery=gallery,
        junk=train_junk + query_junk + gallery_junk,
        without_labels=without_labels,
        passed_over=files.passed_over,
    )


def read_labels(
    root: Path, layout: Layout, schema: AttributeSchema, fill_missing: bool = False
) -> tuple[IdentityLabels, IdentityLabels, str]:
    """Return the labels of `train` and `test`, and why there are none ("" if there are)."""
    annotation, table = root / layout.annotation, root / ATTRIBUTES_CSV
    is_own = schema.digest == layout.schema.digest
    if annotation.is_file():
        absent = missing_fields(annotation, schema)
        if not absent or (is_own and not table.is_file()):
            overrides = layout.overrides if fill_missing and is_own else {}
            train_labels = read_annotations(annotation, schema, "train", overrides=overrides)
            return train_labels, read_annotations(annotation, schema, "test"), ""
        reason = f"{annotation.name} has no field {absent[0]!r}"
    else:
        reason = f"{annotation.name} is not in it; copy it there"
    if table.is_file():
        labels, unnamed = read_attributes_csv(table, schema)
        if not unnamed:
            return labels, labels, ""
        reason = f"{ATTRIBUTES_CSV} has no row of the attribute {unnamed[0]!r} of {schema.name}"
    elif not is_own:
        reason = f"no file has the attributes of {schema.name}; write {ATTRIBUTES_CSV} ({', '.join(COLUMNS)}) there"
    none = IdentityLabels.none(schema)
    return none, none, reason


def require_splits(root: Path, layout: Layout, files: DatasetFiles) -> None:
    """Raise DatasetError unless `files` are the three splits of a layout, each with images named like its own."""
    for split in (TRAIN, QUERY, GALLERY):
        if files.has_lists != layout.has_lists or split not in files.splits:
            need = " and ".join(MSMT17_LISTS[split][1]) if layout.has_lists else split
            raise DatasetError(f"{root} has no {need}; a {layout.name} dataset has {_description(layout)}")
        _check_names(files.splits[split], layout, may_be_empty=split == TRAIN)


def _description(layout: Layout) -> str:
    if layout.has_lists:
        return "list_train.txt, list_query.txt, list_gallery.txt and the folders train and test"
    return f"{TRAIN}, {QUERY} and {GALLERY}"


def _check_names(files: SplitFiles, layout: Layout, *, may_be_empty: bool) -> None:
    if not files.names and not may_be_empty:
        raise DatasetError(f"{files.folder}: holds no image; expected names like {layout.example}")
    unmatched = [name for name in files.names if not layout.pattern.match(name.rpartition("/")[2])]
    if unmatched:
        raise DatasetError(
            f"{files.folder}: {len(unmatched)} of {len(files.names)} image names are not like {layout.example}, "
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
