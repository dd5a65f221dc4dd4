"""NanoDet-g: equality with the original graph, boxes, sizes of frames, and the shipped weights."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vestigo_models.detection.base import iou_matrix
from vestigo_models.detection.nanodet import (
    DISTANCES,
    MEAN,
    PACKAGE,
    STD,
    NanoDetConfig,
    NanoDetDetector,
    cell_boxes,
    load_network,
    network_input,
)
from vestigo_models.detection.registry import make_detector
from vestigo_models.errors import ModelError

REFERENCE = json.loads(Path(__file__).with_name("nanodet_reference.json").read_text())


@pytest.fixture(scope="module")
def detector() -> NanoDetDetector:
    return NanoDetDetector()


def picture(side: int = 416) -> np.ndarray:
    """Return the RGB picture of `tools/nanodet_reference.mjs`."""
    y, x, channel = np.ogrid[:side, :side, :3]
    return ((y // 16 * 37 + x // 16 * 91 + channel * 53 + y * x % 97) % 256).astype(np.uint8)


def real_frame(real_data: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(real_data / "pedestrians.avi"))
    return np.ascontiguousarray([capture.read()[1] for _ in range(101)][-1][:, :, ::-1])


def test_network_equals_original_graph() -> None:
    """The reference is the output of TensorFlow.js, see `tools/nanodet_reference.mjs`."""
    x = network_input(picture())
    with torch.inference_mode():
        scores, logits = load_network()(x)
    boxes = cell_boxes(logits[0], 416, 416).numpy()
    expected = np.array(REFERENCE["cells"])
    sampled = slice(None, None, REFERENCE["every"])
    np.testing.assert_allclose(scores[0].numpy()[sampled], expected[:, 0], atol=1e-5)
    strides = np.repeat([8.0, 16.0, 32.0], [52 * 52, 26 * 26, 13 * 13])[sampled, None]
    sizes = (expected[:, 1:3] + expected[:, 3:]) * strides
    np.testing.assert_allclose(boxes[sampled, 2:], sizes, atol=1e-3)


def test_box_of_cell_is_its_centre_and_mean_distances() -> None:
    cells = 8 * 12 + 4 * 6 + 2 * 3
    logits = torch.full((cells, 4, DISTANCES), -1e4)
    logits[:, range(4), [1, 2, 3, 4]] = 0.0  # strides to left, top, right and bottom
    boxes = cell_boxes(logits, 64, 96)
    assert boxes[0].tolist() == [4 - 8, 4 - 16, 4 * 8, 6 * 8]
    assert boxes[12 + 2].tolist() == [20 - 8, 12 - 16, 4 * 8, 6 * 8]  # second row, third column
    assert boxes[-1].tolist() == [80 - 32, 48 - 64, 4 * 32, 6 * 32]


def test_input_is_normalised_bgr_padded_to_multiples_of_32() -> None:
    image = np.zeros((40, 64, 3), dtype=np.uint8)
    image[..., 0] = 255
    x = network_input(image)
    assert x.shape == (1, 3, 64, 64)
    assert x.dtype == torch.float32
    expected = (np.array([0, 0, 255]) - MEAN) / STD
    np.testing.assert_allclose(x[0, :, 39, 63], expected, rtol=1e-5)
    assert (x[0, :, 40:] == 0).all()


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(360, 480, 416 / 480), (480, 360, 416 / 480), (100, 100, 2), (720, 1280, 0.5), (2160, 3840, 640 / 3840)],
)
def test_longer_side_is_scaled(height: int, width: int, scale: float) -> None:
    assert NanoDetConfig().scale(height, width) == pytest.approx(scale)


@pytest.mark.parametrize(("height", "width"), [(100, 201), (100, 351), (1080, 3840), (99, 65_535), (1, 3)])
def test_tiles_cover_wide_frame_and_overlap(height: int, width: int) -> None:
    tiles = list(NanoDetConfig().tiles(height, width))
    assert (tiles[0].start, tiles[-1].stop) == (0, width)
    assert {tile.stop - tile.start for tile in tiles} == {-(-height * 4 // 3)}
    assert all(after.start <= before.stop - height // 2 for before, after in pairwise(tiles))
    assert len(tiles) <= width / (0.8 * height)


def test_frame_of_usual_shape_is_one_tile() -> None:
    assert list(NanoDetConfig().tiles(1080, 1920)) == [slice(0, 1920)]
    assert list(NanoDetConfig().tiles(1920, 1080)) == [slice(0, 1080)]


@pytest.mark.parametrize(
    ("shape", "count"),
    [((16, 4_000), 286), ((3_000, 4_000), 1), ((9, 9), 1), ((3_000, 20), 0), ((400, 3), 0), ((1, 1), 0), ((2, 400), 0)],
)
def test_inputs_of_network_are_bounded(
    shape: tuple[int, int], count: int, detector: NanoDetDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def record(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = x.shape[2:]
        cells = sum(height // stride * (width // stride) for stride in (8, 16, 32))
        sizes.append((height, width))
        return torch.zeros(1, cells), torch.zeros(1, cells, 4, DISTANCES)

    monkeypatch.setattr(detector, "_network", record)
    assert len(detector.detect(np.zeros((*shape, 3), dtype=np.uint8))) == 0
    assert len(sizes) == count
    assert all(side % 32 == 0 and side <= 640 for size in sizes for side in size)


def test_frame_without_people_has_no_detections(detector: NanoDetDetector) -> None:
    detections = detector.detect(np.full((120, 160, 3), 127, dtype=np.uint8))
    assert detections.boxes.shape == (0, 4)
    assert detections.boxes.dtype == detections.scores.dtype == np.float32


@pytest.mark.real_data
def test_people_are_found_in_real_footage(real_data: Path, detector: NanoDetDetector) -> None:
    frame = real_frame(real_data)
    detections = detector.detect(frame).certain
    # Three unoccluded people, annotated by hand, x, y, w, h.
    annotated = np.array([[218, 125, 22, 45], [236, 111, 18, 48], [369, 97, 18, 49]])
    assert (iou_matrix(annotated, detections.boxes).max(axis=1) > 0.5).all()
    assert (detections.scores >= detector.config.min_score).all()
    overlaps = iou_matrix(detections.boxes, detections.boxes) - np.eye(len(detections))
    assert overlaps.max() <= detector.config.max_iou
    np.testing.assert_array_equal(detections.boxes, NanoDetDetector().detect(frame).certain.boxes)


@pytest.mark.real_data
def test_tiles_find_people_of_wide_frame(real_data: Path, detector: NanoDetDetector) -> None:
    frame = real_frame(real_data)
    people = detector.detect(frame).certain.boxes
    panorama = detector.detect(np.concatenate([frame] * 4, axis=1)).certain.boxes
    for repeat in range(4):
        shifted = people + np.array([repeat * frame.shape[1], 0, 0, 0])
        # Tiles show other surroundings, so that people at the threshold may differ.
        assert (iou_matrix(shifted, panorama).max(axis=1) > 0.5).mean() > 0.8


def test_auto_is_the_shipped_network() -> None:
    assert make_detector("auto").digest == NanoDetDetector().digest
    assert make_detector("auto").digest != NanoDetDetector(NanoDetConfig(min_score=0.3)).digest


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_network(tmp_path)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError, match="is not for NanoDet-g"):
        load_network(PACKAGE.with_name("parser"))


def test_shipped_weights_are_those_of_their_record() -> None:
    weights = PACKAGE / "model.safetensors"
    record = (PACKAGE / "ORIGIN.md").read_text(encoding="utf-8")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in record
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    assert weights.stat().st_size < 8_000_000
    assert "Apache License, Version 2.0" in record
    assert "Copyright (c) 2021 Vladimir Mandic" in record
