"""Making faces and heads unrecognisable in pictures that are shown.

Not the head is taken out: what a parser is sure of to be somebody's body is left in, and all else becomes too coarse
for a face. So the heads of those who stand beside, and of whoever nobody detected, go as well, and a parser that finds
no head hides more, not less. On rendered crops 0.3 % of the pixels of heads stay, on crops that somebody else walks
into 10 % of the other's, whom a parser may take for the person's own body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import BadInput
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.schemas.regions import BACKGROUND, HEAD

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

CELLS = 4
"""A head is shown as about so many cells across, and no more."""
CROP_ROWS, FRAME_ROWS = 24, 32
"""Rows of cells in what is coarse: a head is a seventh of a person, who fills a crop, and hardly ever a frame."""
LEAST_CELL = 2
UPRIGHT = 1.4
"""A crop less than so many times as high as it is wide shows no whole person: where the head is, is anybody's guess."""
PARTIAL_ROWS = 6
"""Rows of cells in such a crop, whose head may fill it."""
HEAD_SURE, BODY_SURE = 0.1, 0.35
"""Probabilities from which on a cell of the parser's is taken for head, and for body."""
LEAST_HEAD = 0.06
"""A head lower than this share of a crop is none."""
UNFOUND = 0.3
"""The share of a crop's height, from the top, where no body is shown when no head was found."""
AROUND = 0.2
"""By so much of its size a head is enlarged on each side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What may be shown of one crop (h x w): its body, but nobody's head; `cell` is how coarse the rest must be."""

    body: Mask
    head: Mask
    cell: int


def hide_head(crop: Image, parser: Parser) -> Image:
    """A copy of an RGB crop (h x w x 3) on which nobody can be recognised by their face or head."""
    return hide_each([crop], parser)[0]


def hide_each(crops: Sequence[Image], parser: Parser) -> list[Image]:
    """The same of several crops, parsed together where the parser knows how to."""
    return [
        _shown(crop, seen.body & ~seen.head, seen.cell) for crop, seen in zip(crops, _look(crops, parser), strict=True)
    ]


def hide_heads(frame: Image, people: Iterable[Box], parser: Parser) -> Image:
    """A copy of an RGB frame that shows the bodies of `people`; all around them and their heads are coarse."""
    height, width = frame.shape[:2]
    inside = [(max(0, x), max(0, y), min(width, x + w), min(height, y + h)) for x, y, w, h in people]
    places = [
        (slice(top, bottom), slice(left, right)) for left, top, right, bottom in inside if left < right and top < bottom
    ]
    body, head = np.zeros((height, width), dtype=np.bool_), np.zeros((height, width), dtype=np.bool_)
    cell = max(LEAST_CELL, round(height / FRAME_ROWS))
    # Whoever stands behind somebody's head shows no part of it.
    for place, seen in zip(
        places, _look([np.ascontiguousarray(frame[place]) for place in places], parser), strict=True
    ):
        body[place] |= seen.body
        head[place] |= seen.head
        cell = max(cell, seen.cell)
    return _shown(frame, body & ~head, cell)


def _shown(image: Image, sharp: Mask, cell: int) -> Image:
    height, width = image.shape[:2]
    few = max(1, round(width / cell)), max(1, round(height / cell))
    coarse = cv2.resize(cv2.resize(image, few, interpolation=cv2.INTER_AREA), (width, height))
    return np.where(sharp[..., None], image, np.asarray(coarse, dtype=np.uint8))


def _look(crops: Sequence[Image], parser: Parser) -> list[_Seen]:
    parsed = parser.parse_many(crops, [""] * len(crops))
    return [_seen(one, (crop.shape[0], crop.shape[1])) for one, crop in zip(parsed, crops, strict=True)]


def _seen(parsed: Parsed | BadInput, size: tuple[int, int]) -> _Seen:
    height, width = size
    if isinstance(parsed, BadInput) or height < UPRIGHT * width:
        nothing = np.zeros(size, dtype=np.bool_)
        return _Seen(body=nothing, head=nothing, cell=max(LEAST_CELL, round(min(size) / PARTIAL_ROWS)))
    heads, around, largest = _heads(parsed.regions[HEAD])
    rows, columns = heads.shape
    below = (region for region in range(len(parsed.regions)) if region not in (BACKGROUND, HEAD))
    body = sum(parsed.regions[region] for region in below) >= BODY_SURE
    body = _grown(body & ~heads, 1, 2)
    cell = max(LEAST_CELL, round(height / CROP_ROWS))
    if largest is None:
        body[: int(np.ceil(UNFOUND * rows))] = False
    else:
        top, across, down = largest
        # Beside a head there may be others; shoulders begin below its middle.
        body[: top + (down + 1) // 2] = False
        cell = max(cell, int(np.ceil(max(across * width / columns, down * height / rows) / CELLS)))
    return _Seen(body=_at(body, size), head=_at(around, size), cell=cell)


def _heads(probabilities: NDArray[np.float32]) -> tuple[Mask, Mask, tuple[int, int, int] | None]:
    """The cells of heads, the same with what is around each, and of the largest its top, width and height in cells,
    None where none is large enough to be one."""
    found = probabilities >= HEAD_SURE
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    around, largest, most = found.copy(), None, 0
    for place in range(1, count):
        _, top, across, down, cells = (int(value) for value in boxes[place])
        around |= _grown(labels == place, int(np.ceil(AROUND * across)), int(np.ceil(AROUND * down)))
        if down >= LEAST_HEAD * len(found) and cells > most:
            largest, most = (top, across, down), cells
    return found, around, largest


def _grown(mask: Mask, across: int, down: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * across + 1, 2 * down + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _at(mask: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0)
