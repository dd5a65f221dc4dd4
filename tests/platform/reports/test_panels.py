"""Pictures of label maps: every pixel in the colour that its region asks for."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.reports.panels import CAPTION, MARGIN, OPACITY, PANEL_HEIGHT, cells_enlarged, panel, region_overlay
from vestigo_models.schemas.regions import REGIONS


@pytest.mark.parametrize("cells", [(8, 4), (4, 2), (3, 4)])
def test_every_pixel_is_coloured_by_the_cell_under_its_centre(cells: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 4, 3), dtype=np.uint8)
    labels = rng.integers(0, 8, cells, dtype=np.uint8)
    painted = region_overlay(image, labels)
    for row in range(8):
        for column in range(4):
            label = labels[int((row + 0.5) * cells[0] / 8), int((column + 0.5) * cells[1] / 4)]
            # Ids beyond the schema begin again at its second region.
            region = REGIONS.regions[label if label < 6 else label - 5]
            for channel in range(3):
                own = float(image[row, column, channel])
                expected = OPACITY * region.colour_rgb[channel] + (1 - OPACITY) * own if label else own
                assert painted[row, column, channel] == pytest.approx(expected, abs=0.51)


def test_map_of_same_size_is_unchanged() -> None:
    labels = np.random.default_rng(1).integers(0, 6, (7, 5), dtype=np.uint8)
    np.testing.assert_array_equal(cells_enlarged(labels, (7, 5)), labels)


@pytest.mark.parametrize("size", [(128, 64), (64, 8), (300, 150)])
def test_panel_shows_crop_and_maps(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, dtype=np.uint8)
    nothing, upper = np.zeros((64, 32), dtype=np.uint8), np.full(size, 2, dtype=np.uint8)
    picture = panel(image, [("parser", nothing), ("regions", upper)])
    assert picture.dtype == np.uint8
    assert picture.shape[0] == PANEL_HEIGHT + CAPTION + 2 * MARGIN
    column = (picture.shape[1] - MARGIN) // 3
    middle = picture[MARGIN + CAPTION + PANEL_HEIGHT // 2]
    inside = [middle[MARGIN + place * column + 2] for place in range(3)]
    np.testing.assert_array_equal(inside[0], [200, 200, 200])
    np.testing.assert_array_equal(inside[1], [200, 200, 200])
    expected = np.array(REGIONS.regions[2].colour_rgb) * OPACITY + 200 * (1 - OPACITY)
    np.testing.assert_allclose(inside[2], expected, atol=1)
    # Something is written above each.
    assert all((picture[: MARGIN + CAPTION, MARGIN + place * column :][:, :column] < 128).any() for place in range(3))
