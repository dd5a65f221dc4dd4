"""People who are learnt from and tested on: found before anything is trained, by identity and by image content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from vestigo.datasets.reid import ReidDataset, Split
from vestigo_models.errors import DatasetError

LeakKind = Literal["identity", "content", "correction"]


@dataclass(frozen=True, kw_only=True)
class TrainingImage:
    """An image that a model learns from.

    Attributes:
        name: what people call it, such as `crop 3f...` or a path.
        content: the bytes of its file (the store keeps those of whole images as they were).
        source: the folder that `pid` is counted in, "" where that is not known.
        pid: the identity there, None where nobody knows.
    """

    name: str
    content: bytes
    source: str = ""
    pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Somebody in training and in test; `pid` is that of the test image, 0 for a distractor.

    `identity`: the dataset's own splits share the identity. `content`: the same bytes, whatever their names.
    `correction`: a corrected image of the dataset shows somebody of its test split.
    """

    kind: LeakKind
    pid: int
    training: str
    test: str

    def __str__(self) -> str:
        who = f"identity {self.pid}" if self.pid > 0 else "a distractor"
        same = "the same image" if self.kind == "content" else "one person"
        return f"{who} is in training and in test: {self.training} and {self.test} show {same}"


def find_leaks(
    dataset: ReidDataset, corrected: Iterable[TrainingImage] = (), *, base: Iterable[Path] = ()
) -> tuple[Leak, ...]:
    """Find everybody of a dataset's query and gallery who is also learnt from, one leak of each kind a person.

    Learnt from are the dataset's own training split, the files `base`, and the images `corrected`, which are looked at
    one at a time: memory holds a digest an image of the test split. An image that was shrunk or encoded again has
    another content and is found by its identity only.

    Raises:
        DatasetError: an image cannot be read.
    """
    tested = _first_by_pid(dataset.query, dataset.gallery)
    learnt = _first_by_pid(dataset.train)
    leaks = {
        ("identity", pid): Leak(kind="identity", pid=pid, training=str(learnt[pid]), test=str(tested[pid]))
        for pid in sorted(learnt.keys() & tested.keys())
    }
    contents: dict[bytes, tuple[int, Path]] = {}
    for path, pid in _members(dataset.query, dataset.gallery):
        contents.setdefault(_file_digest(path), (pid, path))
    root = dataset.root.resolve()
    files = ((str(path), _file_digest(path)) for path in chain(dataset.train.paths, base))

    def same_content(name: str, digest: bytes) -> None:
        if digest in contents:
            pid, path = contents[digest]
            leaks.setdefault(("content", pid), Leak(kind="content", pid=pid, training=name, test=str(path)))

    for name, digest in files:
        same_content(name, digest)
    for image in corrected:
        same_content(image.name, hashlib.sha256(image.content).digest())
        if image.pid in tested and image.source and Path(image.source).resolve() == root:
            pid = image.pid
            found = Leak(kind="correction", pid=pid, training=image.name, test=str(tested[pid]))
            leaks.setdefault(("correction", pid), found)
    return tuple(leaks.values())


def require_no_leak(
    dataset: ReidDataset, corrected: Iterable[TrainingImage] = (), *, base: Iterable[Path] = ()
) -> None:
    """Refuse to train where somebody would be learnt from and tested on.

    Raises:
        DatasetError: naming the identity, both images, and what to do.
    """
    leaks = find_leaks(dataset, corrected, base=base)
    if leaks:
        more = f" ({len(leaks) - 1} more like it)" if len(leaks) > 1 else ""
        raise DatasetError(f"{leaks[0]}{more}: take the person out of one of the two, or judge on another dataset")


def _members(*splits: Split) -> Iterator[tuple[Path, int]]:
    for split in splits:
        yield from zip(split.paths, split.pids.tolist(), strict=True)


def _first_by_pid(*splits: Split) -> dict[int, Path]:
    """An image of every identity; distractors are nobody's."""
    found: dict[int, Path] = {}
    for path, pid in _members(*splits):
        if pid > 0:
            found.setdefault(pid, path)
    return found


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); restore it") from None
