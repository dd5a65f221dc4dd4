"""From crops to network input: the one place where pixels are resized and normalised."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize(crop: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB uint8 crop of any size to (height, width) pixels, without keeping its aspect.

    Pixels are averaged when the crop shrinks (INTER_AREA) and interpolated when it grows (INTER_LINEAR).
    """
    height, width = size
    if crop.shape[:2] == (height, width):
        return crop
    shrinks = crop.shape[0] * crop.shape[1] > height * width
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def stack(crops: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize crops and stack them: B x height x width x 3, uint8."""
    return np.stack([resize(crop, size) for crop in crops])


def normalise(
    batch: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
) -> Tensor:
    """Turn B x H x W x 3 RGB uint8 into B x 3 x H x W float32 on `device`, channels last in memory.

    `mean` and `std` are fractions of full scale, in the order R, G, B.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(device, non_blocking=True)
    centre = torch.tensor(mean, device=device) * 255
    scale = torch.tensor(std, device=device) * 255
    # A permuted B x H x W x 3 array is what torch calls channels last: no copy is needed.
    return ((pixels.float() - centre) / scale).permute(0, 3, 1, 2)
