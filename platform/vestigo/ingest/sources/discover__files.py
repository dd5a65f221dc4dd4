"""Walking a folder: sorted, without following links, one file at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Locator, Problem, VideoInput
from vestigo.ingest.sources.containers__members import digest_of
from vestigo.ingest.sources.naming import Naming, is_archive, is_image, is_video
from vestigo.ingest.video.probe import probe
from vestigo_models.errors import BadInput


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
