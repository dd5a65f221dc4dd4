"""Rendered identities: labels, body shape, clothing and materials, all constant for one identity."""

from dataclasses import dataclass

import numpy as np

from vestigo_models.arrays import Int64Array
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.materials.clothes import Material, sample_materials
from vestigo_models.synthetic.materials.face import Face


@dataclass(frozen=True, kw_only=True)
class BodyShape:
    """Body measures: height in metres, the others as factors on the proportions of an average adult."""

    height: float
    build: float
    shoulders: float
    hips: float
    head: float
    legs: float
    bust: float
    belly: float
    stoop: float  # radians of forward lean
    stride: float
    arm_swing: float
    sloping: float = 0.0  # metres by which the shoulders slope

    @property
    def unit(self) -> float:
        """Height as a factor on that of an average adult."""
        return self.height / 1.72

    @property
    def thickness(self) -> float:
        """Thickness of the limbs as a factor on that of an average adult."""
        return self.build * self.unit


@dataclass(frozen=True, kw_only=True)
class Clothing:
    """Cut of the clothes, in fractions of a limb's length where no unit is given."""

    sleeve: float  # 0..2: 1 ends at the elbow, 2 at the wrist
    loose: float  # metres of cloth around the body
    hem: float  # metres the upper garment hangs below the hip joint
    lower_end: float  # 0..2: 1 ends at the knee, 2 at the ankle
    leg_width: float
    flare: float  # widening of a skirt
    boots: float  # height of the shoe's shaft, fraction of the shin
    hair_style: int
    hat_style: int
    bag_style: int
    bag_side: int  # -1 right, 1 left
    bag_size: float
    rise: float = 1.0  # height of the lower garment's waist, fraction of that of the body
    hood: bool = False  # on the back
    scarf: bool = False
    sock: float = 0.0  # height above the ankle, fraction of the shin
    hair_volume: float = 1.0
    bun: bool = False


@dataclass(frozen=True)
class Person:
    """One identity."""

    labels: Int64Array  # (12,), order of MARKET_1501
    shape: BodyShape
    clothing: Clothing
    materials: tuple[Material, ...]  # indexed by BodyPart
    face: Face | None = None

    def has(self, attribute: int) -> bool:
        """Return whether a yes/no attribute, given as a column of `labels`, is yes."""
        return bool(self.labels[attribute] == 1)


def sample_person(rng: np.random.Generator, variety: float = 0.0) -> Person:
    """Return a random identity; see `Preset.variety`."""
    labels = at.sample_labels(rng, variety)
    return Person(labels, _sample_shape(rng, labels), _sample_clothing(rng, labels), sample_materials(rng, labels))


def _sample_shape(rng: np.random.Generator, labels: Int64Array) -> BodyShape:
    female, age = labels[at.GENDER] == at.FEMALE, labels[at.AGE]
    height = rng.normal(1.64, 0.055) if female else rng.normal(1.755, 0.06)
    build = float(np.clip(rng.normal(0.95 if female else 1.0, 0.09), 0.78, 1.3))
    head, legs, stoop, stride, belly = 1.0, rng.normal(1.0, 0.02), rng.normal(0.03, 0.02), rng.normal(1.0, 0.1), 0.0
    if age == at.YOUNG:
        height, head, legs, build = rng.uniform(1.05, 1.4), 1.22, 0.93, build * 1.05
    elif age == at.ADULT:
        build, belly = build * rng.uniform(1.05, 1.22), rng.uniform(0.1, 1.0)
    elif age == at.OLD:
        height, build, belly = height - 0.06, build * rng.uniform(1.0, 1.2), rng.uniform(0.1, 0.8)
        stoop, stride = rng.uniform(0.18, 0.35), rng.uniform(0.45, 0.7)
    return BodyShape(
        height=float(height),
        build=build,
        shoulders=float(rng.normal(0.9 if female else 1.03, 0.045)),
        hips=float(rng.normal(1.1 if female else 0.98, 0.05)),
        head=float(head * rng.normal(1.0, 0.03)),
        legs=float(legs),
        bust=float(rng.uniform(0.4, 1.0)) if female and age != at.YOUNG else 0.0,
        belly=float(belly),
        stoop=float(stoop),
        stride=float(stride),
        arm_swing=float(rng.uniform(0.4, 1.2)),
    )


def _sample_clothing(rng: np.random.Generator, labels: Int64Array) -> Clothing:
    if labels[at.LOWER_TYPE] == at.DRESS:
        ends = (1.5, 1.9), (0.45, 1.15)
    else:
        ends = (1.85, 2.0), (0.45, 1.2)
    lower_end = rng.uniform(*ends[labels[at.LOWER_LENGTH]])  # long or short
    coat = labels[at.SLEEVE] == 0 and rng.random() < 0.6
    return Clothing(
        sleeve=float(rng.uniform(1.75, 1.98) if labels[at.SLEEVE] == 0 else rng.choice([0.35, 0.6, 0.75, 0.9])),
        loose=float(rng.uniform(0.012, 0.03) if coat else rng.uniform(0.0, 0.02)),
        hem=float(rng.uniform(0.03, 0.22) if coat else rng.uniform(-0.05, 0.08)),
        lower_end=float(lower_end),
        leg_width=float(rng.choice([0.9, 1.05, 1.25]) + rng.normal(0, 0.04)),
        flare=float(rng.uniform(1.0, 1.6)),
        boots=float(rng.choice([0.0, 0.0, 0.0, 0.35, 0.8]) if labels[at.GENDER] else rng.choice([0.0] * 9 + [0.25])),
        hair_style=int(rng.integers(3)),
        hat_style=int(rng.integers(3)),
        bag_style=int(rng.integers(3)),
        bag_side=int(rng.choice([-1, 1])),
        bag_size=float(rng.uniform(0.85, 1.2)),
    )
