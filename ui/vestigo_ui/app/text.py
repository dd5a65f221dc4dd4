"""How facts of the archive are put before people: times, distances, boxes in frames."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

BOX_COLOUR = (45, 212, 191)
MAX_FRAME_WIDTH = 1600
TILE = (256, 128)
"""Height and width of a picture in a grid."""
GROUND = 96
"""Grey around a picture in its tile, between the two themes."""


def utc(time: datetime) -> str:
    """Write a time of day in UTC, to the second; who shows it says that it is UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S}"


def moment(time: datetime | None, offset_s: float | None) -> str:
    """Say when: the time in UTC where it is known, else the place in the video, else nothing to say."""
    if time is not None:
        return f"{utc(time)} UTC"
    return f"{clock(offset_s)} into the video" if offset_s is not None else "time unknown"


def clock(seconds: float) -> str:
    """Write seconds as m:ss.t, or h:mm:ss.t from an hour on."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def tile(crop: NDArray[np.uint8], size: tuple[int, int] = TILE) -> NDArray[np.uint8]:
    """Return an RGB crop of any size as a tile of `size` (height, width), which it fills as far as its shape allows."""
    height, width = crop.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.full((*size, 3), GROUND, dtype=np.uint8)
    top, left = (size[0] - inner[1]) // 2, (size[1] - inner[0]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        crop, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return canvas


def fills(box: Sequence[float], size: tuple[int, int]) -> bool:
    """Say whether a box (x, y, w, h in pixels) is the whole frame of `size` (height, width)."""
    x, y, w, h = box
    height, width = size
    return x <= 0 and y <= 0 and w >= width and h >= height


def with_box(
    frame: NDArray[np.uint8], box: Sequence[float], others: Sequence[Sequence[float]] = ()
) -> NDArray[np.uint8]:
    """Return a copy of an RGB uint8 frame, at most 1600 pixels wide, with a box (x, y, w, h in pixels) drawn.

    `others` are drawn as well, thin.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, MAX_FRAME_WIDTH / width)
    if scale < 1.0:
        frame = np.asarray(
            cv2.resize(frame, (MAX_FRAME_WIDTH, round(height * scale)), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    drawn = frame.copy()
    thickness = max(2, round(frame.shape[0] / 240))
    for other in others:
        cv2.rectangle(drawn, *_corners(other, scale), BOX_COLOUR, max(1, thickness // 2))
    cv2.rectangle(drawn, *_corners(box, scale), (0, 0, 0), thickness + 2)
    cv2.rectangle(drawn, *_corners(box, scale), BOX_COLOUR, thickness)
    return drawn


def _corners(box: Sequence[float], scale: float) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y, w, h = (value * scale for value in box)
    return (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)


MARKDOWN = frozenset("\\`*_{}[]<>#|~$:")


def plain(text: str) -> str:
    """Return text for where Markdown is read, so that it shows as it was written."""
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in text)


def counted(number: int, what: str) -> str:
    """Return how many there are of something: `1 crop`, `2,000 crops`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
