"""Anonymisation of rendered people, with known heads, and of real footage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vestigo_models.detection.registry import make_detector
from vestigo_models.errors import BadInput
from vestigo_models.inference.anonymize import CELLS, CROP_ROWS, anonymize_crops, anonymize_frame
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.label_maps import LABEL_SETS
from vestigo_models.parsing.small import EmbeddedParser
from vestigo_models.schemas.regions import HEAD, LOWER, REGIONS, UPPER
from vestigo_models.synthetic.crops import Crop, render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass
class Fixed(Parser):
    """A parser with one result for all crops: region probabilities, or an error."""

    regions: NDArray[np.float32] | None = None
    label_set = LABEL_SETS["lip"]
    digest = ""

    def parse(self, image: Image, name: str) -> Parsed:
        if self.regions is None:
            raise BadInput("odd", "nothing to be seen")
        return Parsed(labels=np.zeros(image.shape[:2], np.uint8), regions=self.regions)


@pytest.fixture(scope="module")
def parser() -> Parser:
    return EmbeddedParser.from_pretrained("default", batch_size=8)


@pytest.fixture(scope="module")
def crops() -> list[Crop]:
    """Crops of which some are blurred, dark, cut off or behind a post."""
    world = World(PRESETS["training"], seed=77, identities=10, cameras=3)
    return [render_crop(world, person, camera, 0) for person in range(10) for camera in range(3)]


def standing() -> Fixed:
    """A head 8 cells high and 6 wide, and a body below it, on a grid of 64 x 32."""
    regions = np.zeros((len(REGIONS), 64, 32), np.float32)
    regions[HEAD, 2:10, 13:19] = 1
    regions[UPPER, 10:34, 9:23] = 1
    regions[LOWER, 34:62, 10:22] = 1
    regions[0] = 1 - regions[1:].sum(axis=0)
    return Fixed(regions)


def anonymize(crop: Image, parser: Parser) -> Image:
    return anonymize_crops([crop], parser)[0]


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask(size: tuple[int, int], rows: slice, columns: slice = slice(None)) -> Mask:
    made = np.zeros(size, bool)
    made[rows, columns] = True
    return made


def kept(shown: list[Image], originals: list[Image], where: list[Mask]) -> float:
    """Return the share of the finest detail of images that remains: 1 all, 0 nothing."""
    ours, theirs = (
        np.concatenate(
            [(image.astype(float) - cv2.blur(image, (3, 3)))[mask] for image, mask in zip(images, where, strict=True)]
        )
        for images in (shown, originals)
    )
    return float((ours * theirs).sum() / (theirs**2).sum())


def shuffled(original: Image, cell: int) -> Image:
    """Return an image with its pixels permuted within their cells."""
    rng = np.random.default_rng(1)
    made = original.copy()
    for top in range(0, original.shape[0], cell):
        for left in range(0, original.shape[1], cell):
            block = made[top : top + cell, left : left + cell]
            block[:] = rng.permutation(block.reshape(-1, 3)).reshape(block.shape)
    return made


def test_head_is_reduced_to_coarse_cells() -> None:
    original, cell = noise(192, 96), 8
    assert cell == 192 // CROP_ROWS
    assert cell * CELLS >= 24, "the head is 18 pixels wide and 24 high"
    shown, again = (anonymize(image, standing()) for image in (original, shuffled(original, cell)))
    head = (slice(6, 30), slice(39, 57))
    np.testing.assert_allclose(again[head].astype(int), shown[head].astype(int), atol=1)
    assert kept([shown], [original], [mask((192, 96), slice(24))]) < 0.02


def test_body_is_unchanged() -> None:
    original = noise(192, 96)
    shown = anonymize(original, standing())
    np.testing.assert_array_equal(shown[42:180, 30:64], original[42:180, 30:64])


def test_large_head_has_no_finer_cells() -> None:
    regions = np.zeros((len(REGIONS), 64, 32), np.float32)
    regions[HEAD, 4:36, 6:26] = 1
    regions[UPPER, 36:64, 2:30] = 1
    original, cell = noise(640, 320), 320 // CELLS
    shown, again = (anonymize(image, Fixed(regions)) for image in (original, shuffled(original, cell)))
    head = (slice(40, 360), slice(60, 260))
    np.testing.assert_allclose(again[head].astype(int), shown[head].astype(int), atol=1)


@pytest.mark.parametrize("size", [(120, 120), (120, 360), (156, 120)])
def test_partial_person_is_hidden_entirely(size: tuple[int, int]) -> None:
    original = noise(*size)
    shown, again = (anonymize(image, standing()) for image in (original, shuffled(original, 1)))
    np.testing.assert_array_equal(again, shown)
    assert kept([shown], [original], [np.ones(size, bool)]) < 0.02
    assert len(np.unique(cv2.resize(shown, (6, 6), interpolation=cv2.INTER_AREA))) > 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 8), (16, 2), (2, 16)])
def test_crops_of_any_size_keep_their_size(size: tuple[int, int], parser: Parser) -> None:
    shown = anonymize(noise(*size), parser)
    assert shown.shape == (*size, 3)
    assert shown.dtype == np.uint8


def test_top_is_hidden_if_no_head_is_found() -> None:
    parser = standing()
    assert parser.regions is not None
    parser.regions[UPPER] += parser.regions[HEAD]
    parser.regions[HEAD] = 0
    original = noise(192, 96)
    shown = anonymize(original, parser)
    assert kept([shown], [original], [mask((192, 96), slice(54))]) < 0.02
    np.testing.assert_array_equal(shown[60:180, 32:62], original[60:180, 32:62])


def test_unparsable_crop_is_hidden_entirely() -> None:
    original = noise(192, 96)
    assert kept([anonymize(original, Fixed())], [original], [np.ones((192, 96), bool)]) < 0.02


def test_rendered_heads_lose_detail_and_bodies_keep_it(crops: list[Crop], parser: Parser) -> None:
    originals = [crop.image for crop in crops]
    shown = anonymize_crops(originals, parser)
    assert kept(shown, originals, [crop.regions == HEAD for crop in crops]) < 0.12
    assert kept(shown, originals, [crop.regions == LOWER for crop in crops]) > 0.85


@pytest.mark.parametrize(("height", "most"), [(16, 0.5), (64, 0.25), (400, 0.05)])
def test_rendered_heads_of_any_size_lose_detail(height: int, most: float, crops: list[Crop], parser: Parser) -> None:
    scaled = [cv2.resize(crop.image, (height // 2, height), interpolation=cv2.INTER_AREA) for crop in crops]
    heads = [cv2.resize((crop.regions == HEAD).astype(np.uint8), (height // 2, height)) > 0 for crop in crops]
    # Fine detail of a small image is coarse to the eye: a head of eight pixels has little to lose.
    assert kept(anonymize_crops(scaled, parser), scaled, heads) < most


def test_cropped_and_wide_crops_show_no_head(crops: list[Crop], parser: Parser) -> None:
    for rows, padding in ((64, 0), (40, 0), (128, 32), (128, 96)):
        originals = [
            cv2.copyMakeBorder(crop.image[:rows], 0, 0, padding, padding, cv2.BORDER_REPLICATE) for crop in crops
        ]
        heads = [np.pad(crop.regions[:rows] == HEAD, ((0, 0), (padding, padding))) for crop in crops]
        assert kept(anonymize_crops(originals, parser), originals, heads) < 0.1


def test_crops_do_not_depend_on_each_other(crops: list[Crop], parser: Parser) -> None:
    images = [crop.image for crop in crops[:5]]
    for batched, image in zip(anonymize_crops(images, parser), images, strict=True):
        np.testing.assert_array_equal(batched, anonymize(image, parser))
    assert anonymize_crops([], parser) == []


def frame_of(crops: list[Crop]) -> tuple[Image, Mask, list[tuple[int, int, int, int]]]:
    """A frame with people in two overlapping rows, their heads, and their boxes (x, y, w, h)."""
    frame, heads, boxes = noise(320, 640), np.zeros((320, 640), bool), []
    for place, crop in enumerate(crops[:24]):
        x, y = 20 + 50 * (place % 12), 20 + 90 * (place // 12)
        person = crop.regions > 0
        frame[y : y + 128, x : x + 64][person] = crop.image[person]
        heads[y : y + 128, x : x + 64][person] = (crop.regions == HEAD)[person]
        boxes.append((x, y, 64, 128))
    return frame, heads, boxes


@pytest.mark.parametrize("every", [1, 2, 5])
def test_frame_shows_no_head_of_undetected_people(every: int, crops: list[Crop], parser: Parser) -> None:
    frame, heads, boxes = frame_of(crops)
    shown = anonymize_frame(frame, boxes[::every], parser)
    assert shown.shape == frame.shape
    assert kept([shown], [frame], [heads]) < 0.15
    assert kept([shown], [frame], [mask((320, 640), slice(300, 320))]) < 0.02


def test_head_in_front_of_another_person_is_hidden() -> None:
    frame = noise(384, 192)
    boxes = [(0, 0, 96, 192), (10, 60, 96, 192)]
    for order in (boxes, boxes[::-1]):
        shown = anonymize_frame(frame, order, standing())
        for x, y, _, _ in boxes:
            assert kept([shown], [frame], [mask((384, 192), slice(y + 6, y + 30), slice(x + 39, x + 57))]) < 0.05
        np.testing.assert_array_equal(shown[200:240, 45:70], frame[200:240, 45:70])


def test_frame_without_people_is_hidden_entirely(parser: Parser) -> None:
    frame = noise(320, 640)
    for boxes in ([], [(-90, 0, 80, 160)], [(700, 0, 50, 100)], [(10, 10, 0, 5)]):
        assert kept([anonymize_frame(frame, boxes, parser)], [frame], [np.ones((320, 640), bool)]) < 0.02


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["nanodet", "hog"])
def test_real_walkers_show_no_head(name: str, real_data: Path, parser: Parser) -> None:
    capture = cv2.VideoCapture(str(real_data / "pedestrians.avi"))
    detector, crops = make_detector(name), []
    for number in range(301):
        read, frame = capture.read()
        assert read
        if number % 100 == 0:
            rgb = np.ascontiguousarray(frame[:, :, ::-1])
            boxes = detector.detect(rgb).certain.boxes.round().astype(int)
            crops += [rgb[max(0, y) : y + h, max(0, x) : x + w] for x, y, w, h in boxes]
    capture.release()
    assert len(crops) >= 12
    shown = anonymize_crops(crops, parser)
    # A standing person's head is in the upper seventh of a box that fits, their legs in the lower half.
    sizes = [(crop.shape[0], crop.shape[1]) for crop in crops]
    assert kept(shown, crops, [mask(size, slice(size[0] // 7)) for size in sizes]) < 0.1
    legs = [mask(size, slice(size[0] // 2, 4 * size[0] // 5), slice(size[1] // 3, 2 * size[1] // 3)) for size in sizes]
    assert kept(shown, crops, legs) > 0.5
