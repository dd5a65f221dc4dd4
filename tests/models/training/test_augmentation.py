from __future__ import annotations

import numpy as np
import pytest

from vestigo_models.training.augmentation import (
    augment_pair,
    compress,
    enlarge_labels,
    erase,
    pad_and_crop,
    recolour,
    shrink,
    zoom,
)
from vestigo_models.training.config import AugmentationConfig

NOTHING = {"flip_probability": 0.0, "pad": 0, "erase_probability": 0.0}
EVERYTHING = AugmentationConfig(
    zoom=0.1,
    brightness=0.3,
    contrast=0.3,
    saturation=0.5,
    channel_gain=0.2,
    gamma=0.4,
    grey_probability=0.3,
    shrink_probability=0.5,
    blur_probability=0.5,
    noise_probability=0.5,
    jpeg_probability=0.5,
)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_augmentation_changes_nothing(image: np.ndarray) -> None:
    np.testing.assert_array_equal(augment_pair(image, None, AugmentationConfig(**NOTHING), rng())[0], image)


def test_all_augmentations_keep_size_and_original(image: np.ndarray) -> None:
    original = image.copy()
    seen = set()
    for seed in range(20):
        changed = augment_pair(image, None, EVERYTHING, rng(seed))[0]
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        assert changed.flags.c_contiguous
        seen.add(changed.tobytes())
    assert len(seen) == 20
    np.testing.assert_array_equal(image, original)


def test_same_generator_gives_same_result(image: np.ndarray) -> None:
    np.testing.assert_array_equal(
        augment_pair(image, None, EVERYTHING, rng(5))[0], augment_pair(image, None, EVERYTHING, rng(5))[0]
    )


def test_flip(image: np.ndarray) -> None:
    flipped = augment_pair(image, None, AugmentationConfig(**{**NOTHING, "flip_probability": 1.0}), rng())[0]
    for column in range(32):
        np.testing.assert_array_equal(flipped[:, column], image[:, 31 - column])


def test_pad_and_crop_shifts_by_at_most_the_padding(image: np.ndarray) -> None:
    shifts = set()
    bright = np.maximum(image, 1)
    for seed in range(50):
        moved = pad_and_crop(bright, None, 3, rng(seed))[0]
        offsets = [
            (dy, dx)
            for dy in range(-3, 4)
            for dx in range(-3, 4)
            if np.array_equal(moved[max(0, -dy) : 64 - max(0, dy), max(0, -dx) : 32 - max(0, dx)],
                              bright[max(0, dy) : 64 - max(0, -dy), max(0, dx) : 32 - max(0, -dx)])
        ]  # fmt: skip
        assert len(offsets) == 1
        dy, dx = offsets[0]
        outside = (moved == 0).all(axis=2).sum()
        assert outside == 64 * 32 - (64 - abs(dy)) * (32 - abs(dx))
        shifts.add(offsets[0])
    assert len(shifts) > 20


def test_erasing_fills_one_rectangle_with_the_mean(image: np.ndarray) -> None:
    dark = image // 4
    areas = []
    for seed in range(50):
        erased = erase(dark, None, AugmentationConfig(), rng(seed))[0]
        rows, columns = np.nonzero((erased != dark).any(axis=2))
        patch = erased[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (patch == [124, 116, 104]).all()
        assert len(rows) == patch.shape[0] * patch.shape[1]
        assert 0.25 < patch.shape[0] / patch.shape[1] < 4
        areas.append(len(rows) / (64 * 32))
    assert 0.01 < min(areas) < 0.1
    assert 0.3 < max(areas) < 0.42


def test_erasing_without_fitting_area_keeps_image(image: np.ndarray) -> None:
    too_large = AugmentationConfig(erase_area=(2.0, 3.0))
    np.testing.assert_array_equal(erase(image, None, too_large, rng())[0], image)


def test_grey_image_has_no_colour(image: np.ndarray) -> None:
    grey = recolour(image, AugmentationConfig(grey_probability=1.0), rng())
    assert np.ptp(grey, axis=2).max() == 0
    luma = image @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=0.51)


def test_channel_gain_scales_whole_channels() -> None:
    flat = np.full((8, 8, 3), 100, dtype=np.uint8)
    changed = recolour(flat, AugmentationConfig(channel_gain=0.2), rng(1))
    values = {tuple(pixel) for pixel in changed.reshape(-1, 3)}
    assert len(values) == 1
    assert all(79 <= value <= 121 for value in values.pop())


def test_compression_error_falls_with_quality() -> None:
    row, column = np.mgrid[:128, :64]
    image = np.stack([row * 2, column * 4, 255 - row * 2], axis=-1).astype(np.uint8)
    low, high = (np.abs(compress(image, q).astype(int) - image).mean() for q in (25, 95))
    assert 0 < high < low < 8


def test_zoom_and_shrink(image: np.ndarray) -> None:
    flat = np.full((64, 32, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(zoom(flat, None, 0.2, rng())[0], flat)
    assert shrink(image, 0.3).std() < 0.6 * image.std()


SHADES = np.array([0, 60, 120, 180, 240, 30], dtype=np.uint8)
"""A grey level for each region; none of them, background apart, is black or the mean that erasing fills in."""


@pytest.mark.parametrize("zoom_amount", [0.0, 0.15])
def test_labels_move_with_the_image(zoom_amount: float) -> None:
    """The image shows its own label map, so every cell can be read back from the changed image."""
    labels = enlarge_labels(rng(3).integers(0, 6, (4, 2), dtype=np.uint8), (16, 8))
    shaded = np.repeat(SHADES[enlarge_labels(labels, (64, 32))][..., None], 3, axis=2)
    config = AugmentationConfig(flip_probability=0.5, pad=6, erase_probability=0.7, zoom=zoom_amount)
    agreeing = []
    for seed in range(60):
        image, moved = augment_pair(shaded, labels, config, rng(seed))
        assert moved is not None
        assert moved.shape == labels.shape
        seen = np.zeros_like(moved)
        for y in range(16):
            for x in range(8):
                pixel = image[4 * y + 2, 4 * x + 2].astype(int)
                hidden = tuple(pixel) == (124, 116, 104)
                seen[y, x] = 0 if hidden else np.abs(SHADES.astype(int) - pixel[0]).argmin()
        agreeing.append((seen == moved).mean())
    # Without zoom pixels only move; with it, an edge may pass through the middle of a cell.
    assert min(agreeing) == 1 if not zoom_amount else np.mean(agreeing) > 0.9


def test_image_is_independent_of_the_label_map(image: np.ndarray) -> None:
    labels = np.zeros((16, 8), dtype=np.uint8)
    for seed in range(10):
        with_map, _ = augment_pair(image, labels, EVERYTHING, rng(seed))
        np.testing.assert_array_equal(with_map, augment_pair(image, None, EVERYTHING, rng(seed))[0])


def test_map_must_divide_the_image() -> None:
    with pytest.raises(ValueError, match="15x8 cells does not divide an image of 64x32"):
        enlarge_labels(np.zeros((15, 8), dtype=np.uint8), (64, 32))
