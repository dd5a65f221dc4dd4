"""Back from a stored crop to the frame that it was cut from, in the archive where it still lies."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.crops import STILL, crop_id
from vestigo.ingest.inputs import Locator, VideoInfo
from vestigo.ingest.sources.containers import printable, read_member
from vestigo.ingest.video.decode import read_frame
from vestigo.ingest.video.probe import probe
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image

ORIGIN_COLUMNS = ("crop_id", "source", "input", "frame", "x", "y", "w", "h")
"""The columns of a crop row that lead back to its frame."""


def frame_of(crop: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Read the frame that a crop was cut from: RGB uint8 (height, width, 3).

    `crop` holds `ORIGIN_COLUMNS`. Its id was made from the content of its input, so a file that has changed since is
    told from the one that was indexed. Messages name the input, never a path of this machine.

    Raises:
        BadInput: `moved`, `changed`, or as `read_member`, `decode_image`, `probe` and `read_frame`.
    """
    source, name = Path(crop["source"]), str(crop["input"])
    try:
        return _still(source, name, crop) if crop["frame"] == STILL else _video_frame(source, name, crop)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BadInput(
            "unreadable", f"{name}: {getattr(error, 'strerror', None) or 'the archive is damaged'}"
        ) from None


def _still(source: Path, name: str, crop: Mapping[str, Any]) -> NDArray[np.uint8]:
    data = read_member(_locate(source, name))
    _require_same(hashlib.sha256(data).hexdigest(), name, crop)
    return decode_image(data)


def _video_frame(source: Path, name: str, crop: Mapping[str, Any]) -> NDArray[np.uint8]:
    path = _file(source, name)
    state = path.stat()
    info = _probed(path, state.st_size, state.st_mtime_ns)
    _require_same(info.digest, name, crop)
    return read_frame(path, info, int(crop["frame"]))


@lru_cache(maxsize=32)
def _probed(path: Path, _size: int, _modified: int) -> VideoInfo:
    """Probe a video, once for as long as its size and modification time stay the same."""
    return probe(path)


def _require_same(digest: str, name: str, crop: Mapping[str, Any]) -> None:
    if crop_id(name, digest, int(crop["frame"]), [crop[side] for side in "xywh"]) != crop["crop_id"]:
        raise BadInput("changed", f"{name} is no longer the file that was indexed; index its source again")


def _file(source: Path, name: str) -> Path:
    path = source if source.is_file() else source / name
    if not path.is_file():
        raise BadInput("moved", f"{name} is no longer where it was indexed; put it back, or index it where it is now")
    return path


def _locate(source: Path, name: str) -> Locator:
    if source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source, "r:") as tar:
            for member in tar:
                if printable(member.name) == name and member.isreg():
                    return Locator("tar", str(source), name, member.offset_data, member.size)
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                if entry.filename == name:
                    where = (entry.header_offset, entry.file_size, entry.compress_size)
                    return Locator("zip", str(source), name, *where)
    else:
        return Locator("file", str(_file(source, name)))
    raise BadInput("moved", f"{name} is no longer in the archive that was indexed; index it again")
