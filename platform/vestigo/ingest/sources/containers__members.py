"""Reading one image out of a folder, a tar or a zip, in place, within bounds, from any thread."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.inputs import ImageInput, Locator
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
