"""Reliefs: folds of cloth as slopes of a height map, which tilt the surface normals before shading."""

from functools import lru_cache

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray

KINDS = 12
"""Number of different height maps."""
_SIZE, _CELL = 128, 0.006  # texels a side; metres of a texel


@lru_cache(maxsize=KINDS)
def _slopes(kind: int) -> Float32Array:
    """Return the slopes around and along the body, (size, size, 2), of a periodic height map; root mean square 1."""
    rng = np.random.default_rng((20, kind))
    fy, fx = np.meshgrid(np.fft.fftfreq(_SIZE), np.fft.rfftfreq(_SIZE), indexing="ij")
    height = np.zeros((_SIZE, _SIZE))
    for _ in range(3):  # drags of cloth: long in one direction, sharp across it
        angle, stretch = rng.uniform(-1.3, 1.3), rng.uniform(1.5, 3.5)
        along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
        radius = np.hypot(along * stretch, across)
        spectrum = np.exp(-((np.log(np.maximum(radius, 1e-4) / rng.uniform(0.02, 0.05)) / 0.5) ** 2))
        phases = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
        field = np.fft.irfft2(spectrum * phases, s=(_SIZE, _SIZE))
        field /= field.std()
        height += rng.uniform(0.4, 1.0) * (1 - np.abs(field))  # a ridge where the field crosses zero
    slope = np.stack(
        (np.roll(height, -1, 1) - np.roll(height, 1, 1), np.roll(height, 1, 0) - np.roll(height, -1, 0)), -1
    )
    return np.asarray(slope / np.sqrt(np.mean(slope**2)), dtype=np.float32)


def look_up(kind: int, u: FloatArray, v: FloatArray) -> Float32Array:
    """Return the slopes (N, 2) around and along the body at u, v (N,), metres."""
    x = (u / _CELL).astype(np.float32)
    y = (-v / _CELL).astype(np.float32)
    slopes = cv2.remap(_slopes(kind % KINDS), x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(slopes.reshape(-1, 2))
