"""Cloth textures: their main colour, placement and look-up."""

from typing import Any

import numpy as np
import pytest

from vestigo_models.synthetic.materials.fabric import CELL, HALF_WIDTH, TOP, Cut, Fabric, Weave, bake, look_up

RED, WHITE, BLUE = (0.5, 0.02, 0.02), (0.8, 0.8, 0.8), (0.02, 0.02, 0.5)


def texture(weave: Any, cut: Any = Cut.NONE, seed: int = 1, *, placed: bool = True) -> Any:
    fabric = Fabric(weave, cut, (RED, WHITE, BLUE), seed, fuzz=0.0)
    return (bake(fabric, placed=placed).astype(float) / 255) ** 2


def main_share(image: Any) -> Any:
    """Return the share of texels of the trunk that are rather red than white or blue, in hue."""
    image = image[: round((TOP + 0.05) / CELL)]
    return np.mean((image[..., 0] > 2 * image[..., 1]) & (image[..., 0] > 1.2 * image[..., 2]))


@pytest.mark.parametrize("weave", list(Weave))
@pytest.mark.parametrize("seed", range(4))
def test_main_colour_covers_at_least_two_fifths(weave: Any, seed: int) -> None:
    assert main_share(texture(weave, seed=seed)) > 0.4


@pytest.mark.parametrize("cut", sorted(set(Cut) - {Cut.BAG}))
def test_cut_keeps_the_main_colour(cut: Any) -> None:
    assert min(main_share(texture(Weave.PLAIN, cut, seed)) for seed in range(12)) > 0.5


def test_cloth_without_placed_details_repeats_the_weave_only() -> None:
    plain, printed = (texture(Weave.STRIPES, cut, placed=False) for cut in (Cut.NONE, Cut.PRINT))
    assert np.array_equal(plain, printed)
    assert not np.array_equal(texture(Weave.STRIPES, Cut.PRINT), plain)


def test_open_jacket_shows_the_shirt_in_front() -> None:
    image = texture(Weave.PLAIN, Cut.OPEN)
    middle = image.shape[1] // 2
    row = round((TOP - 0.2) / CELL)
    assert image[row, middle] == pytest.approx(WHITE, abs=0.05)
    assert image[row, 5, 0] > 3 * image[row, 5, 1]


def test_look_up_returns_texels() -> None:
    image = bake(Fabric(Weave.CAMOUFLAGE, Cut.NONE, (RED, WHITE, BLUE), 3), placed=False)
    rows, columns = np.array([10, 50, 120]), np.array([3, 60, 100])
    u, v = (columns + 0.5) * CELL - HALF_WIDTH, TOP - (rows + 0.5) * CELL
    expected = (image[rows, columns].astype(float) / 255) ** 2
    assert look_up(image, u, v) == pytest.approx(expected, abs=0.02)
