"""Random augmentation of training images and their label maps (docs/method.md, "Training").

Flip, padded crop and random erasing are those of BoT. The others randomise the camera: box, light, colour, distance,
focus and sensor. A label map is moved with its image; padded and erased cells are background.
"""

import math

import cv2
import numpy as np

from vestigo_models.arrays import FloatArray, UInt8Array
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.inference.preprocessing import IMAGENET_MEAN
from vestigo_models.training.config import AugmentationConfig

ERASE_ATTEMPTS = 100


def augment_pair(
    image: UInt8Array, labels: UInt8Array | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[UInt8Array, UInt8Array | None]:
    """Return an augmented image (H, W, 3) and its label map (h, w), where H and W are multiples of h and w.

    The map is enlarged to the image and moved with it, and each cell takes the label at its middle. The image does not
    depend on the map.
    """
    height, width = image.shape[:2]
    full = None if labels is None else enlarge_labels(labels, (height, width))
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
    if labels is not None and full is not None:
        y, x = height // labels.shape[0], width // labels.shape[1]
        full = np.ascontiguousarray(full[y // 2 :: y, x // 2 :: x])
    return np.ascontiguousarray(image), full


def enlarge_labels(labels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Return a label map (h, w) enlarged to (H, W) pixels.

    Raises:
        ValueError: If H and W are not multiples of h and w.
    """
    (rows, columns), (height, width) = labels.shape, size
    if height % rows or width % columns:
        raise ValueError(f"a map of {rows}x{columns} cells does not divide an image of {height}x{width} pixels")
    return np.repeat(np.repeat(labels, height // rows, axis=0), width // columns, axis=1)


def zoom(
    image: UInt8Array, labels: UInt8Array | None, amount: float, rng: np.random.Generator
) -> tuple[UInt8Array, UInt8Array | None]:
    """Move each side of the box in or out by up to the fraction `amount` of the side's length."""
    if not amount:
        return image, labels
    height, width = image.shape[:2]
    left, right, top, bottom = rng.uniform(-amount, amount, 4)
    x0, x1, y0, y1 = left * width, (1 + right) * width, top * height, (1 + bottom) * height
    matrix = np.array([[(x1 - x0) / width, 0, x0], [0, (y1 - y0) / height, y0]], dtype=np.float32)

    def warp(pixels: UInt8Array, interpolation: int) -> UInt8Array:
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    return warp(image, cv2.INTER_LINEAR), None if labels is None else warp(labels, cv2.INTER_NEAREST)


def pad_and_crop(
    image: UInt8Array, labels: UInt8Array | None, pad: int, rng: np.random.Generator
) -> tuple[UInt8Array, UInt8Array | None]:
    """Pad every side by `pad` black pixels and crop the original size at a random place."""
    if not pad:
        return image, labels
    height, width = image.shape[:2]
    top, left = rng.integers(0, 2 * pad + 1, 2)

    def crop(pixels: UInt8Array) -> UInt8Array:
        padded = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        return np.asarray(padded[top : top + height, left : left + width], dtype=np.uint8)

    return crop(image), None if labels is None else crop(labels)


def recolour(image: UInt8Array, config: AugmentationConfig, rng: np.random.Generator) -> UInt8Array:
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


def shrink(image: UInt8Array, factor: float) -> UInt8Array:
    """Scale down by `factor` and up again, like a distant person."""
    height, width = image.shape[:2]
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def compress(image: UInt8Array, quality: int) -> UInt8Array:
    """Return an image after JPEG compression with `quality` 1 to 95 and chroma at half the resolution."""
    return decode_image(encode_jpeg(image, quality=quality))


def erase(
    image: UInt8Array, labels: UInt8Array | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[UInt8Array, UInt8Array | None]:
    """Fill one random rectangle, if any fits, with the ImageNet mean (Zhong et al., AAAI 2020)."""
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


def _to_uint8(values: FloatArray) -> UInt8Array:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
