"""Anonymisation: faces and heads in displayed images become unrecognisable.

Only what a parser confidently labels as body stays sharp; all other pixels become too coarse for a face. So the heads
of bystanders and of undetected people are hidden too, and a parser that finds no head hides more, not less. On rendered
crops 0.3 % of the pixels of heads stay sharp, and 10 % of those of a second person whose head the parser takes for the
first person's body.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, UInt8Array
from vestigo_models.errors import BadInput
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.schemas.regions import BACKGROUND, HEAD

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

CELLS = 4  # largest number of coarse cells across a head
CROP_ROWS, FRAME_ROWS = 24, 32
"""Rows of coarse cells in a crop and a frame: a head is a seventh of a person, who fills a crop and rarely a frame."""
LEAST_CELL = 2
UPRIGHT = 1.4
"""Smallest ratio of height and width of a crop that shows a whole person; in others the head may be anywhere."""
PARTIAL_ROWS = 6  # rows of coarse cells in a crop that a head may fill
HEAD_PROBABILITY, BODY_PROBABILITY = 0.1, 0.35  # smallest probabilities at which a cell of the parser is head, and body
LEAST_HEAD = 0.06  # smallest height of a head, as a share of the crop's
HEADLESS_TOP = 0.3  # share of the crop's height, from the top, without sharp body if no head is found
MARGIN = 0.2  # margin around a head, as a share of its size


@dataclass(frozen=True, kw_only=True, eq=False)
class _CropMasks:
    """What may be shown of a crop of h x w pixels: `body` sharp, `head` hidden; `cell` is the size of coarse cells."""

    body: BoolArray
    head: BoolArray
    cell: int


def anonymize_crops(crops: Sequence[UInt8Array], parser: Parser) -> list[UInt8Array]:
    """Return copies of RGB crops, (h, w, 3) each, on which people cannot be recognised by face or head."""
    masks = _mask_crops(crops, parser)
    return [_coarsen(crop, mask.body & ~mask.head, mask.cell) for crop, mask in zip(crops, masks, strict=True)]


def anonymize_frame(frame: UInt8Array, people: Iterable[Box], parser: Parser) -> UInt8Array:
    """Return a copy of an RGB frame with sharp bodies in the boxes `people`; heads and everything else is coarse."""
    height, width = frame.shape[:2]
    inside = [(max(0, x), max(0, y), min(width, x + w), min(height, y + h)) for x, y, w, h in people]
    places = [
        (slice(top, bottom), slice(left, right)) for left, top, right, bottom in inside if left < right and top < bottom
    ]
    body, head = np.zeros((height, width), dtype=np.bool_), np.zeros((height, width), dtype=np.bool_)
    cell = max(LEAST_CELL, round(height / FRAME_ROWS))
    masks = _mask_crops([np.ascontiguousarray(frame[place]) for place in places], parser)
    # A head also hides the body of a person behind it.
    for place, mask in zip(places, masks, strict=True):
        body[place] |= mask.body
        head[place] |= mask.head
        cell = max(cell, mask.cell)
    return _coarsen(frame, body & ~head, cell)


def _coarsen(image: UInt8Array, sharp: BoolArray, cell: int) -> UInt8Array:
    """Replace all pixels that are not `sharp` by the means of cells of `cell` pixels."""
    height, width = image.shape[:2]
    size = max(1, round(width / cell)), max(1, round(height / cell))
    coarse = cv2.resize(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (width, height))
    return np.where(sharp[..., None], image, np.asarray(coarse, dtype=np.uint8))


def _mask_crops(crops: Sequence[UInt8Array], parser: Parser) -> list[_CropMasks]:
    results = parser.parse_many(crops, [""] * len(crops))
    return [_mask_crop(result, (crop.shape[0], crop.shape[1])) for result, crop in zip(results, crops, strict=True)]


def _mask_crop(parsed: Parsed | BadInput, size: tuple[int, int]) -> _CropMasks:
    height, width = size
    if isinstance(parsed, BadInput) or height < UPRIGHT * width:
        nothing = np.zeros(size, dtype=np.bool_)
        return _CropMasks(body=nothing, head=nothing, cell=max(LEAST_CELL, round(min(size) / PARTIAL_ROWS)))
    heads, hidden, largest = _find_heads(parsed.regions[HEAD])
    rows, columns = heads.shape
    below = (region for region in range(len(parsed.regions)) if region not in (BACKGROUND, HEAD))
    body = sum(parsed.regions[region] for region in below) >= BODY_PROBABILITY
    body = _dilate(body & ~heads, 1, 2)
    cell = max(LEAST_CELL, round(height / CROP_ROWS))
    if largest is None:
        body[: int(np.ceil(HEADLESS_TOP * rows))] = False
    else:
        top, across, down = largest
        # Other heads may be next to this one; shoulders begin below its middle.
        body[: top + (down + 1) // 2] = False
        cell = max(cell, int(np.ceil(max(across * width / columns, down * height / rows) / CELLS)))
    return _CropMasks(body=_enlarge(body, size), head=_enlarge(hidden, size), cell=cell)


def _find_heads(probabilities: Float32Array) -> tuple[BoolArray, BoolArray, tuple[int, int, int] | None]:
    """Return cells of heads, the same with a margin, and top, width and height (cells) of the largest head or None."""
    heads = probabilities >= HEAD_PROBABILITY
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(heads.astype(np.uint8), connectivity=8)
    hidden, largest, most = heads.copy(), None, 0
    for index in range(1, count):
        _, top, across, down, cells = (int(value) for value in boxes[index])
        hidden |= _dilate(labels == index, int(np.ceil(MARGIN * across)), int(np.ceil(MARGIN * down)))
        if down >= LEAST_HEAD * len(heads) and cells > most:
            largest, most = (top, across, down), cells
    return heads, hidden, largest


def _dilate(mask: BoolArray, across: int, down: int) -> BoolArray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * across + 1, 2 * down + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _enlarge(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    return np.asarray(cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0)
