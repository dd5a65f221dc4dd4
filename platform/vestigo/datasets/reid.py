"""A benchmark dataset in memory: paths, identities, cameras and attribute labels of its three splits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema

JUNK_PID = -1
"""Badly detected boxes that are neither right nor wrong; dropped on load."""
DISTRACTOR_PID = 0
"""False detections and people outside the benchmark; they stay in the gallery as negatives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """N images in the order of their file names. Images are read on demand.

    Attributes:
        paths: N image files.
        pids: (N,) int64, identities as the file names give them; 0 is a distractor.
        camids: (N,) int64, cameras counted from 0.
        labels: (N, n) int64, one class for each attribute, -1 where none is annotated. Of several colours, the first.
        yes: (N, M) bool, every class that the annotation accepts: one for most attributes, none or several colours.
    """

    paths: tuple[Path, ...]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    labels: NDArray[np.int64]
    yes: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) bool: images whose identity is annotated at all (neither distractor nor unlabelled identity)."""
        return np.asarray((self.labels >= 0).any(axis=1), dtype=np.bool_)

    def relabelled(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (N,) int64 identities counted 0, 1, ... in sorted order, and the original one of each (int64)."""
        pids, inverse = np.unique(self.pids, return_inverse=True)
        return inverse.reshape(-1).astype(np.int64), pids


@dataclass(frozen=True, kw_only=True, eq=False)
class ReidDataset:
    """A dataset in a public layout: `name`, `root`, its attribute `schema` and splits.

    Attributes:
        source: What the user named: the folder `root`, or the archive that was unpacked into it.
        junk: Number of images dropped on load because their identity is -1.
        without_labels: Why there are no attribute labels, "" if there are. Identities and cameras do not need the
            annotation, so a dataset without it still loads.
        passed_over: Number of files that are not read, by kind.
        held_out: Number of identities that query and gallery took from the training split, 0 for splits of its own.
        notes: What a user should know, such as how many identities are held out of training.
    """

    name: str
    root: Path
    source: Path
    schema: AttributeSchema
    train: Split
    query: Split
    gallery: Split
    junk: int
    without_labels: str
    passed_over: Mapping[str, int] = field(default_factory=dict)
    held_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def source_name(self) -> str:
        """Name of the folder or archive, for reports and records."""
        return self.source.resolve().name

    @property
    def is_rendered(self) -> bool:
        """Whether the dataset holds the label map of each image, as `vestigo render` writes them."""
        return (self.root / REGIONS).is_dir()

    def require_attributes(self) -> None:
        """Raise DatasetError with the reason if the dataset has no attribute labels."""
        if self.without_labels:
            raise DatasetError(f"{self.source}: attributes are needed, but {self.without_labels}")


def dataset_digest(dataset: ReidDataset) -> str:
    """Return the SHA-256 over the three splits in order: file names, contents, and all facts about each image.

    Raises:
        DatasetError: If an image cannot be read.
    """
    whole = hashlib.sha256(dataset.schema.digest.encode())
    for split in (dataset.train, dataset.query, dataset.gallery):
        whole.update(len(split).to_bytes(8, "big"))
        for path in split.paths:
            whole.update(f"{path.name}\0".encode() + image_digest(path))
        for array in (split.pids, split.camids, split.labels, split.yes):
            whole.update(array.tobytes())
    return whole.hexdigest()


def image_digest(path: Path) -> bytes:
    """Return the SHA-256 of a dataset's file.

    Raises:
        DatasetError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); restore it") from None


REGIONS, BEHIND = "regions", "regions-behind"
"""Folders of label maps: the region of each pixel (0-5), and the region that it would be without belongings (0-4)."""


def region_maps(root: Path, images: Sequence[Path], folder: str = REGIONS) -> tuple[Path, ...]:
    """Return the file of the label map of each image.

    Raises:
        DatasetError: If the dataset under `root` has no label maps, or lacks one.
    """
    if not (root / folder).is_dir():
        option = " --behind" if folder == BEHIND else ""
        raise DatasetError(
            f"{root} has no {folder}/ with a label map for each image; `vestigo render{option}` writes such datasets"
        )
    maps = tuple(root / folder / image.parent.name / f"{image.stem}.png" for image in images)
    if missing := [path for path in maps if not path.is_file()]:
        raise DatasetError(f"{len(missing)} images have no label map, the first is {missing[0]}; restore it")
    return maps
