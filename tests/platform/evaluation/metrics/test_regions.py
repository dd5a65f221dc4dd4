"""Overlap of regions against loops over cells, and AUC of areas against all pairs of images."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.evaluation.metrics.regions import RegionMetrics, area_auc, region_metrics
from vestigo_models.parsing.label_maps import confusion
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, RegionSchema


def measure(truth: np.ndarray, found: np.ndarray, schema: RegionSchema = REGIONS) -> RegionMetrics:
    return region_metrics(confusion(truth, found, len(schema)), len(truth), schema=schema)


def maps(seed: int, count: int = 5, regions: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, regions, (count, 9, 4)).astype(np.uint8)
    found = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, regions, truth.shape)).astype(np.uint8)
    return truth, found


def overlap(truth: list[bool], found: list[bool]) -> float | None:
    both = sum(a and b for a, b in zip(truth, found, strict=True))
    either = sum(a or b for a, b in zip(truth, found, strict=True))
    return 100 * both / either if either else None


@pytest.mark.parametrize("seed", range(3))
def test_overlap_equals_loop(seed: int) -> None:
    truth, found = maps(seed)
    summary = measure(truth, found)
    flat = [(int(a), int(b)) for a, b in zip(truth.ravel(), found.ravel(), strict=True)]
    for region, name in enumerate(REGIONS.names):
        inside = overlap([a == region for a, _ in flat], [b == region for _, b in flat])
        outside = overlap([a != region for a, _ in flat], [b != region for _, b in flat])
        assert summary.iou[name] == pytest.approx(inside)
        if region:
            assert summary.two_class[name] == pytest.approx((inside + outside) / 2)
    person = overlap([a > 0 for a, _ in flat], [b > 0 for _, b in flat])
    background = overlap([a == 0 for a, _ in flat], [b == 0 for _, b in flat])
    assert summary.two_class["foreground"] == pytest.approx((person + background) / 2)
    assert list(summary.two_class) == ["foreground", *REGIONS.names[1:]]
    assert summary.mean == pytest.approx(sum(summary.iou.values()) / 6)
    assert summary.images == 5


def test_result_does_not_depend_on_splitting() -> None:
    truth, found = maps(3, 20)
    whole = measure(truth, found)
    parts = [
        confusion(truth[rows], found[rows], len(REGIONS))
        for rows in np.array_split(np.random.default_rng(0).permutation(20), 6)
    ]
    assert region_metrics(np.sum(parts, axis=0), 20) == whole


def test_absent_region_is_none_and_not_in_mean() -> None:
    truth, found = maps(4, regions=5)
    summary = measure(truth, found)
    assert summary.iou["belongings"] is None
    assert summary.two_class["belongings"] is None
    assert summary.mean == pytest.approx(sum(v for v in summary.iou.values() if v is not None) / 5)
    assert summary.iou == measure(truth, found, BODY_REGIONS).iou | {"belongings": None}
    nothing = region_metrics(np.zeros((6, 6), dtype=np.int64), 0)
    assert nothing.mean is None
    assert set(nothing.two_class.values()) == {None}


def test_summary_has_only_requested_regions() -> None:
    truth, found = maps(5)
    body = region_metrics(confusion(truth, found, len(REGIONS)), 5, BODY_REGIONS.names)
    assert list(body.iou) == list(BODY_REGIONS.names)
    assert list(body.two_class) == ["foreground", *BODY_REGIONS.names[1:]]
    assert all(body.iou[name] == measure(truth, found).iou[name] for name in body.iou)


def test_area_auc_equals_all_pairs_of_images() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(-1, 2, 60)
    areas = (rng.integers(0, 6, 60) + 2 * (labels == 1)).astype(np.float32)
    wins = [
        1.0 if areas[a] > areas[b] else 0.5 if areas[a] == areas[b] else 0.0
        for a in range(60)
        for b in range(60)
        if labels[a] == 1 and labels[b] == 0
    ]
    assert area_auc(areas, labels) == pytest.approx(sum(wins) / len(wins))
    assert area_auc(areas, np.ones(60, dtype=np.int64)) is None
    assert area_auc(areas[:0], labels[:0]) is None
