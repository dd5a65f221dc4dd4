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
    """An image that a model learns from."""

    name: str  # for messages, such as `crop 3f...` or a path
    content: bytes  # of its file; the store keeps those of whole images unchanged
    source: str = ""  # folder that `pid` is counted in, "" if unknown
    pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Leak:
    """An identity in both training and test.

    `identity`: the dataset's own splits share the identity. `content`: the same bytes, whatever their names. `label`: a
    labelled image of the dataset shows an identity of its test split.
    """

    kind: LeakKind
    pid: int  # of the test image, 0 for a distractor
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
    time. There is at most one leak of each kind for an identity. Raises DatasetError if an image cannot be read.
    """
    tested = _first_by_pid(dataset.query, dataset.gallery)
    learnt = _first_by_pid(dataset.train)
    leaks: dict[tuple[LeakKind, int], Leak] = {}

    def add(kind: LeakKind, pid: int, training: str | Path, test: Path) -> None:
        leaks.setdefault((kind, pid), Leak(kind=kind, pid=pid, training=str(training), test=str(test)))

    for pid in sorted(learnt.keys() & tested.keys()):
        add("identity", pid, learnt[pid], tested[pid])
    contents: dict[bytes, tuple[int, Path]] = {}
    for path, pid in _members(dataset.query, dataset.gallery):
        contents.setdefault(image_digest(path), (pid, path))
    source = dataset.source.resolve()
    for path in chain(dataset.train.paths, base):
        if (digest := image_digest(path)) in contents:
            add("content", contents[digest][0], path, contents[digest][1])
    for image in labelled:
        if (digest := hashlib.sha256(image.content).digest()) in contents:
            add("content", contents[digest][0], image.name, contents[digest][1])
        is_own = bool(image.source) and Path(image.source).resolve() == source
        if is_own and image.pid in tested:
            add("label", image.pid, image.name, tested[image.pid])
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
