"""List and read the members of a tar or zip in place, without unpacking it."""

import hashlib
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vestigo.datasets.files import parse_member
from vestigo.ingest.inputs import IgnoredFile, ImageInput, Input, InvalidInput, Locator
from vestigo.ingest.sources.naming import NamingRules, file_kind, is_archive, is_image, is_video
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import is_leftover

MAX_MEMBER_BYTES = 256 * 2**20
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")


def read_member(locator: Locator) -> bytes:
    """Read the bytes of an image.

    Raises:
        BadInput: `unreadable`, `truncated`, `too-large`, `encrypted` or `unsupported-compression`.
    """
    try:
        with open(locator.path, "rb") as handle:
            if locator.kind == "file":
                return _read_exactly(handle, os.fstat(handle.fileno()).st_size)
            handle.seek(locator.offset)
            return _read_exactly(handle, locator.size) if locator.kind == "tar" else _read_zip_entry(handle, locator)
    except OSError as error:
        raise BadInput("unreadable", f"{Path(locator.path).name}: {error.strerror or error}") from None


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, read in chunks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def list_tar(path: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the members of an uncompressed tar in their own order, with the offsets of their bytes.

    Links and devices are not followed. If the tar is truncated, its earlier members are followed by an `InvalidInput`.
    """
    names: set[str] = set()
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile keeps every header; the archive can hold millions.
                archive.members = []  # type: ignore[attr-defined]
                if member.isdir():
                    continue
                name = printable(member.name)
                if not member.isreg() or member.sparse is not None:
                    yield InvalidInput(name, "not-a-file", f"{name} is a link, device or sparse file; pack plain files")
                    continue
                locator = Locator("tar", str(path), name, member.offset_data, member.size)
                yield _inspect_member(locator, path.stem, naming, names)
    except (tarfile.TarError, OSError) as error:
        yield InvalidInput(path.name, "unreadable", f"{path.name}: the tar cannot be read on: {error}")
        return
    if not has_end_mark(path):
        yield InvalidInput(path.name, "truncated", f"{path.name} breaks off: the end mark of a tar is missing")


def list_zip(path: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the members of a zip, sorted by name; memory is the list of names."""
    names: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield InvalidInput(path.name, "unreadable", f"{path.name}: the zip cannot be read: {error}")
        return
    shared = _overlapping(entries)
    for entry in entries:
        if entry in shared:
            detail = f"{entry.filename} shares its bytes with another member, as in a decompression bomb; pack it again"
            yield InvalidInput(printable(entry.filename), "overlapping-members", detail)
        elif not entry.is_dir():
            yield _inspect_member(zip_locator(path, entry), path.stem, naming, names)


def _overlapping(entries: list[zipfile.ZipInfo]) -> set[zipfile.ZipInfo]:
    """Return the entries that begin inside another: few bytes could be decompressed without end."""
    overlapping: set[zipfile.ZipInfo] = set()
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            overlapping.add(entry)
        end = max(end, entry.header_offset + LOCAL_HEADER.size + len(entry.orig_filename) + entry.compress_size)
    return overlapping


def zip_locator(path: Path, entry: zipfile.ZipInfo) -> Locator:
    """Return where the bytes of a zip's entry are."""
    return Locator("zip", str(path), entry.filename, entry.header_offset, entry.file_size, entry.compress_size)


def printable(name: str) -> str:
    """Return a member's name as text, with escapes for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _inspect_member(locator: Locator, fallback_camera: str, naming: NamingRules, names: set[str]) -> Input:
    """Classify a member and compute its digest; `names` are those of earlier members."""
    name = locator.member
    try:
        check_name(name)
        if is_video(name):
            raise BadInput("unsupported-member", f"{name}: videos are not read out of archives; unpack it")
        if is_leftover(name):
            return IgnoredFile(printable(name), "system file")
        if is_archive(name):
            raise BadInput("archive-in-archive", f"{name} is an archive; unpack it and name it as a source of its own")
        if not is_image(name):
            return IgnoredFile(printable(name), file_kind(name))
        if name in names:
            raise BadInput("duplicate-name", f"{name} is in the archive more than once; only the first is taken")
        names.add(name)
        _check_size(locator.size)
        digest = hashlib.sha256(read_member(locator)).hexdigest()
    except BadInput as error:
        return InvalidInput(printable(name), error.reason, error.detail)
    camera, start = naming.place(name, fallback_camera)
    return with_label(ImageInput(name, digest, locator, camera, start), name, fallback_camera)


def with_label(image: ImageInput, path: str, fallback_camera: str) -> ImageInput:
    """Return an image with camera and identity of its path, if it is one of a dataset and nothing names its camera."""
    label = parse_member(path) if image.camera == fallback_camera else None
    if label is None:
        return image
    return replace(image, camera=f"c{label.camera}", pid=label.pid if label.pid >= 0 else None)


def _check_size(size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise BadInput("too-large", f"{size:,} bytes, more than {MAX_MEMBER_BYTES:,}; images are smaller")


def check_name(name: str) -> None:
    """Reject a name that points outside its archive. It would never be written, but such an archive is suspicious."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise BadInput("unsafe-name", f"{name!r} points outside its archive; pack it again with relative names")


def _read_exactly(handle: BinaryIO, size: int) -> bytes:
    _check_size(size)
    data = handle.read(size)
    if len(data) != size:
        raise BadInput("truncated", f"{len(data):,} of {size:,} bytes are there")
    return data


def _read_zip_entry(handle: BinaryIO, locator: Locator) -> bytes:
    """Decompress the entry whose local header is next (.ZIP File Format Specification 4.3.7).

    `zipfile` would read the directory of the whole archive again for each member.
    """
    header = _read_exactly(handle, LOCAL_HEADER.size)
    signature, flags, method, name_size, extra_size = LOCAL_HEADER.unpack(header)
    if signature != b"PK\3\4":
        raise BadInput("unreadable", f"{Path(locator.path).name}: no member at byte {locator.offset}: damaged")
    if flags & 1:
        raise BadInput("encrypted", f"{locator.member!r} needs a password; unpack it first")
    handle.seek(name_size + extra_size, os.SEEK_CUR)
    packed = _read_exactly(handle, locator.packed)
    if method == zipfile.ZIP_STORED:
        return packed
    if method != zipfile.ZIP_DEFLATED:
        raise BadInput("unsupported-compression", f"{locator.member!r} uses zip method {method}; use deflate or store")
    _check_size(locator.size)
    try:
        # One byte more than declared detects a zip bomb with a wrong size.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, locator.size + 1)
    except zlib.error as error:
        raise BadInput("unreadable", f"{Path(locator.path).name}: member {locator.member!r}: {error}") from None
    if len(data) != locator.size:
        raise BadInput(
            "truncated", f"{locator.member!r} does not hold the {locator.size:,} bytes that the zip declares"
        )
    return data


def has_end_mark(path: Path) -> bool:
    """Whether a tar ends with its mark, a block of zeros; an empty tar is only this mark."""
    with path.open("rb") as handle:
        size = path.stat().st_size
        handle.seek(max(0, size - tarfile.BLOCKSIZE))
        return size >= tarfile.BLOCKSIZE and not any(handle.read())
