import numpy as np

from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.quality import MotionMeter

CONFIG = TrackingConfig(fps=5.0, motion_s=0.6)


def frame(x: int) -> np.ndarray:
    image = np.full((120, 160, 3), 90, dtype=np.uint8)
    image[40:100, x : x + 20] = 220
    return image


def test_moving_box_is_distinguished_from_static_box() -> None:
    meter = MotionMeter(CONFIG)
    for cell in range(3):
        assert np.isnan(meter.measure(cell, frame(20 + 10 * cell), np.array([[0, 0, 50, 50.0]]))).all()
    walker, post = meter.measure(3, frame(50), np.array([[50, 40, 20, 60.0], [100, 20, 20, 60.0]]))
    assert walker > 0.9
    assert post == 0.0


def test_motion_depends_on_two_spans_only() -> None:
    boxes = np.array([[10, 30, 60, 60.0]])
    rng = np.random.default_rng(0)
    video = [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(20)]
    whole, part = MotionMeter(CONFIG), MotionMeter(CONFIG)
    reference = [whole.measure(cell, image, boxes) for cell, image in enumerate(video)]
    memory = 2 * CONFIG.cells(CONFIG.motion_s)
    for cell in range(4, 20):
        share = part.measure(cell, video[cell], boxes)
        if cell >= 4 + memory:
            np.testing.assert_array_equal(share, reference[cell])


def test_frame_of_another_size_is_not_compared() -> None:
    meter = MotionMeter(CONFIG)
    meter.measure(0, frame(0), np.empty((0, 4)))
    assert np.isnan(meter.measure(3, np.zeros((60, 60, 3), dtype=np.uint8), np.array([[0, 0, 9, 9.0]]))).all()


def test_boxes_are_in_pixels_of_a_large_frame() -> None:
    meter = MotionMeter(CONFIG)
    large = np.zeros((1080, 1920, 3), dtype=np.uint8)
    meter.measure(0, large, np.empty((0, 4)))
    changed = large.copy()
    changed[600:900, 900:1000] = 255
    inside, outside = meter.measure(3, changed, np.array([[900, 600, 100, 300.0], [100, 100, 100, 300.0]]))
    assert inside > 0.95
    assert outside == 0.0
