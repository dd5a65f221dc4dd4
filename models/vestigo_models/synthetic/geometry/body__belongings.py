"""Backpacks, shoulder bags and handbags as objects in space; their straps are painted in `shading`."""

from __future__ import annotations

import numpy as np

from vestigo_models.synthetic.geometry.body__builder import BELONGINGS, FRONT, UP, Builder, Vector
from vestigo_models.synthetic.geometry.raycast import FRUSTUM
from vestigo_models.synthetic.materials.clothes import Part
from vestigo_models.synthetic.people import Person


def add_handbag(build: Builder, person: Person, grip: Vector, unit: float) -> None:
    """Hang a handbag from `grip`: a hand, or the crook of the arm."""
    size = person.wear.bag_size
    side = np.array([1.0, 0, 0])
    top = grip - 0.12 * UP * size
    half = (0.13, 0.17, 0.15)[person.wear.bag_style] * size
    tall = (0.2, 0.32, 0.22)[person.wear.bag_style] * size
    build.add(
        top - tall * UP, top, half * 1.05, half * 0.85, Part.BELONGING, BELONGINGS,
        front=side, wide=1.0, deep=0.36, kind=FRUSTUM,
    )  # fmt: skip
    for end in (-0.5, 0.5):
        build.add(grip, top + FRONT * half * end, 0.011, 0.011, Part.BELONGING, BELONGINGS, front=side)


def add_backpack(
    build: Builder, person: Person, spine: Vector, tilt: Vector, front: Vector, unit: float, thick: float
) -> None:
    """Put a backpack on the back, along the spine."""
    size = person.wear.bag_size
    back = spine - front * (0.16 * thick + person.wear.loose)
    low, high = back + (0.12 * unit) * tilt, back + (0.12 * unit + 0.2 * size) * tilt
    w0 = 0.145 * size
    build.add(low, high, w0, w0 * 0.9, Part.BELONGING, BELONGINGS, front=front, wide=1.0, deep=0.66 + 0.1 * (size - 1))
    if person.wear.bag_style:
        pocket = low - front * 0.06 * size
        build.add(
            pocket, pocket + 0.07 * tilt, 0.11 * size, 0.1 * size, Part.BELONGING, BELONGINGS, front=front, deep=0.6
        )


def add_bag(build: Builder, person: Person, spine: Vector, unit: float, thick: float) -> None:
    """Hang a shoulder bag at the hip."""
    wear = person.wear
    size = wear.bag_size
    side = wear.bag_side * np.array([1.0, 0, 0])
    out = 0.19 * thick * person.shape.hips + wear.loose
    depth = (0.0, -0.07, 0.05)[wear.bag_style]
    centre = spine + side * out + FRONT * depth - 0.06 * unit * UP
    half, tall = (0.15, 0.13, 0.17)[wear.bag_style] * size, (0.2, 0.24, 0.26)[wear.bag_style] * size
    build.add(
        centre - 0.5 * tall * UP, centre + 0.5 * tall * UP, half, half * 0.92, Part.BELONGING, BELONGINGS,
        front=side, deep=0.4, kind=FRUSTUM,
    )  # fmt: skip
