"""Image files of a benchmark dataset by split, with the identities and cameras of their names; no image is opened.

Two layouts are read: the folders `bounding_box_train`, `query` and `bounding_box_test`, and the list files of MSMT17.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vestigo_models.errors import DatasetError
from vestigo_models.inference.images import IMAGE_SUFFIXES, is_leftover
from vestigo_models.text_files import read_text

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
"""Folders of the splits of Market-1501 and of what is converted into its layout."""
MSMT17_FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
MSMT17_LISTS = {
    TRAIN: ("train", ("list_train.txt", "list_val.txt")),
    QUERY: ("test", ("list_query.txt",)),
    GALLERY: ("test", ("list_gallery.txt",)),
}
"""Folder and list files of each split of MSMT17."""
LEFTOVERS, UNLISTED, FOLDERS = "leftovers of macOS or Windows", "images in no list", "folders inside a split"
_BOX = re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>\d+)(?!\d)")
_MSMT17 = re.compile(r"(?P<pid>\d+)_\d+_(?P<camera>\d+)_\d+(?:morning|noon|afternoon)_")


class ImageLabel(NamedTuple):
    """Identity and camera of an image, as its file name numbers them; identity -1 is junk."""

    pid: int
    camera: int


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The images of one split."""

    folder: Path  # Folder that the names are relative to
    names: tuple[str, ...] = ()  # Paths below the folder, in order
    labels: tuple[ImageLabel | None, ...] = ()  # Identity and camera of each image, None if its name does not tell them


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """The images of a dataset.

    Identities 0 and -1 are distractors and junk. A dataset that counts its identities from 0, as MSMT17 does, has
    neither: its numbers are raised, those of the test splits above those of the training split if the two are counted
    apart.
    """

    has_lists: bool  # Whether list files name the images (MSMT17)
    splits: dict[str, SplitFiles]  # By `TRAIN`, `QUERY` and `GALLERY`; a split without folder or list is missing
    passed_over: dict[str, int]  # Number of other files by kind
    raised: tuple[int, int] = (0, 0)  # What was added to the identities of the training split and of the test splits
    held_out: int = 0  # Identities of the training split whose images are the test splits, see `hold_out`

    def labels(self, root: Path) -> dict[str, ImageLabel]:
        """Return identity and camera by path below `root`."""
        return {
            (split.folder.relative_to(root) / name).as_posix(): label
            for split in self.splits.values()
            for name, label in zip(split.names, split.labels, strict=True)
            if label is not None
        }


def parse_name(name: str) -> ImageLabel | None:
    """Return identity and camera of a dataset's image by its name without folder, None if that has another form.

    Market-1501 (`0002_c1s1_000451_03.jpg`), DukeMTMC-reID (`0001_c2_f0046182.jpg`), CUHK03-NP (`0001_c1_1_01.png`),
    MSMT17 (`0000_000_01_0303morning_0015_0.jpg`), and whatever converters write behind `0001_c12`.
    """
    match = _BOX.match(name) or _MSMT17.match(name)
    return None if match is None else ImageLabel(int(match["pid"]), int(match["camera"]))


def parse_member(path: str) -> ImageLabel | None:
    """Return identity and camera of a dataset's image by its path, None unless its folder is a split.

    Names of MSMT17 need no folder; they count identities anew in each split, so that the identity is -1.
    """
    member = PurePosixPath(path)
    if match := _MSMT17.match(member.name):
        return ImageLabel(-1, int(match["camera"]))
    return parse_name(member.name) if member.parent.name in (TRAIN, QUERY, GALLERY) else None


def is_dataset(root: Path) -> bool:
    """Whether a folder holds the test splits of a dataset."""
    if all((root / folder).is_dir() for folder in (QUERY, GALLERY)):
        return True
    lists = all((root / name).is_file() for split in (QUERY, GALLERY) for name in MSMT17_LISTS[split][1])
    return lists and _msmt17_folder(root, "test") is not None


def holds_split(root: Path) -> bool:
    """Whether a folder holds a split of a dataset, or a list of its images."""
    lists = {name for _, names in MSMT17_LISTS.values() for name in names}
    return any((root / folder).is_dir() for folder in MSMT17_LISTS) or any((root / name).is_file() for name in lists)


def list_files(root: Path) -> DatasetFiles:
    """List the images of the dataset in a folder; there is no split if it holds neither layout.

    Raises:
        DatasetError: If a folder or list file cannot be read, or a list has a line of another form.
    """
    folders = {split: root / split for split in (TRAIN, QUERY, GALLERY) if (root / split).is_dir()}
    return _number_identities(_list_folders(folders) if folders else _read_lists(root))


def _list_folders(folders: dict[str, Path]) -> DatasetFiles:
    passed_over: Counter[str] = Counter()
    splits = {}
    for split, folder in folders.items():
        names = []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(f"{folder} cannot be read ({error.strerror or error})") from None
        for entry in entries:
            kind = _other_kind(entry.name)
            if kind != LEFTOVERS and not entry.is_file():
                kind = FOLDERS
            if kind:
                passed_over[kind] += 1
            else:
                names.append(entry.name)
        splits[split] = SplitFiles(folder=folder, names=tuple(names), labels=tuple(map(parse_name, names)))
    return DatasetFiles(has_lists=False, splits=splits, passed_over=dict(passed_over))


def _read_lists(root: Path) -> DatasetFiles:
    splits = {}
    for split, (part, lists) in MSMT17_LISTS.items():
        folder, present = _msmt17_folder(root, part), [root / name for name in lists if (root / name).is_file()]
        if folder is not None and present:
            labels = {name: label for path in present for name, label in _read_list(path)}
            splits[split] = SplitFiles(folder=folder, names=tuple(labels), labels=tuple(labels.values()))
    listed = {split.folder / name for split in splits.values() for name in split.names}
    passed_over: Counter[str] = Counter()
    for folder in sorted({split.folder for split in splits.values()}):
        for path in folder.rglob("*"):
            if path not in listed and path.is_file():
                passed_over[_other_kind(path.relative_to(folder).as_posix()) or UNLISTED] += 1
    return DatasetFiles(has_lists=True, splits=splits, passed_over=dict(passed_over))


def _msmt17_folder(root: Path, part: str) -> Path | None:
    return next((root / name for name in MSMT17_FOLDERS[part] if (root / name).is_dir()), None)


def _read_list(path: Path) -> Iterator[tuple[str, ImageLabel]]:
    """Yield the images of a list file, lines of a path and an identity, with their labels."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as text ({' '.join(str(error).split())})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, identity = [*line.rsplit(maxsplit=1), ""][:2]
        name = name.strip().replace("\\", "/")
        label = parse_name(PurePosixPath(name).name)
        if label is None or not identity.isdecimal() or ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise DatasetError(
                f"{path}, line {number}: {line.strip()!r} is not an image and its identity, such as "
                "'0000/0000_000_01_0303morning_0015_0.jpg 0'"
            )
        yield name, label._replace(pid=int(identity))


def _other_kind(name: str) -> str:
    """Return the kind of a file that is no image of a dataset, "" for an image."""
    if is_leftover(name):
        return LEFTOVERS
    suffix = PurePosixPath(name).suffix.lower()
    return "" if suffix in IMAGE_SUFFIXES else f"files of unknown kind ({suffix or 'no ending'})"


def _number_identities(files: DatasetFiles) -> DatasetFiles:
    """Raise identities that are counted from 0, see `DatasetFiles`."""
    train, query, gallery = (
        {label.pid for label in files.splits[split].labels if label and label.pid >= 0}
        if split in files.splits
        else set()
        for split in (TRAIN, QUERY, GALLERY)
    )
    if not files.has_lists and 0 not in train and 0 not in query:
        return files
    # The training identities then are 1 .. max + 1.
    apart = max(train) + 1 if train & (query | gallery) else 0
    raised = (1, 1 + apart)

    def raise_pid(label: ImageLabel | None, number: int) -> ImageLabel | None:
        return label if label is None or label.pid < 0 else label._replace(pid=label.pid + number)

    splits = {
        split: replace(part, labels=tuple(raise_pid(label, raised[split != TRAIN]) for label in part.labels))
        for split, part in files.splits.items()
    }
    return replace(files, splits=splits, raised=raised)
