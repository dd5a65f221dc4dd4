"""Find identities in both training and test before a model is trained, by identity and by image content."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from vestigo.datasets.reid import ReidDataset, Split, image_digest
from vestigo_models.errors import DatasetError

LeakKind = Literal["identity", "content", "label"]


@dataclass(frozen=True, kw_only=True)
class TrainingImage:
    """An image that a model learns from.

    Attributes:
        name: Name for messages, such as `crop 3f...` or a path.
        content: Bytes of its file; the store keeps those of whole images unchanged.
        source: Folder that `pid` is counted in, "" if unknown.
        pid: Identity there, None if unknown.
    """

    name: str
    content: bytes
    source: str = ""
    pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Leak:
    """An identity in both training and test.

    Attributes:
        kind: `identity`: the dataset's own splits share the identity. `content`: the same bytes, whatever their names.
            `label`: a labelled image of the dataset shows an identity of its test split.
        pid: Identity of the test image, 0 for a distractor.
    """

    kind: LeakKind
    pid: int
    training: str
    test: str

    def __str__(self) -> str:
        subject = f"identity {self.pid}" if self.pid > 0 else "a distractor"
        shared = "the same image" if self.kind == "content" else "one person"
        return f"{subject} is in training and in test: {self.training} and {self.test} show {shared}"


def find_leaks(
    dataset: ReidDataset, labelled: Iterable[TrainingImage] = (), *, base: Iterable[Path] = ()
) -> tuple[Leak, ...]:
    """Find the identities of a dataset's query and gallery that are also learnt from.

    An image that was resized or encoded again has another content and is found by its identity only. Memory is a digest
    for each image of the test split.

    Learnt from are the dataset's training split, the files `base` and the images `labelled`, which are read one at a
    time. There is at most one leak of each kind for an identity.

    Raises:
        DatasetError: If an image cannot be read.
    """
    tested = _first_by_pid(dataset.query, dataset.gallery)
    learnt = _first_by_pid(dataset.train)
    leaks = {
        ("identity", pid): Leak(kind="identity", pid=pid, training=str(learnt[pid]), test=str(tested[pid]))
        for pid in sorted(learnt.keys() & tested.keys())
    }
    contents: dict[bytes, tuple[int, Path]] = {}
    for path, pid in _members(dataset.query, dataset.gallery):
        contents.setdefault(image_digest(path), (pid, path))
    root = dataset.root.resolve()

    def add_same_content(name: str, digest: bytes) -> None:
        if digest in contents:
            pid, path = contents[digest]
            leaks.setdefault(("content", pid), Leak(kind="content", pid=pid, training=name, test=str(path)))

    for path in chain(dataset.train.paths, base):
        add_same_content(str(path), image_digest(path))
    for image in labelled:
        add_same_content(image.name, hashlib.sha256(image.content).digest())
        if image.pid in tested and image.source and Path(image.source).resolve() == root:
            pid = image.pid
            leak = Leak(kind="label", pid=pid, training=image.name, test=str(tested[pid]))
            leaks.setdefault(("label", pid), leak)
    return tuple(leaks.values())


def require_no_leak(dataset: ReidDataset, labelled: Iterable[TrainingImage] = (), *, base: Iterable[Path] = ()) -> None:
    """Raise DatasetError if training and test share an identity or image; arguments as `find_leaks`."""
    leaks = find_leaks(dataset, labelled, base=base)
    if leaks:
        more = f" ({len(leaks) - 1} more like it)" if len(leaks) > 1 else ""
        raise DatasetError(f"{leaks[0]}{more}: take the person out of one of the two, or evaluate on another dataset")


def _members(*splits: Split) -> Iterator[tuple[Path, int]]:
    for split in splits:
        yield from zip(split.paths, split.pids.tolist(), strict=True)


def _first_by_pid(*splits: Split) -> dict[int, Path]:
    """Return the first image of every identity, without distractors."""
    first: dict[int, Path] = {}
    for path, pid in _members(*splits):
        if pid > 0:
            first.setdefault(pid, path)
    return first
