"""Rough distances are within their margin of equation 14, written as a loop over blocks without the cameras' bias."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vestigo.ranking.camera_bias import CameraBias
from vestigo.ranking.halves import HalvedDescriptors
from vestigo.ranking.products import DENSE, CameraRows, QueryFactors
from vestigo_models.inference.distance import Descriptors

LAYOUTS = [((16, 7, 9, 3), 2), ((5,), 1), ((1, 1, 2), 1), ((64, 32, 32), 3)]


def described(rng: np.random.Generator, count: int, blocks: tuple[int, ...], always: int) -> Descriptors:
    visible = rng.random((count, len(blocks) - always)) < 0.7
    columns = []
    for number, width in enumerate(blocks):
        block = rng.normal(0.7, 1.0, (count, width))
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        columns.append(block * visible[:, [number - always]] if number >= always else block)
    return Descriptors(vectors=np.concatenate(columns, axis=1).astype(np.float32), visible=visible, always=always)


def naive(query: Descriptors, crop: Descriptors, offset: np.ndarray, blocks: tuple[int, ...]) -> float:
    total, terms, first = 0.0, 0, 0
    for number, width in enumerate(blocks):
        part = slice(first, first := first + width)
        shown = number < query.always or (
            query.visible[0, number - query.always] and crop.visible[0, number - query.always]
        )
        if shown:
            moved = crop.vectors[0, part].astype(np.float64) - offset[part]
            length = np.linalg.norm(moved)
            cosine = query.vectors[0, part].astype(np.float64) @ moved / length if length else 0.0
            total, terms = total + 1 - cosine, terms + 1
    return total / terms


@pytest.mark.parametrize(("blocks", "always"), LAYOUTS, ids=str)
@pytest.mark.parametrize("queries", [1, 5, 33])
@pytest.mark.parametrize("chosen", [None, 0.1, 0.9])
def test_margin_holds(blocks: tuple[int, ...], always: int, queries: int, chosen: float | None) -> None:
    rng = np.random.default_rng(7)
    crops = described(rng, 150, blocks, always)
    people = described(rng, queries, blocks, always)
    offsets = {name: (0.3 * rng.normal(size=sum(blocks))).astype(np.float32) for name in ("hall", "gate")}
    # A crop that is its camera's offset has no direction of its own.
    crops.vectors[3] = offsets["gate"]
    bias = CameraBias(offsets=offsets, blocks=blocks)
    gallery = CameraRows(
        crops=HalvedDescriptors.of(crops, blocks),
        cameras=[("gate", slice(0, 40)), ("hall", slice(40, 90)), ("new", slice(90, 150))],
    )
    rows = None if chosen is None else np.sort(rng.choice(150, int(chosen * 150), replace=False))
    rough = QueryFactors(queries=people, bias=bias).compare(gallery, rows)
    places = list(range(150)) if rows is None else rows.tolist()
    assert rough.distances.shape == (queries, len(places))
    for column, row in enumerate(places):
        if row == 3:
            continue
        offset = offsets["gate"] if row < 40 else offsets["hall"] if row < 90 else np.zeros(sum(blocks), np.float32)
        for query in range(0, queries, 7):
            exact = naive(people[[query]], crops[[row]], offset, blocks)
            assert abs(rough.distances[query, column] - exact) <= rough.margin[column]
    dense = chosen is None or chosen >= DENSE
    assert rough.read == (150 if dense else len(places))
    # Whole numbers are much nearer.
    of_rows = gallery.descriptors(np.array(places), bias)
    whole = QueryFactors(queries=people, bias=bias).compare_whole(of_rows)
    assert whole.distances.shape == rough.distances.shape
    assert (whole.margin < rough.margin).all()
    for column in range(0, len(places), 9):
        exact = naive(people[[0]], of_rows[[column]], np.zeros(sum(blocks)), blocks)
        assert abs(whole.distances[0, column] - exact) <= whole.margin[column]


def test_blocks_of_unknown_lengths_are_one_vector() -> None:
    rng = np.random.default_rng(8)
    crops, people = (described(rng, count, (8, 8, 8), 1) for count in (60, 2))
    gallery = CameraRows(crops=HalvedDescriptors.of(crops, ()), cameras=[("cam", slice(0, 60))])
    rough = QueryFactors(queries=people, bias=CameraBias(offsets={}, blocks=())).compare(gallery)
    for query in range(2):
        for row in range(60):
            exact = naive(people[[query]], crops[[row]], np.zeros(24), (8, 8, 8))
            assert abs(rough.distances[query, row] - exact) <= rough.margin[row]


def test_descriptors_are_those_without_the_bias() -> None:
    rng = np.random.default_rng(9)
    crops = described(rng, 30, (6, 4), 1)
    bias = CameraBias(offsets={"b": (0.2 * rng.normal(size=10)).astype(np.float32)}, blocks=(6, 4))
    gallery = CameraRows(crops=HalvedDescriptors.of(crops, (6, 4)), cameras=[("a", slice(0, 10)), ("b", slice(10, 30))])
    rows = np.array([0, 9, 10, 29])
    expected = bias.remove_by_rows(crops, {"b": np.arange(10, 30)})
    assert (gallery.descriptors(rows, bias).vectors == expected.vectors[rows]).all()


WITHOUT = """
import sys
import numkong
for name in sys.argv[1:]:
    numkong.disable_capability(name)
from tests.platform.ranking.test_products import LAYOUTS, test_margin_holds
for blocks, always in LAYOUTS:
    test_margin_holds(blocks, always, 5, None)
"""


@pytest.mark.parametrize(
    "missing", [("genoa",), ("genoa", "icelake", "skylake"), ("genoa", "icelake", "skylake", "haswell")]
)
def test_margin_holds_on_processors_with_fewer_instructions(missing: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT, *missing], check=True)
