"""Textures with the statistics of photographs: noise with a power-law spectrum, and dead leaves.

References: Ruderman, "Origins of scaling in natural images", Vision Research 1997; Lee, Mumford and Huang, "Occlusion
models for natural images", IJCV 2001.
"""

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray


def power_noise(rng: np.random.Generator, height: int, width: int, slope: float = 1.0) -> Float32Array:
    """Return noise (height, width) with an amplitude spectrum of frequency ** -slope, mean 0, standard deviation 1."""
    rows, cols = cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None])
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32))
    field = np.fft.irfft2(white * frequency**-slope, s=(rows, cols))[:height, :width]
    return np.asarray((field - field.mean()) / (field.std() + 1e-9), dtype=np.float32)


def dead_leaves(
    rng: np.random.Generator, height: int, width: int, palette: FloatArray, count: int, smallest: float, largest: float
) -> Float32Array:
    """Return overlapping ellipses and boxes (height, width, 3) in colours of the palette (K, 3).

    Radii, in pixels, have the density radius ** -3 between `smallest` and `largest`, as that of things in photographs.
    """
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = palette[rng.integers(len(palette))]
    low, high = smallest**-2.0, largest**-2.0
    # The largest are painted first: an image of this size is covered by few things.
    radii = np.sort((low + rng.random(count) * (high - low)) ** -0.5)[::-1]
    centres = rng.uniform((0, 0), (width, height), (count, 2))
    tones = palette[rng.integers(len(palette), size=count)] * rng.uniform(0.5, 1.4, (count, 1))
    for radius, (x, y), tone, aspect, angle in zip(
        radii, centres, tones, rng.uniform(0.25, 1.0, count), rng.uniform(0, 180, count), strict=True
    ):
        colour = tuple(float(value) for value in tone)
        if angle < 80:
            half = (radius * aspect, radius) if angle < 40 else (radius, radius * aspect)
            cv2.rectangle(image, (int(x - half[0]), int(y - half[1])), (int(x + half[0]), int(y + half[1])), colour, -1)
        else:
            axes = (max(1, int(radius)), max(1, int(radius * aspect)))
            cv2.ellipse(image, (int(x), int(y)), axes, angle, 0, 360, colour, -1)
    return image
