"""Listing the members of a tar or zip in place; nothing is ever unpacked."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Locator, Problem
from vestigo.ingest.sources.containers__members import check_name, check_size, read_member
from vestigo.ingest.sources.naming import Naming, is_image, is_video
from vestigo_models.errors import BadInput


def tar_items(path: Path, naming: Naming) -> Iterator[Item]:
    """Yield the members of a plain tar in their own order, by the offsets of their bytes.

    Links and devices are never followed. Where the tar breaks off, what came before stands, and the break is a
    `Problem`.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile keeps every header it met; the archive may hold millions.
                archive.members = []  # type: ignore[attr-defined]
                if member.isdir():
                    continue
                name = printable(member.name)
                if not member.isreg() or member.sparse is not None:
                    yield Problem(name, "not-a-file", f"{name} is a link, device or sparse file; pack plain files")
                    continue
                locator = Locator("tar", str(path), name, member.offset_data, member.size)
                yield _member_item(locator, path.stem, naming, seen)
    except (tarfile.TarError, OSError) as error:
        yield Problem(path.name, "unreadable", f"{path.name}: the tar cannot be read on: {error}")
        return
    if not _ends_cleanly(path):
        yield Problem(path.name, "truncated", f"{path.name} breaks off: the end mark of a tar is missing")


def zip_items(path: Path, naming: Naming) -> Iterator[Item]:
    """Yield the members of a zip, sorted by name; the list of names is what a zip needs in memory."""
    seen: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield Problem(path.name, "unreadable", f"{path.name}: the zip cannot be read: {error}")
        return
    for entry in entries:
        if not entry.is_dir():
            name, offset = entry.filename, entry.header_offset
            locator = Locator("zip", str(path), name, offset, entry.file_size, entry.compress_size)
            yield _member_item(locator, path.stem, naming, seen)


def _member_item(locator: Locator, fallback_camera: str, naming: Naming, seen: set[str]) -> Item:
    name = locator.member
    try:
        check_name(name)
        if is_video(name):
            raise BadInput("unsupported-member", f"{name}: videos are not read out of archives; unpack it")
        if not is_image(name):
            return Ignored(printable(name))
        if name in seen:
            raise BadInput("duplicate-name", f"{name} is in the archive more than once; only the first is taken")
        seen.add(name)
        check_size(locator.size)
        digest = hashlib.sha256(read_member(locator)).hexdigest()
    except BadInput as error:
        return Problem(printable(name), error.reason, error.detail)
    return ImageInput(name, digest, locator, naming.camera(name, fallback_camera))


def _ends_cleanly(path: Path) -> bool:
    """Whether a tar ends with its mark, a block of zeros; an empty one consists of nothing else."""
    with path.open("rb") as handle:
        size = path.stat().st_size
        handle.seek(max(0, size - tarfile.BLOCKSIZE))
        return size >= tarfile.BLOCKSIZE and not any(handle.read())


def printable(name: str) -> str:
    """A member's name as text: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
