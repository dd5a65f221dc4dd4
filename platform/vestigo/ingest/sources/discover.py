"""Discover the inputs of a source, in a fixed order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from vestigo.datasets.formats.files import is_dataset, list_files
from vestigo.datasets.formats.names import parse_name
from vestigo.ingest.inputs import IgnoredFile, ImageInput, Input, InvalidInput, Locator, VideoInput
from vestigo.ingest.sources.containers import file_digest, list_tar, list_zip
from vestigo.ingest.sources.naming import COMPRESSED_TARS, NamingRules, is_archive, is_image, is_video
from vestigo.ingest.video.probe import probe_video
from vestigo_models.errors import BadInput, SourceError

SourceKind = Literal["video", "image", "folder", "tar", "zip", "dataset"]
_EXAMPLES = "name a video, an image, a folder, a .tar or a .zip"


def source_kind(source: str | Path) -> SourceKind:
    """Return the kind of a source; raise SourceError if it does not exist or its kind is unknown."""
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(f"no such source: {source}; {_EXAMPLES}")
    if path.is_dir():
        return "dataset" if is_dataset(path) else "folder"
    if not path.is_file():
        raise SourceError(f"{source} is neither a file nor a folder; {_EXAMPLES}")
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
    raise SourceError(f"{source}: unknown ending {path.suffix!r}; {_EXAMPLES}")


def discover(
    source: str | Path,
    *,
    camera: str | None = None,
    camera_pattern: str | None = None,
    start: datetime | None = None,
) -> Iterator[Input]:
    """Yield every input of a source, sorted by name (members of a tar in their own order).

    Each input is read once for the digest of its content. An unusable file is an `InvalidInput`, a file of another kind
    an `IgnoredFile`. Memory is the names of one folder or one archive.

    `camera` is for inputs without `camera=NAME/` in the path and without a match of `camera_pattern`, a regular
    expression with a group `camera`; the default is the name of the video, archive or source folder. `start` is the
    time of a video's first frame.

    Raises:
        SourceError: As `source_kind`.
        ConfigError: If `camera_pattern` is invalid.
    """
    kind = source_kind(source)
    return _discover(Path(source).resolve(), kind, NamingRules.create(camera, camera_pattern, start))


def _discover(root: Path, kind: SourceKind, naming: NamingRules) -> Iterator[Input]:
    is_empty = True
    for item in _list_inputs(root, kind, naming):
        is_nothing = isinstance(item, IgnoredFile) or (isinstance(item, InvalidInput) and item.reason == "empty-folder")
        is_empty = is_empty and is_nothing
        yield item
    if is_empty:
        message = f"{root.name} holds no image and no video; name a source that does"
        yield InvalidInput(root.name, "empty-source", message)


def _list_inputs(root: Path, kind: SourceKind, naming: NamingRules) -> Iterator[Input]:
    if kind == "folder":
        return _list_folder(root, root, naming)
    if kind == "tar":
        return list_tar(root, naming)
    if kind == "zip":
        return list_zip(root, naming)
    if kind == "dataset":
        return _list_dataset(root, naming)
    return iter([_inspect_file(root, root.name, root.stem, naming)])


def _list_folder(folder: Path, root: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the files under `folder`, named relative to `root`, depth first and sorted.

    A link to a place inside the root is ignored, because its target is listed anyway. A link that leads outside is
    never opened; it is an `InvalidInput`, and so are an empty folder below the root (a camera without recordings) and
    an archive.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield InvalidInput(_relative_name(folder, root), "unreadable", f"{folder.name}: {error.strerror or error}")
        return
    if not entries and folder != root:
        name = _relative_name(folder, root)
        yield InvalidInput(name, "empty-folder", f"{name} holds no file")
    for entry in entries:
        path = Path(entry.path)
        name = _relative_name(path, root)
        if not _is_utf8(entry.path):
            yield InvalidInput(name, "undecodable-name", f"{name}: the name is not UTF-8; rename the file")
        elif entry.is_symlink():
            if path.resolve().is_relative_to(root):
                yield IgnoredFile(name)
            else:
                yield InvalidInput(name, "outside-source", f"{name} is a link that leads outside")
        elif entry.is_dir(follow_symlinks=False):
            yield from _list_folder(path, root, naming)
        else:
            yield _inspect_file(path, name, path.stem if is_video(name) else root.name, naming)


def _inspect_file(path: Path, name: str, fallback_camera: str, naming: NamingRules) -> Input:
    """Classify a file and read it once for its digest."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return InvalidInput(name, "not-a-file", f"{name} is a pipe, socket or device; only plain files are read")
        camera = naming.camera(name, fallback_camera)
        if is_image(name):
            return ImageInput(name, file_digest(path), Locator("file", str(path)), camera)
        if is_video(name):
            info = probe_video(path)
            return VideoInput(name, info.digest, str(path), camera, naming.start, info)
    except BadInput as error:
        return InvalidInput(name, error.reason, error.detail)
    except OSError as error:
        return InvalidInput(name, "unreadable", f"{name}: {error.strerror or error}")
    if is_archive(name):
        return InvalidInput(name, "archive-in-folder", f"{name} is an archive; name it as a source of its own")
    return IgnoredFile(name)


def _list_dataset(root: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the images of the splits; `0002_c1s1_000451_03.jpg` is identity 2 of camera c1, and -1 is junk."""
    files = list_files(root)
    labels = files.labels(root)
    for folder in sorted({split.folder for split in files.splits.values()}):
        for item in _list_folder(folder, root, naming):
            # An image in no list has a camera, and no identity that lists count.
            label = labels.get(item.name) or parse_name(PurePosixPath(item.name).name)
            if isinstance(item, ImageInput) and label is not None:
                pid = label.pid if label.pid >= 0 and item.name in labels else None
                yield replace(item, camera=f"c{label.camera}", pid=pid)
            else:
                yield item


def _relative_name(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return name if _is_utf8(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
