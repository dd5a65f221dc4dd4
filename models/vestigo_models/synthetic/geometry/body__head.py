"""Head, hair and hat."""

from __future__ import annotations

import numpy as np

from vestigo_models.synthetic import people__attributes as at
from vestigo_models.synthetic.geometry.body__builder import HEAD, UP, Builder, Vector
from vestigo_models.synthetic.geometry.raycast import FRUSTUM
from vestigo_models.synthetic.materials.clothes import Part
from vestigo_models.synthetic.people import Person


def add_head(build: Builder, person: Person, neck: Vector, lean: float, unit: float) -> None:
    """Set a head on the neck, with hair and, where the person has one, a hat."""
    size = person.shape.head * (0.5 + 0.5 * unit)
    up = np.array([0.0, np.cos(lean * 0.7), np.sin(lean * 0.7)])
    front = np.array([0.0, -np.sin(lean * 0.7), np.cos(lean * 0.7)])
    add, wear = build.add, person.wear
    add(neck - 0.04 * unit * UP, neck + 0.07 * up, 0.052 * unit, 0.05 * unit, Part.SKIN, HEAD)
    centre = neck + (0.115 * size) * up + 0.02 * front
    chin = centre - 0.035 * size * up + 0.012 * front
    add(chin, centre + 0.035 * size * up, 0.066 * size, 0.08 * size, Part.SKIN, HEAD, front=front, deep=1.16)
    add(centre + 0.1 * size * front, centre + 0.105 * size * front - 0.03 * up, 0.012, 0.016, Part.SKIN, HEAD)
    crown = centre + 0.05 * size * up - 0.026 * size * front
    long_hair = person.labels[at.HAIR] == 1
    bald = person.labels[at.GENDER] == at.MALE and wear.hair_style == 2 and person.labels[at.AGE] >= at.ADULT
    volume = 0.086 if bald else (0.096 if long_hair else 0.091)
    add(
        crown - 0.02 * size * up, crown + (0.0 if bald else 0.02) * size * up, volume * size, volume * size * 0.98,
        Part.HAIR, HEAD, front=front, deep=1.14,
    )  # fmt: skip
    if long_hair:
        nape = centre - 0.055 * size * front
        if wear.hair_style == 1:  # a pony tail
            knot = centre - 0.11 * size * front + 0.04 * up
            add(knot, knot - 0.2 * up - 0.05 * front, 0.036, 0.026, Part.HAIR, HEAD)
        else:
            drop = (0.24, 0.0, 0.36)[wear.hair_style]
            add(
                nape - drop * up - 0.035 * front, nape, 0.075 * size, 0.1 * size, Part.HAIR, HEAD,
                front=front, wide=1.12, deep=0.62,
            )  # fmt: skip
            for side in (-1, 1):
                lock = centre + np.array([side * 0.078 * size, 0, 0]) - 0.01 * front
                add(lock - (drop * 0.7) * up, lock, 0.028, 0.034, Part.HAIR, HEAD)
    if person.has(at.HAT):
        _hat(build, person, crown, up, front, size)


def _hat(build: Builder, person: Person, crown: Vector, up: Vector, front: Vector, size: float) -> None:
    style, add = person.wear.hat_style, build.add
    low = crown + 0.018 * size * up
    if style == 1:  # a knitted cap
        add(low - 0.01 * up, low + 0.04 * up, 0.103 * size, 0.094 * size, Part.HAT, HEAD, front=front, deep=1.12)
        return
    add(low, low + 0.03 * up, 0.1 * size, 0.095 * size, Part.HAT, HEAD, front=front, deep=1.12)
    if style == 0:  # a cap with a peak
        add(low + 0.085 * front, low + 0.165 * front - 0.012 * up, 0.07, 0.062, Part.HAT, HEAD, front=up, deep=0.16)
    else:  # a hat with a brim
        add(low - 0.002 * up, low + 0.014 * up, 0.19 * size, 0.18 * size, Part.HAT, HEAD, front=front, kind=FRUSTUM)
