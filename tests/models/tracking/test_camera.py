import cv2
import numpy as np
import pytest

from vestigo_models.tracking.camera import CameraMeter, apply_motion, motion_scale


def scene(height: int = 240, width: int = 320) -> np.ndarray:
    """Return a textured image, RGB, with room around the part that `view` shows."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 5, width // 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width * 2, height * 2), interpolation=cv2.INTER_CUBIC)


def view(image: np.ndarray, transform: np.ndarray, height: int = 240, width: int = 320) -> np.ndarray:
    """Return what a camera shows whose pixels are those of the image, moved by `transform`."""
    return cv2.warpAffine(image, transform, (width, height))


START = np.array([[1.0, 0, -80], [0, 1, -60]])


@pytest.mark.parametrize(
    "move",
    [[[1.0, 0, 12], [0, 1, -7]], [[1.1, 0, -6], [0, 1.1, 5]], [[0.998, -0.05, 3], [0.05, 0.998, -4]]],
    ids=["turn", "zoom", "roll"],
)
def test_transform_of_the_background_is_recovered(move: list[list[float]]) -> None:
    meter, image = CameraMeter(), scene()
    assert meter.measure(view(image, START)) is None
    expected = np.array(move)
    moved = np.concatenate([expected[:, :2] @ START[:, :2], apply_motion(expected, START[:, 2])[:, None]], axis=1)
    transform = meter.measure(view(image, moved))
    assert transform is not None
    corners = np.array([[0.0, 0], [320, 0], [0, 240], [320, 240]])
    np.testing.assert_allclose(apply_motion(transform, corners), apply_motion(expected, corners), atol=2.0)


def test_people_who_walk_do_not_move_the_camera() -> None:
    meter, background = CameraMeter(), view(scene(), START)
    for step in range(3):
        image = background.copy()
        for person in range(3):
            left = 20 + 100 * person + 15 * step
            image[80:180, left : left + 40] = 250 - 60 * person
        assert meter.measure(image) is None


def test_transform_is_in_pixels_of_a_large_frame() -> None:
    meter, image = CameraMeter(), scene(1080, 1920)
    meter.measure(view(image, START, 1080, 1920))
    transform = meter.measure(view(image, START + np.array([[0, 0, 60], [0, 0, -40]]), 1080, 1920))
    np.testing.assert_allclose(transform, [[1, 0, 60], [0, 1, -40]], atol=1.5)


def test_image_without_texture_or_of_another_size_is_taken_for_still() -> None:
    meter = CameraMeter()
    for size in (240, 240, 120):
        assert meter.measure(np.full((size, 320, 3), 90, dtype=np.uint8)) is None
    meter.measure(view(scene(), START))
    assert meter.measure(view(scene(), START + 9, 120, 160)) is None


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (24, 32)])
def test_tiny_images_are_taken_for_still(size: tuple[int, int]) -> None:
    meter, rng = CameraMeter(), np.random.default_rng(1)
    for _ in range(2):
        assert meter.measure(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) is None


def test_scene_change_is_taken_for_still() -> None:
    meter = CameraMeter()
    meter.measure(view(scene(), START))
    noise = np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert meter.measure(cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)) is None


def test_scale_of_a_transform() -> None:
    assert motion_scale(np.array([[0.0, -2, 5], [2, 0, 7]])) == pytest.approx(2.0)
