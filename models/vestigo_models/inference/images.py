"""Decoding and encoding of still images; arrays are RGB uint8, (height, width, 3)."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_PIXELS = 100_000_000
"""Larger images are refused by their header, before pixels are decoded (300 MB as RGB)."""

_LEFTOVERS = frozenset({".ds_store", ".localized", "desktop.ini", "ehthumbs.db", "thumbs.db"})
_LEFTOVER_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})


def is_leftover(name: str) -> bool:
    """Whether a path names what systems and drives add to the files of users: `._*`, `__MACOSX/`, `Thumbs.db`."""
    path = PurePosixPath(name.lower())
    in_folder = not _LEFTOVER_FOLDERS.isdisjoint(path.parts)
    return in_folder or path.name.startswith("._") or path.name in _LEFTOVERS


def find_images(folder: Path) -> list[Path]:
    """Return the image files in and below a folder in order, without leftovers."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path for path in paths if not is_leftover(path.relative_to(folder).as_posix()))


def image_size(data: bytes) -> tuple[int, int]:
    """Return height and width in pixels from the header alone.

    Raises:
        BadInput: `empty-file`, `not-an-image`, `too-large`.
    """
    if not data:
        raise BadInput("empty-file", "the file holds no byte")
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        raise BadInput("too-large", f"the header declares more than {MAX_PIXELS:,} pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise BadInput("not-an-image", "the bytes are in no known image format") from None
    return height, width


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode an encoded image.

    Raises:
        BadInput: `empty-file`, `not-an-image`, `too-large`, `truncated`.
    """
    height, width = image_size(data)
    if height * width > max_pixels:
        raise BadInput("too-large", f"{width}x{height} pixels, more than {max_pixels:,}; scale it down")
    bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BadInput("truncated", f"the header states {width}x{height} pixels but they cannot be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Read an image file.

    Raises:
        BadInput: As `decode_image`, or `unreadable`; the error names the file.
    """
    try:
        return decode_image(path.read_bytes(), max_pixels=max_pixels)
    except BadInput as error:
        raise BadInput(error.reason, f"{path}: {error.detail}") from None
    except OSError as error:
        raise BadInput("unreadable", f"{path}: {error.strerror or error}") from None


def encode_jpeg(rgb: UInt8Array, *, quality: int = 92) -> bytes:
    """Encode an image as JPEG.

    Raises:
        ValueError: If the array is not an image.
    """
    encoded, buffer = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"cannot encode an array of shape {rgb.shape}")
    return bytes(buffer.tobytes())


def shrink(rgb: UInt8Array, height: int) -> UInt8Array:
    """Scale an image down to at most `height` pixels of height, keeping its aspect; smaller images are unchanged."""
    if rgb.shape[0] <= height:
        return rgb
    size = (max(1, round(rgb.shape[1] * height / rgb.shape[0])), height)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
