"""Reading a folder of `bounding_box_train`, `query` and `bounding_box_test`, the layout that benchmarks share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vestigo.datasets.attributes_mat import IdentityLabels, read_annotations
from vestigo.datasets.reid import JUNK_PID, ReidDataset, Split
from vestigo_models.errors import DatasetError
from vestigo_models.inference.images import IMAGE_SUFFIXES
from vestigo_models.schemas.attributes import AttributeSchema

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What tells one dataset from another: the pattern of its file names (groups `pid` and `camera`, cameras counted
    from 1), the name of its annotation file and its schema. `overrides` are values missing in the public annotation
    of the training split that a caller may ask to have filled in."""

    name: str
    schema: AttributeSchema
    pattern: re.Pattern[str]
    example: str
    annotation: str
    overrides: Mapping[tuple[int, str], str] = field(default_factory=dict)


def image_names(folder: Path) -> list[str]:
    """Names of the image files directly in `folder`, sorted; anything else there (`Thumbs.db`) is ignored."""
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)


def read_layout(root: Path, layout: Layout, *, fill_missing: bool = False) -> ReidDataset:
    """Load the dataset under `root`: file names and annotations, no image.

    Junk (identity -1) is dropped and counted, distractors (0) stay, cameras are counted from 0. With
    `fill_missing`, the layout's `overrides` are applied to the training labels.

    Raises:
        DatasetError: a folder is missing, or empty other than the training split (exported archives have none), a
            file name does not follow the layout, or the annotation file exists and is broken.
    """
    annotation = root / layout.annotation
    if annotation.is_file():
        overrides = layout.overrides if fill_missing else {}
        train_labels = read_annotations(annotation, layout.schema, "train", overrides=overrides)
        test_labels = read_annotations(annotation, layout.schema, "test")
        without_labels = ""
    else:
        train_labels = test_labels = IdentityLabels.none(layout.schema)
        without_labels = f"{layout.annotation} is not in it; copy it there"
    train, train_junk = _split(root / TRAIN, layout, train_labels)
    query, query_junk = _split(root / QUERY, layout, test_labels)
    gallery, gallery_junk = _split(root / GALLERY, layout, test_labels)
    return ReidDataset(
        name=layout.name,
        root=root,
        schema=layout.schema,
        train=train,
        query=query,
        gallery=gallery,
        junk=train_junk + query_junk + gallery_junk,
        without_labels=without_labels,
    )


def _split(folder: Path, layout: Layout, identities: IdentityLabels) -> tuple[Split, int]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; a {layout.name} dataset has {TRAIN}, {QUERY} and {GALLERY}")
    names = image_names(folder)
    if not names and folder.name != TRAIN:
        raise DatasetError(f"{folder}: holds no image; expected names like {layout.example}")
    matches = [layout.pattern.match(name) for name in names]
    strangers = [name for name, match in zip(names, matches, strict=True) if match is None]
    if strangers:
        raise DatasetError(
            f"{folder}: {len(strangers)} of {len(names)} image names are not like {layout.example}, "
            f"the first is {strangers[0]!r}; remove them or choose another --format"
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
