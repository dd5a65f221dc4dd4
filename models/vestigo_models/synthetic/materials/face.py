"""Faces: eyes, brows, mouth, beard, hairline, glasses and masks, painted on the front of the head."""

from dataclasses import dataclass

import numpy as np

from vestigo_models.arrays import BoolArray, FloatArray
from vestigo_models.synthetic.materials.clothes import Colour


@dataclass(frozen=True, kw_only=True)
class Face:
    """Features of a face. Lengths are in metres on a head of average size, upwards from the middle of the head."""

    hairline: float
    fringe: float  # slope of the hairline to one side
    beard: float  # 0..1, opacity
    glasses: float  # 0..1, opacity; 1 are sunglasses
    mask: bool
    mask_colour: Colour
    lips: Colour


def sample_face(rng: np.random.Generator, *, female: bool, child: bool) -> Face:
    """Return a random face; only men have beards."""
    bearded = not female and not child and rng.random() < 0.3
    return Face(
        hairline=float(rng.uniform(0.035, 0.075)),
        fringe=float(rng.uniform(-0.5, 0.5)),
        beard=float(rng.uniform(0.2, 0.9)) if bearded else 0.0,
        glasses=float(rng.choice([0.0, 0.55, 1.0], p=[0.7, 0.22, 0.08])),
        mask=bool(rng.random() < 0.05),
        mask_colour=np.array(((0.75, 0.75, 0.75), (0.3, 0.5, 0.7), (0.03, 0.03, 0.03))[rng.integers(3)], np.float32),
        lips=np.array((0.32, 0.1, 0.09), np.float32) * np.float32(rng.uniform(0.5, 1.2)),
    )


def paint_face(albedo: FloatArray, face: Face, hair: Colour, x: FloatArray, y: FloatArray, z: FloatArray) -> None:
    """Paint a face over the albedo (N, 3) of skin.

    `x`, `y` and `z` (N,) are metres to the left, up and forwards from the middle of the head.
    """
    side, front = np.abs(x), z > 0.02

    def blend(where: BoolArray, opacity: float, colour: Colour) -> None:
        chosen = np.flatnonzero(where)
        albedo[chosen] += np.float32(opacity) * (colour - albedo[chosen])

    dark = np.array((0.02, 0.015, 0.012), np.float32)
    blend(front & (y < -0.03) & (y > -0.12), face.beard, hair)
    blend(front & (np.abs(y - 0.012) < 0.009) & (np.abs(side - 0.031) < 0.014), 0.75, dark)
    blend(front & (np.abs(y - 0.034) < 0.006) & (np.abs(side - 0.032) < 0.02), 0.6, hair)
    blend(front & (np.abs(y + 0.052) < 0.008) & (side < 0.024), 0.8, face.lips)
    blend(front & (np.abs(y + 0.022) < 0.008) & (side < 0.016), 0.35, dark)  # shadow of the nose
    if face.glasses:
        blend(front & (np.abs(y - 0.012) < 0.017) & (side < 0.062), face.glasses, dark)
    blend((y > face.hairline + face.fringe * x) & (z > -0.1), 1.0, hair)
    if face.mask:
        blend((z > 0) & (y < -0.01) & (y > -0.1), 1.0, face.mask_colour)
