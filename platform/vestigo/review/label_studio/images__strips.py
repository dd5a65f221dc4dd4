"""The picture of a task: its best crops beside each other, in the order in which they were seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.store.open import Store
from vestigo.store.review.records import LabelTask
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image, encode_jpeg

SHOWN = 6
"""Crops on a strip, the best of the task."""
HEIGHT, GAP, PAPER = 256, 6, 255
"""Pixels: how high a crop is shown, and what lies between two; grey of the paper."""


def strip(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put crops (RGB uint8 h x w x 3, at least one) beside each other, each `HEIGHT` high."""
    gap = np.full((HEIGHT, GAP, 3), PAPER, dtype=np.uint8)
    parts: list[NDArray[np.uint8]] = [gap]
    for image in images:
        width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
        shape = cv2.INTER_AREA if image.shape[0] > HEIGHT else cv2.INTER_CUBIC
        parts += [np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=shape), dtype=np.uint8), gap]
    return np.concatenate(parts, axis=1)


def task_pictures(store: Store, tasks: Sequence[LabelTask]) -> list[bytes]:
    """JPEG strips of tasks; all their crops are looked up at once, memory is that of their images.

    Raises StoreError where a crop is no longer in the store.
    """
    shown = [task.crops[:SHOWN] for task in tasks]
    wanted = list(dict.fromkeys(crop for crops in shown for crop in crops))
    rows = {row["crop_id"]: row for row in store.crops(wanted, ["image", "frame", "input"])}
    return [encode_jpeg(strip([_image(rows[crop]) for crop in _in_order(crops, rows)])) for crops in shown]


def _in_order(crops: Sequence[str], rows: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(crops, key=lambda crop: (rows[crop]["frame"], rows[crop]["input"], crop))


def _image(row: dict[str, Any]) -> NDArray[np.uint8]:
    try:
        return decode_image(row["image"])
    except BadInput:
        return np.full((HEIGHT, HEIGHT // 2, 3), 128, dtype=np.uint8)
