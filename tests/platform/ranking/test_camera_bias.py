"""Removal of camera bias, against loops over crops and blocks in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestigo.ranking.camera_bias import CameraBias, CameraSums, sum_by_camera
from vestigo_models.inference.distance import Descriptors

BLOCKS = (3, 2, 2)


def people(rng: np.random.Generator, count: int) -> Descriptors:
    """One always-present block and two parts, some invisible."""
    visible = rng.random((count, 2)) < 0.7
    parts = []
    for block, length in enumerate(BLOCKS):
        part = rng.normal(size=(count, length)) + 1.0
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        parts.append(part if block == 0 else part * visible[:, block - 1 : block])
    return Descriptors(vectors=np.concatenate(parts, axis=1).astype(np.float32), visible=visible, always=1)


def naive_removed(people: Descriptors, weights: list[float], cameras: list[str | None]) -> list[list[float]]:
    names = sorted({camera for camera in cameras if camera is not None})
    rows = [[float(value) for value in row] for row in people.vectors]
    removed = [list(row) for row in rows]
    start = 0
    for block, length in enumerate(BLOCKS):
        shows = [block == 0 or bool(people.visible[row, block - 1]) for row in range(len(rows))]
        means, shares = {}, {}
        for name in names:
            members = [row for row in range(len(rows)) if cameras[row] == name and shows[row]]
            count = sum(weights[row] for row in members)
            shares[name] = count / (count + 30)
            means[name] = [
                sum(weights[row] * rows[row][start + k] for row in members) / count if count else 0.0
                for k in range(length)
            ]
        total = sum(shares.values())
        common = [sum(shares[n] * means[n][k] for n in names) / total if total else 0.0 for k in range(length)]
        for row, camera in enumerate(cameras):
            if camera is None or len(names) < 2 or not shows[row]:
                continue
            moved = [rows[row][start + k] - shares[camera] * (means[camera][k] - common[k]) for k in range(length)]
            norm = math.sqrt(sum(value * value for value in moved))
            removed[row][start : start + length] = [value / norm for value in moved]
        start += length
    return removed


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 3))
def test_matches_loops_over_crops(seed: int, count: int, cameras: int) -> None:
    rng = np.random.default_rng(seed)
    crops = people(rng, count)
    weights = rng.choice([1.0, 0.5, 0.25], count)
    names = [None if rng.random() < 0.1 else f"c{rng.integers(cameras)}" for _ in range(count)]
    column = pa.array(names, pa.string())
    bias = CameraBias.of(sum_by_camera(crops, weights, column), BLOCKS)
    removed = bias.remove(crops, column)
    np.testing.assert_allclose(removed.vectors, naive_removed(crops, weights.tolist(), names), atol=2e-6)
    assert (removed.visible == crops.visible).all()


def test_sums_do_not_depend_on_order_or_batches() -> None:
    rng = np.random.default_rng(0)
    crops, weights, cameras = people(rng, 700), rng.random(700), rng.integers(0, 3, 700)
    whole = sum_by_camera(crops, weights, cameras)
    order = rng.permutation(700)
    parts: dict[object, CameraSums] = {}
    for rows in np.array_split(order, 7):
        for camera, more in sum_by_camera(crops[rows], weights[rows], cameras[rows]).items():
            parts[camera] = parts[camera] + more if camera in parts else more
    assert whole.keys() == parts.keys()
    for camera, sums in whole.items():
        assert (sums.vectors == parts[camera].vectors).all()
        assert (sums.weights == parts[camera].weights).all()


def test_shift_between_two_cameras_is_removed() -> None:
    rng = np.random.default_rng(1)
    person = rng.normal(size=(400, 32))
    shift = np.zeros(32)
    shift[0] = 12
    vectors = np.concatenate([person, person + shift])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    crops = Descriptors(vectors=vectors.astype(np.float32), visible=np.empty((800, 0), np.bool_), always=1)
    cameras = np.repeat([0, 1], 400)
    bias = CameraBias.of(sum_by_camera(crops, np.ones(800), cameras), ())
    matched = []
    for descriptors in (crops, bias.remove(crops, cameras)):
        similarity = descriptors.vectors[:400] @ descriptors.vectors[400:].T
        # Rank of a crop of the same camera and of the same person of the other camera.
        own = descriptors.vectors[:400] @ descriptors.vectors[:400].T
        np.fill_diagonal(own, -1)
        matched.append((np.diag(similarity) > own.max(axis=1)).mean())
    assert matched[0] < 0.5
    assert matched[1] > 0.95


def test_one_camera_has_no_bias() -> None:
    crops = people(np.random.default_rng(2), 20)
    bias = CameraBias.of(sum_by_camera(crops, np.ones(20), np.zeros(20, np.int64)), BLOCKS)
    assert bias.remove(crops, np.zeros(20, np.int64)) is crops


@pytest.mark.parametrize("unknown", [None, "elsewhere"])
def test_camera_without_crops_is_not_corrected(unknown: str | None) -> None:
    crops = people(np.random.default_rng(3), 60)
    bias = CameraBias.of(sum_by_camera(crops, np.ones(60), pa.array(["a", "b"] * 30)), BLOCKS)
    assert bias.remove(crops, pa.array([unknown] * 60, pa.string())) is crops
    assert not np.array_equal(bias.remove(crops, pa.array(["a"] * 60)).vectors, crops.vectors)


def test_blocks_of_unknown_length_are_not_corrected() -> None:
    crops = people(np.random.default_rng(4), 60)
    cameras = np.repeat([0, 1], 30)
    bias = CameraBias.of(sum_by_camera(crops, np.ones(60), cameras), ())
    assert bias.remove(crops, cameras) is crops
