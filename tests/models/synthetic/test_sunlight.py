"""Sunlight: shade across a crop, and shadows on the ground in crops and footage."""

import dataclasses

import numpy as np
import pytest

from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.sunlight import Shade, sample_shade
from vestigo_models.synthetic.video import render_video
from vestigo_models.synthetic.world import World


def test_shade_has_a_bright_and_a_dark_side() -> None:
    mask = Shade(angle=0.0, offset=0.0, factor=0.4, softness=0.005, leaves=0).mask(40, 20)
    assert mask.shape == (40, 20, 1)
    assert mask[:, 0] == pytest.approx(np.full((40, 1), 0.4), abs=0.01)
    middle = Shade(angle=np.pi / 2, offset=0.0, factor=0.4, softness=0.005, leaves=0).mask(40, 20)
    assert middle[0] == pytest.approx(np.full((20, 1), 0.4), abs=0.01)
    assert middle[-1] == pytest.approx(np.full((20, 1), 1.0), abs=0.01)


def test_sampled_shade_is_reproducible_and_bounded() -> None:
    for seed in range(10):
        mask = sample_shade(np.random.default_rng(seed)).mask(32, 16)
        assert np.array_equal(mask, sample_shade(np.random.default_rng(seed)).mask(32, 16))
        assert mask.min() >= 0.3
        assert mask.max() <= 1


def test_sun_darkens_the_ground_of_footage() -> None:
    preset = dataclasses.replace(PRESETS["real"], frame_height=120, frame_width=160, person_pixels=(25.0, 60.0))
    seed = next(s for s in range(20) if World(preset, s, 1, 1).setting(0, 0).light.sun.max() > 0.9)
    lit, plain = (
        list(render_video(World(dataclasses.replace(preset, shadows=s), seed, 4, 1), 0, 2.0, 1.0)) for s in (1.0, 0.0)
    )
    for shaded, bright in zip(lit, plain, strict=True):
        assert np.array_equal(shaded.boxes, bright.boxes)
    assert sum(f.image.mean() for f in lit) < sum(f.image.mean() for f in plain)
