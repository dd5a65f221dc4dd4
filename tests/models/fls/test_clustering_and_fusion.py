"""Label maps of fine-grained local semantics agree with naive references."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from vestigo_models.fls.clustering import (
    activation,
    cluster_parts,
    find_foreground,
    guard_foreground,
    two_means_threshold,
)
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import (
    cluster_labels,
    dilate,
    find_belongings,
    fls_labels,
    relative_heights,
    remove_speckle,
    require_support,
    scale_config,
    smooth,
    vote_belongings,
)

H, W, C = 64, 32, 16
HEAD, UPPER, LOWER, SHOES, BAG = 1, 2, 3, 4, 5
BOX = (slice(24, 36), slice(20, 26))
"""A bag next to the torso, outside the parser's map."""


def person() -> NDArray[np.uint8]:
    """Return a parser's map of a person in the middle."""
    labels = np.zeros((H, W), dtype=np.uint8)
    labels[6:14, 13:19] = HEAD
    labels[14:34, 10:20] = UPPER
    labels[34:54, 11:19] = LOWER
    labels[54:58, 10:20] = SHOES
    return labels


def features_of(truth: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
    """Features that are bright where `truth` (N x H x W) is a region, in a direction of its own for each region."""
    rng = np.random.default_rng(seed)
    directions = np.eye(C, dtype=np.float32)
    lit = directions[truth] * np.where(truth > 0, 8.0, 0.5)[..., None]
    return (lit + rng.normal(0, 0.05, (*truth.shape, C))).astype(np.float32)


def with_bag(count: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth and parser's map of `count` images of one identity that carries a bag."""
    parsed = np.repeat(person()[None], count, axis=0)
    truth = parsed.copy()
    truth[:, *BOX] = BAG
    return truth, parsed


def smooth_all(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Round the corners of boxes, as the final majority vote does."""
    return np.stack([smooth(image) for image in labels])


def test_activation_is_relative_to_its_image() -> None:
    features = np.zeros((2, 2, 2, 3), dtype=np.float32)
    features[0, 0, 0] = (3, 4, 0)
    features[0, 1, 1] = (0, 2, 0)
    features[1, 0, 1] = (0.1, 0, 0)
    np.testing.assert_allclose(activation(features), [[[1, 0], [0, 0.4]], [[0, 1], [0, 0]]], rtol=1e-6)
    assert not activation(np.zeros((1, 2, 2, 3), dtype=np.float32)).any()


@pytest.mark.parametrize("seed", range(20))
def test_two_means_threshold_is_best_of_all_cuts(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 12, 30).astype(np.float64) / 10

    def scatter(cut: float) -> float:
        groups = [[v for v in values if v <= cut], [v for v in values if v > cut]]
        return sum(sum((v - sum(g) / len(g)) ** 2 for v in g) for g in groups)

    cuts = sorted(set(values))[:-1]
    assert scatter(two_means_threshold(values)) == pytest.approx(min(scatter(cut) for cut in cuts))


@pytest.mark.parametrize("values", [[0.5], [0.3, 0.3, 0.3]])
def test_threshold_of_equal_numbers_is_the_number(values: list[float]) -> None:
    assert two_means_threshold(np.array(values)) == values[0]


def test_foreground_consists_of_active_cells() -> None:
    truth, _ = with_bag()
    np.testing.assert_array_equal(find_foreground(features_of(truth)), truth > 0)
    np.testing.assert_array_equal(find_foreground(features_of(truth), sharpen=False), truth > 0)


def test_dead_cells_are_never_foreground() -> None:
    assert not find_foreground(np.zeros((2, 4, 4, 3), dtype=np.float32)).any()


def test_guard_inverts_mask_that_covers_background() -> None:
    body = np.repeat((person() > 0)[None], 2, axis=0)
    mask, trusted = guard_foreground(~body, body, least_iou=0.3)
    np.testing.assert_array_equal(mask, body)
    assert trusted.all()


def test_guard_does_not_trust_image_without_overlap() -> None:
    body = np.repeat((person() > 0)[None], 2, axis=0)
    mask = body.copy()
    mask[1] = np.roll(body[1], 16, axis=1)
    np.testing.assert_array_equal(guard_foreground(mask, body, least_iou=0.3)[1], [True, False])


def test_parts_are_numbered_from_top_to_bottom() -> None:
    truth, _ = with_bag()
    order = np.array([0, 3, 1, 4, 2, 5], dtype=np.uint8)
    labels = cluster_parts(features_of(order[truth]), truth > 0, 5, seed=0)
    assert labels is not None
    rows = [np.nonzero(labels == k)[1].mean() for k in range(1, 6)]
    assert rows == sorted(rows)
    assert {len(np.unique(labels[truth == k])) for k in range(6)} == {1}
    again = cluster_parts(features_of(order[truth]), truth > 0, 5, seed=0)
    np.testing.assert_array_equal(labels, again)


def test_too_few_cells_give_no_parts() -> None:
    truth = np.zeros((1, 8, 8), dtype=np.uint8)
    truth[0, 0, :4] = 1
    assert cluster_parts(features_of(truth), truth > 0, 5, seed=0) is None


def test_bag_is_added_to_body_of_parser() -> None:
    truth, parsed = with_bag()
    np.testing.assert_array_equal(fls_labels(features_of(truth), parsed, FlsConfig()), smooth_all(truth))


def test_halo_around_body_is_no_bag() -> None:
    parsed = np.repeat(person()[None], 3, axis=0)
    truth = parsed.copy()
    for image in truth:
        image[dilate(image > 0, 2) & (image == 0)] = BAG
    np.testing.assert_array_equal(fls_labels(features_of(truth), parsed, FlsConfig()), smooth_all(parsed))


def test_foreground_everywhere_is_no_bag() -> None:
    body = person() > 0
    assert not find_belongings(np.ones_like(body), body, FlsConfig()).any()


def test_bag_in_one_of_several_images_is_dropped() -> None:
    truth, parsed = with_bag(3)
    truth[1:] = parsed[1:]
    np.testing.assert_array_equal(fls_labels(features_of(truth), parsed, FlsConfig()), smooth_all(parsed))


def test_single_image_keeps_its_bag() -> None:
    truth, parsed = with_bag(1)
    np.testing.assert_array_equal(fls_labels(features_of(truth), parsed, FlsConfig()), smooth_all(truth))
    assert not require_support(np.zeros((1, 4, 4), dtype=bool), 2).any()


@pytest.mark.parametrize("shift", [(-22, 0), (26, 0), (0, 6)])
def test_component_at_wrong_height_or_distance_is_no_bag(shift: tuple[int, int]) -> None:
    body = person() > 0
    mask = body.copy()
    box = np.zeros_like(body)
    box[BOX] = True
    mask |= np.roll(box, shift, axis=(0, 1))
    assert not find_belongings(mask, body, FlsConfig()).any()


@pytest.mark.parametrize("seed", range(8))
def test_belongings_agree_with_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    body = person() > 0
    mask = dilate(rng.random((H, W)) < 0.012, 2) | body
    config = FlsConfig(heights=(0.1, 0.9))
    np.testing.assert_array_equal(find_belongings(mask, body, config), belongings_cell_by_cell(mask, body, config))


def belongings_cell_by_cell(mask: NDArray[np.bool_], body: NDArray[np.bool_], config: FlsConfig) -> NDArray[np.bool_]:
    def around(cell: tuple[int, int], reach: int) -> list[tuple[int, int]]:
        return [
            (y, x)
            for y in range(cell[0] - reach, cell[0] + reach + 1)
            for x in range(cell[1] - reach, cell[1] + reach + 1)
            if 0 <= y < H and 0 <= x < W
        ]

    cells = {(y, x) for y in range(H) for x in range(W)}
    person = {c for c in cells if body[c]}
    missed = {c for c in cells if mask[c] and not body[c]}
    far = {c for c in missed if not any(n in person for n in around(c, config.halo))}
    cores = {c for c in far if len(around(c, 1)) == 9 and all(n in far for n in around(c, 1))}
    opened = {n for c in cores for n in around(c, 1)}
    kept: set[tuple[int, int]] = set()
    todo = set(opened)
    top, bottom = min(y for y, _ in person), max(y for y, _ in person) + 1
    while todo:
        seed, queue = set(), deque([todo.pop()])
        while queue:
            cell = queue.popleft()
            seed.add(cell)
            for n in around(cell, 1):
                if n in todo:
                    todo.remove(n)
                    queue.append(n)
        if len(seed) < config.seed_cells:
            continue
        grown = set(seed)
        for _ in range(config.growth):
            grown |= {n for c in grown for n in around(c, 1) if n in missed}
        height = (sum(y for y, _ in grown) / len(grown) + 0.5 - top) / (bottom - top)
        touches = any(n in person for c in grown for n in around(c, config.reach))
        if len(grown) >= config.least_cells and touches and config.heights[0] <= height <= config.heights[1]:
            kept |= grown
    result = np.zeros((H, W), dtype=bool)
    if len(kept) <= config.most_of_body * len(person):
        for cell in kept:
            result[cell] = True
    return result


def test_vote_takes_backpack_from_upper_body() -> None:
    parsed = np.repeat(person()[None], 3, axis=0)
    truth = parsed.copy()
    truth[:, 18:30, 16:28] = BAG
    labels = fls_labels(features_of(truth), parsed, FlsConfig(belongings_mode="cluster_vote"))
    np.testing.assert_array_equal(labels, smooth_all(truth))
    complement = fls_labels(features_of(truth), parsed, FlsConfig(belongings_mode="complement"))
    assert (complement[:, 19:29, 16:18] == UPPER).all()
    assert (complement[:, 19:29, 20:27] == BAG).all()
    both = fls_labels(features_of(truth), parsed, FlsConfig(belongings_mode="both"))
    np.testing.assert_array_equal(both, smooth_all(truth))


def test_vote_takes_nearest_share_of_upper_body() -> None:
    parsed = person()[None]
    clusters = np.zeros_like(parsed)
    clusters[0, 16:32, 10:32] = 1
    missed = (clusters == 1) & (parsed == 0)
    taken = vote_belongings(clusters, missed, parsed, FlsConfig(vote_most_of_upper=0.2))[0]
    upper = parsed[0] == UPPER
    assert (taken & upper).sum() == int(0.2 * upper.sum())
    assert set(np.nonzero(taken & upper)[1]) <= {10, 11, 18, 19}
    np.testing.assert_array_equal(taken & ~upper, missed[0])


def test_cluster_below_share_or_at_feet_does_not_vote() -> None:
    parsed = person()[None]
    config = FlsConfig()
    feet = np.zeros_like(parsed)
    feet[0, 52:60, 20:30] = 1
    assert not vote_belongings(feet, feet == 1, parsed, config).any()
    half = np.zeros_like(parsed)
    half[0, 20:30, 12:24] = 1
    assert not vote_belongings(half, (half == 1) & (parsed == 0), parsed, config).any()


def test_relative_heights_run_from_head_to_feet() -> None:
    body = np.zeros((2, 10, 4), dtype=bool)
    body[0, 2:7, 1] = True
    heights = relative_heights(body)
    np.testing.assert_allclose(heights[0, 2:7, 0], [0.1, 0.3, 0.5, 0.7, 0.9])
    assert np.isnan(heights[1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_smooth_agrees_with_naive_count_of_neighbours(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 6, (12, 9)).astype(np.uint8)
    expected = labels.copy()
    for y in range(12):
        for x in range(9):
            near = labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].ravel().tolist()
            counts = {label: near.count(label) for label in set(near)}
            best = [label for label, count in counts.items() if count == max(counts.values())]
            expected[y, x] = best[0] if len(best) == 1 else labels[y, x]
    np.testing.assert_array_equal(smooth(labels), expected)


def test_remove_speckle_keeps_large_components() -> None:
    labels = np.zeros((10, 10), dtype=np.uint8)
    labels[0, :3] = UPPER
    labels[5:7, 5:7] = LOWER
    labels[8, 8] = labels[9, 9] = BAG
    cleaned = remove_speckle(labels, 4)
    assert not cleaned[0].any()
    np.testing.assert_array_equal(cleaned[5:7, 5:7], LOWER)
    assert (cleaned == BAG).sum() == 0


def test_areas_and_lengths_scale_with_grid() -> None:
    half = scale_config(FlsConfig(), (32, 16))
    assert (half.least_cells, half.seed_cells, half.halo, half.speckle) == (3, 2, 1, 1)
    assert scale_config(FlsConfig(), (64, 32)) == FlsConfig()


def test_cluster_labels_are_parts() -> None:
    truth, _ = with_bag()
    labels = cluster_labels(features_of(truth), FlsConfig())
    assert labels is not None
    np.testing.assert_array_equal(labels > 0, truth > 0)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}


def test_classifier_takes_clothes_but_not_heads() -> None:
    rng = np.random.default_rng(3)
    likely = rng.random((3, 32, 16)).astype(np.float32) * 0.4
    likely[:2, 10:18, 2:7] = 0.8
    likely[0, 2:4, 7:9] = 0.9  # too small
    parsed = np.zeros((3, 32, 16), dtype=np.uint8)
    parsed[:, 4:9, 5:11], parsed[:, 9:18, 5:11], parsed[:, 18:28, 5:11] = 1, 2, 3
    parsed[:, 10:12, 5:7] = 1
    config = FlsConfig(belongings_mode="classifier", least_cells=20, sure=0.45)
    probabilities = np.zeros((3, 32, 16, 6), dtype=np.float32)
    probabilities[..., 5], probabilities[..., 0] = likely, 1 - likely
    labels = fls_labels(np.zeros((3, 32, 16, 4), dtype=np.float32), parsed, config, probabilities)
    expected = parsed.copy()
    for image in range(2):
        for y in range(10, 18):
            for x in range(2, 7):
                if parsed[image, y, x] != 1:
                    expected[image, y, x] = 5
    np.testing.assert_array_equal(labels, smooth_all(expected))

    # One image of three: not enough support. A network without belongings is read as `complement`.
    probabilities[1, ..., 5] = 0
    features = np.zeros((3, 32, 16, 4), dtype=np.float32)
    np.testing.assert_array_equal(fls_labels(features, parsed, config, probabilities), smooth_all(parsed))
    np.testing.assert_array_equal(fls_labels(features, parsed, config, probabilities[..., :5]), smooth_all(parsed))
