"""Names that follow from content alone, so that every run of an archive gives the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STILL = -1
"""The frame number of a still image."""


def crop_id(name: str, digest: str, frame: int, box: NDArray[np.floating] | Sequence[float]) -> str:
    """Id of one person crop, and of the detection it was cut from: 20 hex digits.

    name: the input's name inside its source; digest: SHA-256 (hex) of the input's content; frame: decode index, or
    `STILL`; box: x, y, w, h in pixels, taken as float32.
    """
    corners = np.asarray(box, dtype="<f4").reshape(4)
    text = f"{name}\0{digest}\0{frame}\0"
    return hashlib.sha256(text.encode() + corners.tobytes()).hexdigest()[:20]


def whole_image_id(name: str, data: bytes, size: tuple[int, int]) -> str:
    """Id of the crop that an encoded image of `size` (height, width) is in a store that took it for one as a whole."""
    return crop_id(name, hashlib.sha256(data).hexdigest(), STILL, (0, 0, size[1], size[0]))


def tracklet_id(digest: str, first_detection: str) -> str:
    """Id of a tracklet: 20 hex digits from the video's digest and the id of the first detection."""
    return hashlib.sha256(f"{digest}\0{first_detection}".encode()).hexdigest()[:20]
