"""Two halves are the number again, and the upper one alone is near it."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.ranking.halves import (
    UPPER_ERROR,
    HalvedDescriptors,
    block_slices,
    joined,
    lost_length,
    lower_half,
    upper_half,
)
from vestigo_models.inference.distance import Descriptors

EDGES = [
    0,
    1,
    0x7FFF,
    0x8000,
    0x8001,
    0xFFFF8000,
    0x7F7FFFFF,
    0x7F800000,
    0x7FC00000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
]


def test_halves_give_every_number_back() -> None:
    random = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    bits = np.concatenate([random, np.array(EDGES, np.uint32)])
    numbers = bits.view(np.float32)
    upper = upper_half(numbers)
    assert upper.dtype == np.uint16
    assert (joined(upper, lower_half(numbers, upper)).view(np.uint32) == bits).all()


def test_upper_half_is_the_nearest_of_eight_bits() -> None:
    numbers = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    nearest = joined(upper_half(numbers), np.zeros(len(numbers), np.int16)).astype(np.float64)
    for number, found in zip(numbers.astype(np.float64).tolist(), nearest.tolist(), strict=True):
        assert abs(found - number) <= UPPER_ERROR * abs(number)
        # Seven binary digits behind the first one.
        mantissa, _ = np.frexp(found)
        assert mantissa * 256 == round(mantissa * 256)


def test_lost_length_is_of_the_finite_vectors() -> None:
    vectors = np.array([[1.0, 1 + 2**-9], [np.nan, 1.0], [0.5, 0.25]], np.float32)
    assert lost_length(vectors, upper_half(vectors)) == pytest.approx(2**-9)


def test_descriptors_come_back() -> None:
    rng = np.random.default_rng(2)
    descriptors = Descriptors(
        vectors=rng.normal(size=(50, 11)).astype(np.float32), visible=rng.random((50, 2)) < 0.5, always=1
    )
    halves = HalvedDescriptors.of(descriptors, (5, 4, 2))
    assert [block.shape for block in halves.upper] == [(50, 5), (50, 4), (50, 2)]
    rows = np.array([3, 9, 40])
    taken = halves.take(rows)
    assert (taken.vectors == descriptors.vectors[rows]).all()
    assert (taken.visible == descriptors.visible[rows]).all()
    assert taken.always == 1
    assert block_slices((), 7) == [slice(0, 7)]
