"""Read the source frame of a stored crop from the archive."""

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
from vestigo.ingest.decoding import FRAME_SECONDS, probe_in_child
from vestigo.ingest.inputs import Locator, VideoInfo
from vestigo.ingest.sources.containers import printable, read_member, zip_locator
from vestigo.ingest.video.decode import read_frame
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import call

ORIGIN_COLUMNS = ("crop_id", "source", "input", "frame", "x", "y", "w", "h")
"""The columns of a crop that identify its frame."""


def read_source_frame(crop: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Read the frame that a crop was cut from: RGB uint8 (height, width, 3).

    A crop (`ORIGIN_COLUMNS`) has an id that depends on its input's content, so a changed file is detected. No message
    has a path of this machine.

    Raises:
        BadInput: `moved`, `changed`, or as `read_member`, `decode_image`, `probe_video` and `read_frame`.
    """
    source, name = Path(crop["source"]), str(crop["input"])
    if crop["frame"] == STILL:
        return call(_read_still, {column: crop[column] for column in ORIGIN_COLUMNS}, name=name)
    path = _find_file(source, name)
    try:
        state = path.stat()
    except OSError as error:
        raise BadInput("unreadable", f"{name}: {error.strerror or error}") from None
    info = _probe_cached(path, state.st_size, state.st_mtime_ns)
    _require_same(info.digest, name, crop)
    return call(read_frame, path, info, int(crop["frame"]), name=name, seconds=FRAME_SECONDS)


def _read_still(crop: Mapping[str, Any]) -> NDArray[np.uint8]:
    name = str(crop["input"])
    try:
        data = read_member(_locate(Path(crop["source"]), name))
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "the archive is damaged"
        raise BadInput("unreadable", f"{name}: {reason}") from None
    _require_same(hashlib.sha256(data).hexdigest(), name, crop)
    return decode_image(data)


@lru_cache(maxsize=32)
def _probe_cached(path: Path, _size: int, _modified: int) -> VideoInfo:
    """Probe a video once as long as it does not change."""
    return probe_in_child(path, path.name)


def _require_same(digest: str, name: str, crop: Mapping[str, Any]) -> None:
    if crop_id(name, digest, int(crop["frame"]), [crop[side] for side in "xywh"]) != crop["crop_id"]:
        raise BadInput("changed", f"{name} is no longer the file that was indexed; index its source again")


def _find_file(source: Path, name: str) -> Path:
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
                    return zip_locator(source, entry)
    else:
        return Locator("file", str(_find_file(source, name)))
    raise BadInput("moved", f"{name} is no longer in the archive that was indexed; index it again")
