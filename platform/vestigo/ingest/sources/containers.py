"""Listing the members of a tar or zip in place; nothing is ever unpacked."""

from __future__ import annotations

import hashlib
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Locator, Problem
from vestigo.ingest.sources.naming import Naming, is_image, is_video
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image

MAX_MEMBER_BYTES = 256 * 2**20
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")


def check_size(size: int) -> None:
    """Raise BadInput `too-large` for a member of more than 256 MiB."""
    if size > MAX_MEMBER_BYTES:
        raise BadInput("too-large", f"{size:,} bytes, more than {MAX_MEMBER_BYTES:,}; images are smaller")


def check_name(name: str) -> None:
    """Refuse a member's name that points outside its archive; it would never be written, but nor can it be trusted.

    Raises:
        BadInput: `unsafe-name`.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise BadInput("unsafe-name", f"{name!r} points outside its archive; pack it again with relative names")


def read_member(locator: Locator) -> bytes:
    """Read the bytes that a locator names.

    Raises:
        BadInput: `unreadable`, `truncated`, `too-large`.
    """
    try:
        with open(locator.path, "rb") as handle:
            if locator.kind == "file":
                return _exactly(handle, os.fstat(handle.fileno()).st_size)
            handle.seek(locator.offset)
            return _exactly(handle, locator.size) if locator.kind == "tar" else _unzipped(handle, locator)
    except OSError as error:
        raise BadInput("unreadable", f"{Path(locator.path).name}: {error.strerror or error}") from None


def _exactly(handle: BinaryIO, size: int) -> bytes:
    check_size(size)
    data = handle.read(size)
    if len(data) != size:
        raise BadInput("truncated", f"{len(data):,} of {size:,} bytes are there")
    return data


def _unzipped(handle: BinaryIO, locator: Locator) -> bytes:
    """Inflate the entry whose local header comes next (.ZIP File Format Specification 4.3.7).

    `zipfile` would read the directory of the whole archive again for each member.
    """
    header = _exactly(handle, LOCAL_HEADER.size)
    signature, flags, method, name_size, extra_size = LOCAL_HEADER.unpack(header)
    if signature != b"PK\3\4":
        raise BadInput("unreadable", f"{Path(locator.path).name}: no member at byte {locator.offset}: damaged")
    if flags & 1:
        raise BadInput("encrypted", f"{locator.member!r} needs a password; unpack it first")
    handle.seek(name_size + extra_size, os.SEEK_CUR)
    packed = _exactly(handle, locator.packed)
    if method == zipfile.ZIP_STORED:
        return packed
    if method != zipfile.ZIP_DEFLATED:
        raise BadInput("unsupported-compression", f"{locator.member!r} uses zip method {method}; use deflate or store")
    check_size(locator.size)
    try:
        # One byte more than promised tells a bomb that lies about its size, at no cost.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, locator.size + 1)
    except zlib.error as error:
        raise BadInput("unreadable", f"{Path(locator.path).name}: member {locator.member!r}: {error}") from None
    if len(data) != locator.size:
        raise BadInput(
            "truncated", f"{locator.member!r} does not hold the {locator.size:,} bytes that the zip promises"
        )
    return data


def read_image_input(item: ImageInput) -> NDArray[np.uint8]:
    """Read and decode a planned image: RGB uint8 (height, width, 3).

    Raises:
        BadInput: as `read_member` and `decode_image`, or `changed` when the content is no longer the planned one.
    """
    try:
        data = read_member(item.locator)
        if hashlib.sha256(data).hexdigest() != item.digest:
            raise BadInput("changed", "the content changed after it was planned; index the source again")
        return decode_image(data)
    except BadInput as error:
        raise BadInput(error.reason, f"{item.name}: {error.detail}") from None


def digest_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
