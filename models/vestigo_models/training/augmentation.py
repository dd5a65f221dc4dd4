"""Random changes to one training image and its label map; every choice comes from the generator that is handed in.

BoT's own are the flip, the padded crop and random erasing (specification, section 10). The others randomise the
camera (box, light, colour, distance, focus, sensor), for models that must work on footage they never saw.

A label map takes every step that moves or hides pixels, with the same numbers: what is padded or erased is background.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.inference.preprocessing import IMAGENET_MEAN
from vestigo_models.training.config import AugmentationConfig

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
ERASE_ATTEMPTS = 100


def augment(image: Image, config: AugmentationConfig, rng: np.random.Generator) -> Image:
    """Return a changed copy of an RGB uint8 image (H x W x 3) of the same size."""
    return augment_pair(image, None, config, rng)[0]


def augment_pair(
    image: Image, labels: Labels | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Image, Labels | None]:
    """Change an image and its label map (h x w uint8, H and W multiples of h and w) alike.

    The map is enlarged to the image, changed with it, and every cell is read at its middle (specification, section 10).
    A map changes nothing of what happens to the image.
    """
    height, width = image.shape[:2]
    full = None if labels is None else enlarged(labels, (height, width))
    image, full = zoom(image, full, config.zoom, rng)
    if rng.random() < config.flip_probability:
        image = np.ascontiguousarray(image[:, ::-1])
        full = None if full is None else np.ascontiguousarray(full[:, ::-1])
    image, full = pad_and_crop(image, full, config.pad, rng)
    image = recolour(image, config, rng)
    if rng.random() < config.shrink_probability:
        image = shrink(image, rng.uniform(config.shrink_factor, 1))
    if rng.random() < config.blur_probability:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.1, config.blur_sigma)), dtype=np.uint8)
    if rng.random() < config.noise_probability:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, config.noise_sigma))
        image = _to_uint8(image + noise)
    if rng.random() < config.jpeg_probability:
        image = compress(image, int(rng.integers(config.jpeg_quality, 96)))
    if rng.random() < config.erase_probability:
        image, full = erase(image, full, config, rng)
    if labels is None or full is None:
        return np.ascontiguousarray(image), None
    return np.ascontiguousarray(image), cells(full, labels.shape)


def enlarged(labels: Labels, size: tuple[int, int]) -> Labels:
    """An h x w label map at (H, W) pixels, each cell a block of equal labels.

    Raises ValueError where H and W are no multiples of h and w: cells would have no common size.
    """
    (rows, columns), (height, width) = labels.shape, size
    if height % rows or width % columns:
        raise ValueError(f"a map of {rows}x{columns} cells does not divide an image of {height}x{width} pixels")
    return np.repeat(np.repeat(labels, height // rows, axis=0), width // columns, axis=1)


def cells(full: Labels, shape: tuple[int, ...]) -> Labels:
    """The inverse of `enlarged`: each cell takes the label of the pixel at its middle."""
    y, x = full.shape[0] // shape[0], full.shape[1] // shape[1]
    return np.ascontiguousarray(full[y // 2 :: y, x // 2 :: x])


def zoom(image: Image, labels: Labels | None, amount: float, rng: np.random.Generator) -> tuple[Image, Labels | None]:
    """Move each side of the box in or out by up to the fraction `amount` of the side's length."""
    if not amount:
        return image, labels
    height, width = image.shape[:2]
    left, right, top, bottom = rng.uniform(-amount, amount, 4)
    x0, x1, y0, y1 = left * width, (1 + right) * width, top * height, (1 + bottom) * height
    matrix = np.array([[(x1 - x0) / width, 0, x0], [0, (y1 - y0) / height, y0]], dtype=np.float32)

    def warped(pixels: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    return warped(image, cv2.INTER_LINEAR), None if labels is None else warped(labels, cv2.INTER_NEAREST)


def pad_and_crop(
    image: Image, labels: Labels | None, pad: int, rng: np.random.Generator
) -> tuple[Image, Labels | None]:
    """Pad every side by `pad` black pixels and cut the original size out at a random place."""
    if not pad:
        return image, labels
    height, width = image.shape[:2]
    top, left = rng.integers(0, 2 * pad + 1, 2)

    def moved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        padded = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        return np.asarray(padded[top : top + height, left : left + width], dtype=np.uint8)

    return moved(image), None if labels is None else moved(labels)


def recolour(image: Image, config: AugmentationConfig, rng: np.random.Generator) -> Image:
    """Change light (gamma, brightness, contrast), white balance and saturation."""
    gains = 1 + config.brightness * rng.uniform(-1, 1) + config.channel_gain * rng.uniform(-1, 1, 3)
    exponent = math.exp(config.gamma * rng.uniform(-1, 1))
    contrast = 1 + config.contrast * rng.uniform(-1, 1)
    saturation = 1 + config.saturation * rng.uniform(-1, 1)
    if rng.random() < config.grey_probability:
        saturation = 0.0
    if exponent != 1 or contrast != 1 or (gains != 1).any():
        middle = float(image.mean()) / 255
        levels = ((np.arange(256)[:, None] / 255) ** exponent - middle) * contrast + middle
        table = _to_uint8(levels * gains * 255)
        image = np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]), dtype=np.uint8)
    if saturation != 1:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(cv2.addWeighted(image, saturation, grey, 1 - saturation, 0), dtype=np.uint8)
    return image


def shrink(image: Image, factor: float) -> Image:
    """Scale down by `factor` and up again, as a distant person looks."""
    height, width = image.shape[:2]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def compress(image: Image, quality: int) -> Image:
    """Encode as JPEG of `quality` (1 to 95, colours at half the resolution) and decode again."""
    return decode_image(encode_jpeg(image, quality=quality))


def erase(
    image: Image, labels: Labels | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Image, Labels | None]:
    """Fill one random rectangle with the ImageNet mean (Zhong et al., AAAI 2020); the image as it is if none fits."""
    height, width = image.shape[:2]
    for _ in range(ERASE_ATTEMPTS):
        area = rng.uniform(*config.erase_area) * height * width
        aspect = rng.uniform(config.erase_aspect, 1 / config.erase_aspect)
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < height and w < width:
            top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            image = image.copy()
            image[top : top + h, left : left + w] = _to_uint8(np.array(IMAGENET_MEAN) * 255)
            if labels is not None:
                labels = labels.copy()
                labels[top : top + h, left : left + w] = 0
            break
    return image, labels


def _to_uint8(values: NDArray[np.floating]) -> Image:
    pixels: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels
