"""Decoding and encoding of still images: RGB uint8 arrays on our side of the seam, files and bytes on the other."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vestigo_models.errors import BadInput

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_PIXELS = 100_000_000
"""A larger image is refused from its header, before a byte of pixels is decoded (300 MB as RGB)."""


def image_size(data: bytes) -> tuple[int, int]:
    """Return (height, width) in pixels from the header alone.

    Raises:
        BadInput: `empty-file`, `not-an-image`.
    """
    if not data:
        raise BadInput("empty-file", "the file holds no byte")
    try:
        # A bomb is judged by our own bound, in `decode_image`; Pillow's warning would only repeat it.
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        raise BadInput("too-large", f"the header declares more than {MAX_PIXELS:,} pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise BadInput("not-an-image", "the bytes are in no known image format") from None
    return height, width


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an encoded image to RGB, shape (height, width, 3), uint8.

    Raises:
        BadInput: `empty-file`, `not-an-image`, `too-large`, `truncated`.
    """
    height, width = image_size(data)
    if height * width > max_pixels:
        raise BadInput("too-large", f"{width}x{height} pixels, more than {max_pixels:,}; scale it down")
    bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BadInput("truncated", f"the header says {width}x{height} pixels but they cannot be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read an image file to RGB, shape (height, width, 3), uint8; errors as in `decode_image`, naming the file."""
    try:
        return decode_image(path.read_bytes(), max_pixels=max_pixels)
    except BadInput as error:
        raise BadInput(error.reason, f"{path}: {error.detail}") from None
    except OSError as error:
        raise BadInput("unreadable", f"{path}: {error.strerror or error}") from None


def encode_jpeg(rgb: NDArray[np.uint8], *, quality: int = 92) -> bytes:
    """Encode an RGB uint8 array of shape (height, width, 3) as JPEG."""
    done, buffer = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an array of shape {rgb.shape}")
    return bytes(buffer.tobytes())


def shrink(rgb: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Return `rgb` scaled down to at most `height` pixels of height, its aspect kept; smaller images as they are."""
    if rgb.shape[0] <= height:
        return rgb
    size = (max(1, round(rgb.shape[1] * height / rgb.shape[0])), height)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
