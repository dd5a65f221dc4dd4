"""From what a user names as SOURCE to a stream of inputs, in an order that never changes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Locator, Problem, VideoInput
from vestigo.ingest.sources.containers import digest_of, tar_items, zip_items
from vestigo.ingest.sources.naming import COMPRESSED_TARS, Naming, is_archive, is_image, is_video
from vestigo.ingest.video.probe import probe
from vestigo_models.errors import BadInput, SourceError


def folder_items(folder: Path, root: Path, naming: Naming) -> Iterator[Item]:
    """Yield what lies under `folder`, named relative to `root`, depth first and sorted.

    A link to somewhere inside the root is left out, because its target is met anyway; one that leads outside is a
    `Problem` and is never opened. So are an empty folder below the root (a camera that recorded nothing) and an
    archive that lies among the files.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield Problem(_name(folder, root), "unreadable", f"{folder.name}: {error.strerror or error}")
        return
    if not entries and folder != root:
        yield Problem(_name(folder, root), "empty-folder", f"{_name(folder, root)} holds no file")
    for entry in entries:
        path = Path(entry.path)
        name = _name(path, root)
        if not _is_text(entry.path):
            yield Problem(name, "undecodable-name", f"{name}: the name is not UTF-8; rename the file")
        elif entry.is_symlink():
            inside = path.resolve().is_relative_to(root)
            yield Ignored(name) if inside else Problem(name, "outside-source", f"{name} is a link that leads outside")
        elif entry.is_dir(follow_symlinks=False):
            yield from folder_items(path, root, naming)
        else:
            yield file_item(path, name, path.stem if is_video(name) else root.name, naming)


def file_item(path: Path, name: str, fallback_camera: str, naming: Naming) -> Item:
    """Say what one file is; it is read once, for its digest."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Problem(name, "not-a-file", f"{name} is a pipe, socket or device; only plain files are read")
        camera = naming.camera(name, fallback_camera)
        if is_image(name):
            return ImageInput(name, digest_of(path), Locator("file", str(path)), camera)
        if is_video(name):
            info = probe(path)
            return VideoInput(name, info.digest, str(path), camera, naming.start, info)
    except BadInput as error:
        return Problem(name, error.reason, error.detail)
    except OSError as error:
        return Problem(name, "unreadable", f"{name}: {error.strerror or error}")
    if is_archive(name):
        return Problem(name, "archive-in-folder", f"{name} is an archive; name it as a source of its own")
    return Ignored(name)


def _name(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return name if _is_text(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


Kind = Literal["video", "image", "folder", "tar", "zip", "dataset"]

DATASET_SPLITS = ("bounding_box_test", "bounding_box_train", "query")
"""The splits of the Market-1501 and DukeMTMC-reID layouts; all three are indexed."""

_LABELLED = re.compile(r"^(?P<pid>-1|\d+)_c(?P<camid>\d+)")


def source_kind(source: str | Path) -> Kind:
    """Say what a source is.

    Raises:
        SourceError: it does not exist, or is of no known kind.
    """
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(f"no such source: {source}; name a video, an image, a folder, a .tar or a .zip")
    if path.is_dir():
        return "dataset" if all((path / split).is_dir() for split in ("bounding_box_test", "query")) else "folder"
    if not path.is_file():
        raise SourceError(
            f"{source} is neither a file nor a folder; name a video, an image, a folder, a .tar or a .zip"
        )
    if name.endswith(COMPRESSED_TARS):
        raise SourceError(f"{source}: members of a compressed tar cannot be read in place; decompress it to a .tar")
    if name.endswith(".tar"):
        return "tar"
    if name.endswith(".zip"):
        return "zip"
    if is_video(name):
        return "video"
    if is_image(name):
        return "image"
    raise SourceError(f"{source}: unknown ending {path.suffix!r}; name a video, an image, a folder, a .tar or a .zip")


def discover(
    source: str | Path,
    *,
    camera: str | None = None,
    camera_pattern: str | None = None,
    start: datetime | None = None,
) -> Iterator[Item]:
    """Yield every input of a source, sorted by name (members of a tar in their own order), one at a time.

    Each input is read once, for the digest of its content. A file that cannot be used is a `Problem`, one that is
    none of ours `Ignored`; neither ends the walk. Memory holds the names of one folder, or of one archive's members.

    The camera is `camera=NAME/` in an input's path, else what the group `camera` of `camera_pattern` (a regular
    expression, searched in the name) finds, else `camera`, else the name of the video or archive without ending, or
    of the folder that is the source. `start` is the time of a video's first frame.

    Raises:
        SourceError: as `source_kind`.
        ConfigError: a wrong `camera_pattern`.
    """
    kind = source_kind(source)
    return _found(Path(source).resolve(), kind, Naming.of(camera, camera_pattern, start))


def _found(root: Path, kind: Kind, naming: Naming) -> Iterator[Item]:
    empty = True
    for item in _contents(root, kind, naming):
        nothing = isinstance(item, Ignored) or (isinstance(item, Problem) and item.reason == "empty-folder")
        empty = empty and nothing
        yield item
    if empty:
        yield Problem(root.name, "empty-source", f"{root.name} holds no image and no video; name a source that does")


def _contents(root: Path, kind: Kind, naming: Naming) -> Iterator[Item]:
    if kind == "folder":
        return folder_items(root, root, naming)
    if kind == "tar":
        return tar_items(root, naming)
    if kind == "zip":
        return zip_items(root, naming)
    if kind == "dataset":
        return _dataset_items(root, naming)
    return iter([file_item(root, root.name, root.stem, naming)])


def _dataset_items(root: Path, naming: Naming) -> Iterator[Item]:
    """Images of the splits; `0002_c1s1_000451_03.jpg` is pid 2 under camera c1, -1 (junk) is nobody."""
    for split in DATASET_SPLITS:
        for item in folder_items(root / split, root, naming) if (root / split).is_dir() else ():
            label = _LABELLED.match(Path(item.name).name)
            if isinstance(item, ImageInput) and label is not None:
                pid = int(label["pid"])
                yield ImageInput(
                    name=item.name,
                    digest=item.digest,
                    locator=item.locator,
                    camera=f"c{int(label['camid'])}",
                    pid=None if pid < 0 else pid,
                )
            else:
                yield item
