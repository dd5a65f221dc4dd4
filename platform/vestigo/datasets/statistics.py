"""What a dataset is read as: its layout, and counts of identities, images, cameras and attribute values by split."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.datasets.archive import open_folder
from vestigo.datasets.attributes_mat import IdentityLabels, missing_fields, read_annotations
from vestigo.datasets.files import GALLERY, QUERY, TRAIN, DatasetFiles, ImageLabel, list_files
from vestigo.datasets.hold_out import hold_out
from vestigo.datasets.recognise import FORMATS, Layout, describe_folder, hold_out_note, read_labels, recognise_files
from vestigo.datasets.reid import DISTRACTOR_PID, JUNK_PID
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema

SPLITS = {TRAIN: "train", QUERY: "query", GALLERY: "gallery"}
NONE = "none"
"""Counts identities without a label of an attribute."""
OTHER_NAMES = "images of other names"


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Counts of one split; None where an annotation file has no images."""

    identities: int  # Identities without distractors and junk
    images: int | None = None  # All images that are read, with distractors and junk
    cameras: int | None = None
    distractors: int | None = None
    junk: int | None = None
    # Attribute -> value -> annotated identities; several values of a colour count each
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetStatistics:
    """Counts of a dataset."""

    layout: str  # Name of the layout, one of `FORMATS`
    splits: dict[str, SplitStatistics]  # By `train`, `query` and `gallery`; of an annotation file by `train` and `test`
    identities: int  # Of training and query
    images: int | None = None  # Of training and gallery, with junk, as datasets are cited
    cameras: int | None = None  # As the images
    attributes: int  # 0 without labels
    columns: int  # Annotation columns (27 for Market-1501), 0 without labels
    passed_over: dict[str, int] = field(default_factory=dict)  # Number of files that are not read, by kind
    without_labels: str = ""  # Why there are no attribute labels, "" if there are
    # What was added to the identities of the training split and of the others, which are counted from 0
    raised: tuple[int, int] = (0, 0)
    held_out: int = 0  # Identities of the training split that the query and gallery splits show
    notes: tuple[str, ...] = ()  # What a user should know, such as where an archive is unpacked

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def dataset_statistics(
    source: Path,
    schema: AttributeSchema | None = None,
    *,
    hold_out_identities: int | None = None,
    hold_out_seed: int = 0,
) -> DatasetStatistics:
    """Count what a dataset holds: a folder or archive, which may lack splits, or an annotation file (`.mat`).

    The attributes of `schema` are counted, those of the layout by default. With `hold_out_identities` the splits are
    those that `load_dataset` makes with it.

    Raises:
        DatasetError: If it is no dataset, its annotation is broken, or fewer identities can be held out.
    """
    if source.is_file() and source.suffix.lower() == ".mat":
        return _annotation_statistics(source, schema)
    place = open_folder(source)
    files = list_files(place.root)
    layout = recognise_files(files)
    if layout is None:
        raise DatasetError(f"{source}: not a dataset; {describe_folder(place.root)}")
    schema = schema or layout.schema
    by_split, notes = _labels_by_split(files), list(place.notes)
    # Queries are images of gallery people; DukeMTMC-reID's gallery also shows people who are never searched.
    counted = [*by_split.get(TRAIN, []), *by_split.get(GALLERY, [])]
    searched = [*by_split.get(TRAIN, []), *by_split.get(QUERY, [])]
    unread = sum(len(split.labels) for split in files.splits.values()) - sum(map(len, by_split.values()))
    if hold_out_identities is not None:
        files = hold_out(files, hold_out_identities, hold_out_seed)
        by_split = _labels_by_split(files)
        notes.append(hold_out_note(files, hold_out_identities))
    elif files.splits.keys() == {TRAIN}:
        notes.append(hold_out_note(hold_out(files), None))
    train_labels, test_labels, without_labels = read_labels(place, layout, schema, files)
    splits = {}
    for name, labels in by_split.items():
        people = train_labels if name == TRAIN else test_labels
        splits[SPLITS[name]] = _split_statistics(labels, None if without_labels else people)
    return DatasetStatistics(
        layout=layout.name,
        splits=splits,
        identities=len({label.pid for label in searched if label.pid > 0}),
        images=len(counted),
        cameras=len({label.camera for label in counted}),
        attributes=0 if without_labels else len(schema),
        columns=0 if without_labels else _columns(schema),
        passed_over=files.passed_over | place.passed_over | ({OTHER_NAMES: unread} if unread else {}),
        without_labels=without_labels,
        raised=files.raised,
        held_out=files.held_out,
        notes=tuple(notes),
    )


def _labels_by_split(files: DatasetFiles) -> dict[str, list[ImageLabel]]:
    return {name: [label for label in split.labels if label] for name, split in files.splits.items()}


def _annotation_statistics(path: Path, schema: AttributeSchema | None) -> DatasetStatistics:
    layout = _layout_of_annotation(path, schema)
    schema = schema or layout.schema
    labels = {split: read_annotations(path, schema, split) for split in ("train", "test")}
    splits = {
        split: SplitStatistics(identities=len(people.pids), attributes=count_values(people))
        for split, people in labels.items()
    }
    return DatasetStatistics(
        layout=layout.name,
        splits=splits,
        identities=len(np.unique(np.concatenate([people.pids for people in labels.values()]))),
        attributes=len(schema),
        columns=_columns(schema),
    )


def _layout_of_annotation(path: Path, schema: AttributeSchema | None) -> Layout:
    """Return the layout whose attributes an annotation file has; with a schema, the one named like the file."""
    named = next((layout for layout in FORMATS.values() if layout.annotation == path.name), None)
    absent = {layout.name: missing_fields(path, schema or layout.schema) for layout in FORMATS.values()}
    fitting = [FORMATS[name] for name, fields in absent.items() if not fields]
    if not fitting:
        name, fields = min(absent.items(), key=lambda pair: len(pair[1]))
        raise DatasetError(f"{path}: field {fields[0]!r} of {(schema or FORMATS[name].schema).name} is missing")
    return named if named in fitting else fitting[0]


def _split_statistics(images: Sequence[ImageLabel], labels: IdentityLabels | None) -> SplitStatistics:
    pids = {label.pid for label in images if label.pid > 0}
    return SplitStatistics(
        identities=len(pids),
        images=len(images),
        cameras=len({label.camera for label in images}),
        distractors=sum(label.pid == DISTRACTOR_PID for label in images),
        junk=sum(label.pid == JUNK_PID for label in images),
        attributes={} if labels is None else count_values(labels, pids),
    )


def count_values(labels: IdentityLabels, pids: Collection[int] | None = None) -> dict[str, dict[str, int]]:
    """Return attribute -> value -> number of identities among `pids`, all by default, and `NONE` for missing labels."""
    rows = slice(None) if pids is None else np.isin(labels.pids, list(pids))
    unknown = 0 if pids is None else len(set(pids).difference(labels.pids.tolist()))
    counts = {}
    for attribute in labels.schema.attributes:
        accepted = labels.yes[rows, labels.schema.slice(attribute.name)]
        values = dict(zip(attribute.values, accepted.sum(axis=0).tolist(), strict=True))
        missing = int((~accepted.any(axis=1)).sum()) + unknown
        counts[attribute.name] = values | ({NONE: missing} if missing else {})
    return counts


def _columns(schema: AttributeSchema) -> int:
    return sum(len(attribute.fields) for attribute in schema.attributes)
