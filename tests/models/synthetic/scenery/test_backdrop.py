"""Backgrounds with the statistics of photographs."""

import dataclasses

import numpy as np

from vestigo_models.synthetic.camera import sample_camera
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.scenery.backdrop import sample_backdrop
from vestigo_models.synthetic.scenery.props import DRAWERS, WEIGHTS, draw_prop
from vestigo_models.synthetic.scenery.spectra import dead_leaves, power_noise

SMALL = dataclasses.replace(PRESETS["real"], frame_height=120, frame_width=160, person_pixels=(20.0, 60.0))


def test_backdrop_is_linear_light_of_the_frame() -> None:
    for seed in range(6):
        camera = sample_camera(np.random.default_rng(seed), SMALL)
        image = sample_backdrop(np.random.default_rng(seed), camera)
        assert image.shape == (120, 160, 3)
        assert image.dtype == np.float32
        assert 0 < image.min() < image.max() <= 1.5
        assert np.array_equal(image, sample_backdrop(np.random.default_rng(seed), camera))


def test_power_noise_has_the_slope_of_its_spectrum() -> None:
    field = power_noise(np.random.default_rng(0), 128, 128, slope=1.0)
    power = np.abs(np.fft.fft2(field)) ** 2
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    low, high = (np.log(power[(frequency > f) & (frequency < 1.3 * f)].mean()) for f in (0.05, 0.2))
    assert abs((high - low) / np.log(4) + 2) < 0.3
    assert abs(field.mean()) < 1e-5
    assert abs(field.std() - 1) < 1e-3


def test_dead_leaves_have_colours_of_the_palette() -> None:
    palette = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    image = dead_leaves(np.random.default_rng(0), 40, 30, palette, 60, 2.0, 12.0)
    assert image.shape == (40, 30, 3)
    assert not image[..., 1].any()
    assert (image[..., 0] > 0).any()
    assert (image[..., 2] > 0).any()


def test_every_prop_is_drawn_above_its_foot() -> None:
    assert len(WEIGHTS) == len(DRAWERS)
    assert abs(sum(WEIGHTS) - 1) < 1e-9
    for kind in range(len(DRAWERS)):
        image = np.full((120, 160, 3), 0.5, np.float32)
        draw_prop(image, 80.0, 90.0, 25.0, np.random.default_rng(kind), kind)
        rows = np.nonzero(np.abs(image - 0.5).max(axis=2) > 1e-4)[0]
        assert len(rows) > 20
        assert rows.max() <= 93
