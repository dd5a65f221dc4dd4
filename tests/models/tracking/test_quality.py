import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestigo_models.tracking.quality import (
    MIN_MOTION,
    BestCrops,
    best_crops,
    bucket_of,
    crop_quality,
    dhash,
    hamming,
    near_duplicates,
    sharpness_score,
    size_score,
    visibility,
)

FRAME = (240, 320)
NO_OTHERS = np.empty((0, 4))


def make_crop(seed: int, height: int = 128, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_visibility_is_the_fraction_in_the_frame() -> None:
    assert visibility(np.array([10, 10, 40, 100.0]), FRAME, NO_OTHERS) == 1.0
    assert visibility(np.array([-20, 10, 40, 100.0]), FRAME, NO_OTHERS) == pytest.approx(0.5)
    assert visibility(np.array([10, 190, 40, 100.0]), FRAME, NO_OTHERS) == pytest.approx(0.5)
    assert visibility(np.array([10, 10, 0, 100.0]), FRAME, NO_OTHERS) == 0.0


def test_nearer_person_covers_farther_one() -> None:
    near, far = np.array([30, 40, 40, 120.0]), np.array([10, 20, 40, 120.0])
    assert visibility(near, FRAME, far[None]) == 1.0
    assert visibility(far, FRAME, near[None]) == pytest.approx(1 - 0.5 * 100 / 120, abs=0.02)


def test_visibility_agrees_with_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = np.array([*rng.integers(0, 100, 2), 64, 96.0])
        others = np.array([[*rng.integers(0, 150, 2), *rng.integers(20, 90, 2)] for _ in range(3)], dtype=np.float64)
        seen = np.ones((96, 64), bool)
        for row in range(96):
            for column in range(64):
                px, py = box[0] + column + 0.5, box[1] + row + 0.5
                for x, y, w, h in others:
                    if y + h > box[1] + box[3] and x <= px < x + w and y <= py < y + h:
                        seen[row, column] = False
        assert visibility(box, (400, 400), others) == pytest.approx(seen.mean(), abs=0.08)


def test_size_and_sharpness_scores_saturate() -> None:
    assert size_score(64) == 0.5
    assert size_score(128) == size_score(500) == 1.0
    sharp = make_crop(0)
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 4), dtype=np.uint8)
    assert sharpness_score(sharp) > 2 * sharpness_score(blurred)
    assert sharpness_score(np.full((50, 30, 3), 77, dtype=np.uint8)) == 0.0


def test_quality_falls_with_each_factor() -> None:
    box = np.array([50, 50, 64, 128.0])
    best = crop_quality(make_crop(0), box, FRAME)
    assert 0 < best <= 1
    assert crop_quality(make_crop(0), np.array([-32, 50, 64, 128.0]), FRAME) == pytest.approx(best / 2)
    assert crop_quality(make_crop(0), np.array([50, 50, 32, 64.0]), FRAME) < best


def test_dhash_is_robust_to_scale_and_light() -> None:
    crop = make_crop(1)
    smaller = np.asarray(cv2.resize(crop, (40, 90), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    darker = (crop * 0.7).astype(np.uint8)
    assert hamming(dhash(crop), dhash(smaller)) <= 4
    assert hamming(dhash(crop), dhash(darker)) <= 6
    assert hamming(dhash(crop), dhash(make_crop(2))) > 15
    assert -(2**63) <= dhash(crop) < 2**63


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_hamming_agrees_with_counting_digits(a: int, b: int) -> None:
    digits = [format(value % 2**64, "064b") for value in (a, b)]
    assert hamming(a, b) == sum(x != y for x, y in zip(*digits, strict=True))


CROPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=40)


@given(CROPS, st.integers(1, 6), st.lists(st.integers(0, 40), max_size=4))
def test_best_of_parts_is_best_of_the_whole(moments: list[tuple[int, int]], count: int, cuts: list[int]) -> None:
    """Holds for any cuts, also inside a bucket, and for ties in quality."""
    crops = [(f"{n:03d}", quality / 5, moment // 4, moment) for n, (moment, quality) in enumerate(sorted(moments))]

    def select(of: list[tuple[str, float, int, int]]) -> list[tuple[str, float, int, int]]:
        rows = best_crops([c[0] for c in of], [c[1] for c in of], [c[2] for c in of], count)
        return [of[row] for row in rows]

    edges = [0, *sorted(cuts), 99]
    parts = [[c for c in crops if low <= c[3] < high] for low, high in itertools.pairwise(edges)]
    union = [crop for part in parts for crop in select(part)]
    assert select(union) == select(crops)


@given(CROPS, st.integers(1, 6))
def test_online_selection_equals_best_crops(moments: list[tuple[int, int]], count: int) -> None:
    online: BestCrops[str] = BestCrops(count)
    crops = [(f"{n:03d}", quality / 5, moment // 4) for n, (moment, quality) in enumerate(sorted(moments))]
    for name, quality, bucket in crops:
        online.add(name, quality, bucket, name)
    rows = best_crops([c[0] for c in crops], [c[1] for c in crops], [c[2] for c in crops], count)
    assert online.best() == [crops[row][0] for row in rows]


def test_buckets_are_absolute() -> None:
    assert [bucket_of(offset, 0.6) for offset in (0.0, 0.5, 0.61, 1.19, 1.21)] == [0, 0, 1, 1, 2]


def test_near_duplicates_are_compared_with_better_crops() -> None:
    assert near_duplicates([0, 0b111, -1, 0b1111111, -2], max_bits=3).tolist() == [False, True, False, False, True]


def test_little_motion_lowers_quality() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    box, frame = np.array([10.0, 10.0, 64.0, 128.0]), (240, 320)
    seen, hidden, still, unknown = (crop_quality(crop, box, frame, motion=m) for m in (0.7, 0.25, 0.0, np.nan))
    assert seen == unknown == crop_quality(crop, box, frame)
    assert hidden == pytest.approx(seen / 2)
    assert still == pytest.approx(seen * MIN_MOTION)
