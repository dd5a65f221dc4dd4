"""Pictures of label maps: regions laid over a crop in their colours, and several maps of one crop side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vestigo_models.schemas.regions import REGIONS, RegionSchema

OPACITY = 0.6
"""Of a region's colour: the crop still shows through."""
PANEL_HEIGHT = 256
"""Pixels that each picture of a panel is high."""
CAPTION, MARGIN = 18, 6
"""Pixels: the line of text above a picture, and the space around it."""
PAPER, INK = (255, 255, 255), (40, 40, 40)

RGB = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def region_overlay(image: RGB, labels: Labels, schema: RegionSchema = REGIONS) -> RGB:
    """Lay the colours of regions over a crop: RGB uint8 h x w x 3; the background stays as it is.

    image: RGB uint8 h x w x 3; labels: uint8 of any size, enlarged cell by cell to the image's. Ids beyond the schema
    take its colours again, from the second one on.
    """
    ids = cells_enlarged(labels, (image.shape[0], image.shape[1]))
    colours = np.array([region.colour_rgb for region in schema.regions], dtype=np.float32)
    painted = colours[np.where(ids == 0, 0, 1 + (ids.astype(np.int64) - 1) % (len(colours) - 1))]
    mixed = np.where(ids[..., None] > 0, OPACITY * painted + (1 - OPACITY) * image, image)
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def cells_enlarged(labels: Labels, size: tuple[int, int]) -> Labels:
    """A label map at another size (h x w): every pixel takes the label of the cell that its centre lies in."""
    rows, columns = (
        ((np.arange(pixels) + 0.5) * cells / pixels).astype(np.int64)
        for pixels, cells in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def panel(image: RGB, layers: Sequence[tuple[str, Labels]], schema: RegionSchema = REGIONS) -> RGB:
    """One picture of a crop and of its label maps: the crop as it is, then under its caption each map laid over it.

    image: RGB uint8 h x w x 3; labels as in `region_overlay`. Every picture is `PANEL_HEIGHT` high.
    """
    width = max(1, round(image.shape[1] * PANEL_HEIGHT / image.shape[0]))
    large = np.asarray(cv2.resize(image, (width, PANEL_HEIGHT), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    pictures = [("crop", large), *((caption, region_overlay(large, labels, schema)) for caption, labels in layers)]
    font = ImageFont.load_default(12)
    # A narrow crop is narrower than its caption.
    column = max([width, *(int(font.getlength(caption)) + 1 for caption, _ in pictures)])
    size = (MARGIN + len(pictures) * (column + MARGIN), MARGIN + CAPTION + PANEL_HEIGHT + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (caption, picture) in enumerate(pictures):
        left = MARGIN + place * (column + MARGIN)
        draw.text((left, MARGIN), caption, fill=INK, font=font)
        sheet.paste(Image.fromarray(picture), (left, MARGIN + CAPTION))
    return np.asarray(sheet, dtype=np.uint8)
