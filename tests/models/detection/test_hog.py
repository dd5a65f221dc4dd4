from importlib import metadata
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from vestigo_models.detection import hog
from vestigo_models.detection.base import Detections, iou_matrix, suppress, vote_boxes
from vestigo_models.detection.hog import HogConfig, HogDetector
from vestigo_models.detection.registry import make_detector
from vestigo_models.errors import ConfigError, ModelError


def naive_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Count whole pixels."""
    grid_a, grid_b = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    grid_a[a[1] : a[1] + a[3], a[0] : a[0] + a[2]] = True
    grid_b[b[1] : b[1] + b[3], b[0] : b[0] + b[2]] = True
    return (grid_a & grid_b).sum() / (grid_a | grid_b).sum()


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.integers(0, 32, (count, 2)), rng.integers(1, 32, (count, 2))], axis=1)


def test_iou_matrix_equals_counted_pixels() -> None:
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 12), random_boxes(rng, 9)
    expected = [[naive_iou(first, second) for second in b] for first in a]
    np.testing.assert_allclose(iou_matrix(a, b), expected)


def test_iou_of_empty_boxes_is_zero() -> None:
    assert iou_matrix(np.zeros((1, 4)), np.zeros((1, 4))).item() == 0.0


def test_suppress_equals_naive_loop() -> None:
    rng = np.random.default_rng(1)
    detections = Detections.ordered(random_boxes(rng, 60), rng.random(60))
    kept: list[int] = []
    for row, box in enumerate(detections.boxes.astype(int)):
        rivals = [detections.boxes[other].astype(int) for other in kept]
        if all(naive_iou(box, rival) <= 0.4 for rival in rivals):
            kept.append(row)
    np.testing.assert_array_equal(suppress(detections, max_iou=0.4).boxes, detections.boxes[kept])


def test_suppress_drops_a_torso_inside_a_body() -> None:
    detections = Detections.ordered(np.array([[10, 10, 40, 100], [15, 15, 25, 40]]), np.array([0.9, 0.5]))
    assert len(suppress(detections, max_iou=0.5)) == 2
    assert len(suppress(detections, max_iou=0.5, max_inside=0.7)) == 1


def test_detections_are_ordered_by_score_and_box() -> None:
    boxes = np.array([[5, 0, 1, 1], [1, 0, 1, 1], [9, 0, 1, 1]])
    ordered = Detections.ordered(boxes, np.array([0.5, 0.5, 0.7]))
    assert ordered.boxes[:, 0].tolist() == [9, 1, 5]


def test_vote_replaces_box_by_weighted_mean() -> None:
    detections = Detections.ordered(
        np.array([[0, 0, 10, 20], [2, 0, 10, 20], [50, 0, 10, 20]]), np.array([0.6, 0.2, 0.5])
    )
    kept = suppress(detections, max_iou=0.5)
    np.testing.assert_allclose(vote_boxes(kept, detections, min_iou=0.5).boxes[:, 0], [0.5, 50])


def test_hog_is_deterministic() -> None:
    image = np.full((240, 320, 3), 120, dtype=np.uint8)
    detector = HogDetector()
    assert len(detector.detect(image)) == 0
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    first, second = detector.detect(noise), HogDetector().detect(noise)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.scores, second.scores)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 400, 3), (90, 40, 3)])
def test_hog_accepts_frames_smaller_than_its_window(shape: tuple[int, int, int]) -> None:
    assert len(make_detector("hog").detect(np.zeros(shape, dtype=np.uint8))) == 0


@pytest.mark.real_data
def test_hog_finds_people_in_real_footage(real_data: Path) -> None:
    capture = cv2.VideoCapture(str(real_data / "pedestrians.avi"))
    for _ in range(101):
        read, frame = capture.read()
    assert read
    detections = make_detector("hog").detect(np.ascontiguousarray(frame[:, :, ::-1]))
    # Three unoccluded people, annotated by hand, x, y, w, h.
    annotated = np.array([[218, 125, 22, 45], [236, 111, 18, 48], [369, 97, 18, 49]])
    assert (iou_matrix(annotated, detections.boxes).max(axis=1) > 0.5).all()
    assert (detections.scores >= 0).all()
    assert (detections.scores <= 1).all()


def test_tiles_find_the_people_of_the_whole_frame(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = cv2.VideoCapture(str(real_data / "pedestrians.avi"))
    frame = [capture.read()[1] for _ in range(101)][-1][:, :, ::-1]
    whole = HogDetector().detect(frame)
    monkeypatch.setattr(hog, "MAX_TILE_WIDTH", 900)
    tiled = HogDetector().detect(frame)
    assert len(whole) > 0
    assert (iou_matrix(whole.boxes, tiled.boxes).max(axis=1) > 0.8).all()


@pytest.mark.parametrize(("height", "width"), [(110, 65_535), (1500, 20_000)])
def test_width_of_a_search_is_bounded(height: int, width: int) -> None:
    class Recorder:
        winSize = (64, 128)  # noqa: N815
        widths: ClassVar[list[int]] = []

        def detectMultiScale(self, image: np.ndarray, **_: object) -> tuple[list[list[int]], list[float]]:  # noqa: N802
            assert image.shape[0] <= 1080
            self.widths.append(image.shape[1])
            return [[image.shape[1] - 64, 0, 64, 128]], [1.0]

    detector = HogDetector()
    detector._hog = recorder = Recorder()
    detections = detector.detect(np.zeros((height, width, 3), dtype=np.uint8))
    assert max(recorder.widths) <= hog.MAX_TILE_WIDTH
    assert len(detections) == len(recorder.widths) > 1
    assert 0.99 * width < detections.boxes[:, 0].max() < width


def test_box_of_window_is_the_person_of_32_by_96_in_its_middle() -> None:
    class FixedWindow:
        winSize = (64, 128)  # noqa: N815

        def detectMultiScale(self, *_: object, **__: object) -> tuple[list[list[int]], list[float]]:  # noqa: N802
            return [[100, 40, 64, 128]], [1.0]

    detector = HogDetector()
    detector._hog = FixedWindow()
    (box,) = detector.detect(np.zeros((720, 1280, 3), dtype=np.uint8)).boxes
    assert box.tolist() == [116, 56, 32, 96]


@pytest.mark.parametrize(
    ("height", "scale"), [(240, 2.0), (360, 2.0), (480, 1.5), (720, 1.0), (1080, 1.0), (2160, 0.5)]
)
def test_hog_scales_frames(height: int, scale: float) -> None:
    assert HogConfig().upscale(height) == pytest.approx(scale)


def test_digest_depends_on_parameters() -> None:
    assert HogDetector().digest == HogDetector().digest
    assert HogDetector().digest != HogDetector(HogConfig(scale_step=1.3)).digest


@pytest.mark.parametrize("ref", ["yolo", "", "hf:"])
def test_unknown_detector_is_refused(ref: str) -> None:
    with pytest.raises(ConfigError, match="use auto, none, nanodet, hog or hf:FOLDER_OR_ID"):
        make_detector(ref)


def test_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        make_detector(f"hf:{tmp_path}")


def test_exactly_one_opencv_is_installed() -> None:
    """Two distributions overwrite each other's `cv2`, and the newest lacks the people detector."""
    names = {dist.metadata["Name"].lower().replace("_", "-") for dist in metadata.distributions()}
    assert [name for name in sorted(names) if name.startswith("opencv")] == ["opencv-python-headless"]
