"""Detect truncated video files from the sizes that their container declares."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

RIFF = b"RIFF"
MP4_BOXES = frozenset(b"ftyp moov mdat free skip wide moof styp sidx uuid pnot".split())
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> str | None:
    """Return what is missing from a file, or None.

    AVI declares the length of the file, MP4 of each box, Matroska of its segment. Frame counts are not reliable: an
    intact H.264 AVI can declare twice its frames. MPEG-TS declares nothing and can be cut anywhere.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(12)
        if start[:4] == RIFF:
            return _describe_gap(size, _riff_end(handle, size))
        if start[4:8] in MP4_BOXES:
            return _check_mp4(handle, size)
        if start[:4] == EBML:
            return _describe_gap(size, _segment_end(handle))
    return None


def _describe_gap(size: int, declared: int | None) -> str | None:
    # One byte of padding may be missing at the end of a chunk.
    if declared is None or size >= declared - 1:
        return None
    return f"{size:,} of the {declared:,} bytes that the container declares are there"


def _riff_end(handle: BinaryIO, size: int) -> int:
    """Return the end of the last RIFF chunk; OpenDML files have several."""
    end = 0
    while end + 8 <= size:
        handle.seek(end)
        name, length = struct.unpack("<4sI", handle.read(8))
        if name != RIFF:
            break
        end += 8 + length + length % 2
    return end


def _check_mp4(handle: BinaryIO, size: int) -> str | None:
    end, names = 0, set()
    while end + 8 <= size:
        handle.seek(end)
        length, name = struct.unpack(">I4s", handle.read(8))
        names.add(name)
        if length == 1:
            (length,) = struct.unpack(">Q", handle.read(8).ljust(8, b"\0"))
        elif length == 0:
            length = size - end
        if length < 8:
            break
        end += length
    if b"moov" not in names:
        return "the index of the file (moov) is missing; the recording was cut off or never closed"
    return _describe_gap(size, end)


def _segment_end(handle: BinaryIO) -> int | None:
    handle.seek(len(EBML))
    header = _read_vint(handle)
    if header is None:
        return None
    handle.seek(header, os.SEEK_CUR)
    if handle.read(len(SEGMENT)) != SEGMENT:
        return None
    length = _read_vint(handle)
    return None if length is None else handle.tell() + length


def _read_vint(handle: BinaryIO) -> int | None:
    """Read a Matroska length (RFC 8794, section 4); None for "unknown", as in live recordings."""
    first = handle.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    rest = handle.read(width - 1)
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + rest, "big")
    return None if value == (1 << (7 * width)) - 1 else value
