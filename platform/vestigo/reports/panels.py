"""Images of label maps: regions overlaid on a crop, and several maps of one crop side by side."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vestigo_models.schemas.regions import REGIONS, RegionSchema

OPACITY = 0.6
"""Opacity of a region's colour."""
PANEL_HEIGHT = 256
"""Height of each image of a panel in pixels."""
CAPTION, MARGIN = 18, 6
"""Pixels of the text line above an image, and of the space around it."""
PAPER, INK = (255, 255, 255), (40, 40, 40)

RGB = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Layer = tuple[str, Labels, RegionSchema]
"""Caption of a label map, its ids (any size), and their meaning."""


def region_overlay(image: RGB, labels: Labels, schema: RegionSchema = REGIONS) -> RGB:
    """Return a crop (RGB uint8, h x w x 3) with the colours of regions over it; the background is unchanged.

    `labels` are uint8 region ids of any size, enlarged cell by cell. Ids beyond the schema reuse its colours, from the
    second one on.
    """
    ids = cells_enlarged(labels, (image.shape[0], image.shape[1]))
    colours = np.array([region.colour_rgb for region in schema.regions], dtype=np.float32)
    painted = colours[np.where(ids == 0, 0, 1 + (ids.astype(np.int64) - 1) % (len(colours) - 1))]
    mixed = np.where(ids[..., None] > 0, OPACITY * painted + (1 - OPACITY) * image, image)
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def cells_enlarged(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize a label map to h x w: every pixel takes the label of the cell that contains its centre."""
    rows, columns = (
        ((np.arange(pixels) + 0.5) * cells / pixels).astype(np.int64)
        for pixels, cells in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def labelled_crops(image: RGB, layers: Sequence[Layer], height: int) -> list[tuple[str, RGB]]:
    """Return captions and images of one height: the crop, then each label map overlaid on it."""
    size = (max(1, round(image.shape[1] * height / image.shape[0])), height)
    crop = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    overlays = ((caption, region_overlay(crop, labels, schema)) for caption, labels, schema in layers)
    return [("crop", crop), *overlays]


def panel(image: RGB, layers: Sequence[tuple[str, Labels]], schema: RegionSchema = REGIONS) -> RGB:
    """Return one image of a crop and its label maps, each overlaid on the crop with a caption above it.

    Crop and labels are those of `region_overlay`; every part is `PANEL_HEIGHT` pixels high.
    """
    parts = labelled_crops(image, [(caption, labels, schema) for caption, labels in layers], PANEL_HEIGHT)
    font = ImageFont.load_default(12)
    # A narrow crop is narrower than its caption.
    column = max([parts[0][1].shape[1], *(int(font.getlength(caption)) + 1 for caption, _ in parts)])
    size = (MARGIN + len(parts) * (column + MARGIN), MARGIN + CAPTION + PANEL_HEIGHT + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (caption, part) in enumerate(parts):
        left = MARGIN + place * (column + MARGIN)
        draw.text((left, MARGIN), caption, fill=INK, font=font)
        sheet.paste(Image.fromarray(part), (left, MARGIN + CAPTION))
    return np.asarray(sheet, dtype=np.uint8)
