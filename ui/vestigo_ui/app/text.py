"""Formats of times and counts, and images with boxes, as pages show them."""

import re
from collections.abc import Sequence
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.names import escape_controls
from vestigo_models.schemas.attributes import AttributeSchema

BOX_COLOUR = (45, 212, 191)
MAX_FRAME_WIDTH = 1600
TILE = (256, 128)
"""Height and width of a tile of a contact sheet in pixels."""
GROUND = 96
"""Grey around a crop in its tile, visible on both themes."""
_MARKDOWN = frozenset("\\`*_{}[]<>#|~$:&")
_BLOCK = re.compile(r"^(\s*(?=[-+=])|\s*\d+(?=[.)]))")
"""What begins a list or underlines a heading."""
_ADDRESS = re.compile(r"(\bhttps?(?=://)|\bwww(?=\.)|@(?=[\w-]+\.))", re.IGNORECASE)
"""What Markdown makes a link of, whatever is escaped."""
_JOINER = "\N{WORD JOINER}"


def format_utc(time: datetime) -> str:
    """Return a time in UTC to the second, without the zone."""
    return f"{time:%Y-%m-%d %H:%M:%S}"


def format_moment(time: datetime | None, offset_s: float | None, *, zone: bool = True) -> str:
    """Return a time in UTC with its `zone`, or `offset_s` seconds from the start of a video if the time is unknown."""
    if time is not None:
        return f"{format_utc(time)} UTC" if zone else format_utc(time)
    return f"{format_duration(offset_s)} into the video" if offset_s is not None else "time unknown"


def format_duration(seconds: float) -> str:
    """Return seconds as m:ss.t, or as h:mm:ss.t from one hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def format_span(seconds: float) -> str:
    """Return seconds in the two largest units, such as `2 h 2 min`."""
    if seconds < 60:
        return f"{seconds:g} s"
    rest = round(seconds)
    units: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or units:
            units.append(f"{count} {name}" if count else "")
    return " ".join(filter(None, units[:2]))


def count_text(number: int, noun: str) -> str:
    """Return a count with its noun, such as `1 crop` or `2,000 crops`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def attribute_titles(schema: AttributeSchema) -> dict[str, str]:
    """Return the titles of attributes by name."""
    return {attribute.name: attribute.title.capitalize() for attribute in schema.attributes}


def escape_md(text: str, *, keep_code: bool = False) -> str:
    """Return text that Markdown shows as it is, with `keep_code` but for spans of code such as commands."""
    if keep_code:
        parts = re.split(r"(`[^`\n]+`)", text)
        return "".join(part if place % 2 else escape_md(part) for place, part in enumerate(parts))
    text = _ADDRESS.sub(rf"\1{_JOINER}", escape_controls(text, one_line=True))
    escaped = "".join(f"\\{sign}" if sign in _MARKDOWN else sign for sign in text)
    return _BLOCK.sub(r"\1\\", escaped)


def fit_tile(crop: NDArray[np.uint8], size: tuple[int, int] = TILE) -> NDArray[np.uint8]:
    """Return an RGB crop of any size in the middle of a grey tile of `size` (height, width)."""
    height, width = crop.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.full((*size, 3), GROUND, dtype=np.uint8)
    top, left = (size[0] - inner[1]) // 2, (size[1] - inner[0]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        crop, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return canvas


def covers_frame(box: Sequence[float], size: tuple[int, int]) -> bool:
    """Return whether a box (x, y, w, h in pixels) is a whole frame of `size` (height, width)."""
    x, y, w, h = box
    height, width = size
    return x <= 0 and y <= 0 and w >= width and h >= height


def draw_boxes(
    frame: NDArray[np.uint8], box: Sequence[float], others: Sequence[Sequence[float]] = ()
) -> NDArray[np.uint8]:
    """Return a copy of an RGB frame, at most 1600 pixels wide, with a marked box and thin `others` (x, y, w, h)."""
    height, width = frame.shape[:2]
    scale = min(1.0, MAX_FRAME_WIDTH / width)
    if scale < 1.0:
        frame = np.asarray(
            cv2.resize(frame, (MAX_FRAME_WIDTH, round(height * scale)), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    canvas = frame.copy()
    thickness = max(2, round(frame.shape[0] / 240))
    for other in others:
        cv2.rectangle(canvas, *_corners(other, scale), BOX_COLOUR, max(1, thickness // 2))
    cv2.rectangle(canvas, *_corners(box, scale), (0, 0, 0), thickness + 2)
    cv2.rectangle(canvas, *_corners(box, scale), BOX_COLOUR, thickness)
    return canvas


def _corners(box: Sequence[float], scale: float) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y, w, h = (value * scale for value in box)
    return (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)
