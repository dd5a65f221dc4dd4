"""Preprocessing: from crops to the input of a network."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vestigo_models.arrays import UInt8Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize(crop: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize an RGB crop of any size to (height, width) pixels, without keeping its aspect.

    Pixels are averaged when the crop shrinks (INTER_AREA) and interpolated when it grows (INTER_LINEAR).
    """
    height, width = size
    if crop.shape[:2] == (height, width):
        return crop
    shrinks = crop.shape[0] * crop.shape[1] > height * width
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def padded_input(
    crops: Sequence[UInt8Array],
    size: tuple[int, int],
    count: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Resize and normalise at most `count` crops, padded with black images: count x 3 x H x W, see `normalise`."""
    pixels = np.zeros((count, *size, 3), dtype=np.uint8)
    for row, crop in enumerate(crops):
        pixels[row] = resize(crop, size)
    return normalise(pixels, mean, std, device)


def normalise(
    batch: UInt8Array, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
) -> Tensor:
    """Normalise RGB images: B x H x W x 3 uint8 to B x 3 x H x W float32 on `device`, channels last in memory.

    `mean` and `std` are fractions of full scale for R, G, B.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(device, non_blocking=True)
    centre = torch.tensor(mean, device=device) * 255
    scale = torch.tensor(std, device=device) * 255
    # A permuted B x H x W x 3 array is channels last: no copy is needed.
    return ((pixels.float() - centre) / scale).permute(0, 3, 1, 2)
