"""Making faces and heads unrecognisable in pictures that are shown: coarse mosaics, from which nothing comes back."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.parsing import Parser
from vestigo_models.parsing.merge import merge_labels
from vestigo_models.schemas.regions import HEAD

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

CELLS = 4
"""A head is shown as at most so many cells across."""
MARGIN = 0.2
"""By so much of its size a head's box is enlarged on each side: regions end inside chins and hair."""
UNFOUND = 0.22
"""The share of a crop's height, from the top, that is hidden where no head was found."""
SMALLEST = 0.08
"""A head lower than this share of the crop is no head that a parser could have seen whole."""


def head_box(crop: Image, parser: Parser, name: str = "") -> Box:
    """Where the head is in an RGB crop (h x w x 3), enlarged by a margin; the top of the crop where none is found.

    Raises:
        BadInput: the parser cannot parse the crop.
    """
    height, width = crop.shape[:2]
    head = merge_labels(parser.parse(crop, name).labels, parser.label_set) == HEAD
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    if not len(rows) or rows[-1] + 1 - rows[0] < SMALLEST * height:
        return 0, 0, width, max(1, round(UNFOUND * height))
    x, y, w, h = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    left, top = max(0, round(x - MARGIN * w)), max(0, round(y - MARGIN * h))
    right, bottom = min(width, round(x + (1 + MARGIN) * w)), min(height, round(y + (1 + MARGIN) * h))
    return left, top, right - left, bottom - top


def with_mosaic(image: Image, boxes: Iterable[Box]) -> Image:
    """A copy of an RGB image in which every box, cut to the image, is a mosaic of at most `CELLS` cells across."""
    shown = image.copy()
    height, width = image.shape[:2]
    for x, y, w, h in boxes:
        left, top, right, bottom = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
        if left >= right or top >= bottom:
            continue
        inside = shown[top:bottom, left:right]
        across = min(CELLS, right - left)
        down = max(1, min(bottom - top, round(across * (bottom - top) / (right - left))))
        coarse = cv2.resize(inside, (across, min(down, CELLS)), interpolation=cv2.INTER_AREA)
        inside[:] = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return shown


def hide_head(crop: Image, parser: Parser) -> Image:
    """A copy of an RGB crop whose head cannot be recognised. Errors as in `head_box`."""
    return with_mosaic(crop, [head_box(crop, parser)])


def hide_heads(frame: Image, people: Iterable[Box], parser: Parser) -> Image:
    """A copy of a frame in which the heads of `people` are mosaics and all around them is one, too coarse for a face.

    Nobody knows everybody in a frame: whoever was not detected stands in what is around.

    Errors as in `head_box`.
    """
    height, width = frame.shape[:2]
    cell = max(8, height // 48)
    coarse = cv2.resize(frame, (max(1, width // cell), max(1, height // cell)), interpolation=cv2.INTER_AREA)
    shown = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    for x, y, w, h in people:
        left, top, right, bottom = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
        if left < right and top < bottom:
            shown[top:bottom, left:right] = hide_head(frame[top:bottom, left:right], parser)
    return shown
