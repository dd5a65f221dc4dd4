"""Read a folder of `bounding_box_train`, `query` and `bounding_box_test`, the layout that benchmarks share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vestigo.datasets.attributes_csv import ATTRIBUTES_CSV, COLUMNS, read_attributes_csv
from vestigo.datasets.attributes_mat import IdentityLabels, missing_fields, read_annotations
from vestigo.datasets.reid import JUNK_PID, ReidDataset, Split
from vestigo_models.errors import DatasetError
from vestigo_models.inference.images import IMAGE_SUFFIXES
from vestigo_models.schemas.attributes import AttributeSchema

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """File names and annotation of a dataset: pattern (groups `pid` and `camera`, cameras from 1), file and schema.

    `overrides` are values that the public annotation of the training split lacks; a caller may fill them in.
    """

    name: str
    schema: AttributeSchema
    pattern: re.Pattern[str]
    example: str
    annotation: str
    overrides: Mapping[tuple[int, str], str] = field(default_factory=dict)


def image_names(folder: Path) -> list[str]:
    """Return the names of the image files directly in `folder`, sorted."""
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)


def read_layout(
    root: Path, layout: Layout, schema: AttributeSchema | None = None, *, fill_missing: bool = False
) -> ReidDataset:
    """Load the dataset under `root`: file names and annotations, no image.

    Junk (identity -1) is dropped and counted, distractors (0) stay, cameras are counted from 0. With
    `fill_missing`, the layout's `overrides` are applied to the training labels. The labels are those of `schema` (the
    layout's own without one), from the annotation file if it has all fields of the schema, else from `attributes.csv`.

    Raises:
        DatasetError: If a folder is missing, or empty other than the training split (exported archives have none), a
            file name does not follow the layout, or the annotation file exists and is broken.
    """
    schema = schema or layout.schema
    train_labels, test_labels, without_labels = _read_labels(root, layout, schema, fill_missing)
    train, train_junk = _split(root / TRAIN, layout, train_labels)
    query, query_junk = _split(root / QUERY, layout, test_labels)
    gallery, gallery_junk = _split(root / GALLERY, layout, test_labels)
    return ReidDataset(
        name=layout.name,
        root=root,
        schema=schema,
        train=train,
        query=query,
        gallery=gallery,
        junk=train_junk + query_junk + gallery_junk,
        without_labels=without_labels,
    )


def _read_labels(
    root: Path, layout: Layout, schema: AttributeSchema, fill_missing: bool
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


def _split(folder: Path, layout: Layout, identities: IdentityLabels) -> tuple[Split, int]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; a {layout.name} dataset has {TRAIN}, {QUERY} and {GALLERY}")
    names = image_names(folder)
    if not names and folder.name != TRAIN:
        raise DatasetError(f"{folder}: holds no image; expected names like {layout.example}")
    matches = [layout.pattern.match(name) for name in names]
    unmatched = [name for name, match in zip(names, matches, strict=True) if match is None]
    if unmatched:
        raise DatasetError(
            f"{folder}: {len(unmatched)} of {len(names)} image names are not like {layout.example}, "
            f"the first is {unmatched[0]!r}; remove them or choose another --format"
        )
    pids = np.array([int(match["pid"]) for match in matches if match], dtype=np.int64)
    camids = np.array([int(match["camera"]) for match in matches if match], dtype=np.int64) - 1
    kept = pids != JUNK_PID
    labels, yes = identities.expand(pids[kept])
    split = Split(
        paths=tuple(folder / name for name, keep in zip(names, kept, strict=True) if keep),
        pids=pids[kept],
        camids=camids[kept],
        labels=labels,
        yes=yes,
    )
    return split, int((~kept).sum())
