"""Materials of a person: skin, hair, and clothes in the labelled colours with their patterns."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np

from vestigo_models.arrays import Float32Array, Float64Array, Int64Array
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.materials.fabric import Fabric

T = TypeVar("T")
Colour = Float32Array
"""Linear RGB in 0..1, (3,)."""

# Per name: several (hue degrees, saturation, value) ranges with a weight. Muted cloth is the more common.
_Range = tuple[float, float, float, float, float, float, float]
_CLOTH: dict[str, tuple[_Range, ...]] = {
    "black": ((0, 360, 0.0, 0.25, 0.05, 0.17, 3), (215, 245, 0.1, 0.4, 0.08, 0.2, 1)),
    "white": ((0, 360, 0.0, 0.05, 0.80, 0.97, 3), (30, 60, 0.03, 0.12, 0.78, 0.95, 1)),
    "gray": ((0, 360, 0.0, 0.08, 0.28, 0.66, 3), (200, 240, 0.03, 0.15, 0.25, 0.6, 1)),
    "red": ((-12, 8, 0.55, 0.9, 0.45, 0.85, 3), (-15, 5, 0.5, 0.85, 0.25, 0.45, 2), (-20, 0, 0.4, 0.6, 0.6, 0.9, 1)),
    "purple": ((265, 310, 0.2, 0.6, 0.25, 0.7, 2), (270, 300, 0.15, 0.3, 0.6, 0.85, 1)),
    "pink": ((-35, -5, 0.2, 0.5, 0.75, 0.95, 2), (-30, 0, 0.5, 0.75, 0.75, 0.92, 1)),
    "blue": (
        (205, 232, 0.3, 0.65, 0.22, 0.5, 3),
        (200, 225, 0.2, 0.5, 0.5, 0.8, 2),
        (215, 240, 0.6, 0.9, 0.35, 0.8, 1),
    ),
    "green": ((75, 160, 0.2, 0.5, 0.22, 0.5, 3), (85, 165, 0.4, 0.8, 0.35, 0.75, 2)),
    "yellow": ((42, 58, 0.45, 0.85, 0.7, 0.95, 2), (44, 54, 0.3, 0.5, 0.7, 0.9, 1)),
    "brown": ((18, 36, 0.3, 0.6, 0.2, 0.42, 3), (24, 40, 0.22, 0.4, 0.42, 0.62, 2)),
    # Colours that the annotation has no name for: orange, beige, teal.
    "none": ((16, 32, 0.6, 0.9, 0.7, 0.95, 1), (28, 42, 0.15, 0.32, 0.6, 0.8, 1), (170, 192, 0.35, 0.8, 0.3, 0.7, 1)),
}
# Skin tones from light to dark, sRGB.
_SKIN = ((238, 205, 182), (226, 186, 155), (205, 160, 128), (176, 128, 96), (130, 90, 66), (86, 58, 44))
_SKIN_WEIGHTS = (0.2, 0.3, 0.22, 0.13, 0.09, 0.06)
_HAIR = ((18, 15, 14), (34, 26, 22), (62, 44, 32), (98, 70, 46), (150, 116, 74), (120, 56, 34))
_HAIR_WEIGHTS = (0.45, 0.22, 0.15, 0.09, 0.06, 0.03)
_COMMON = ("black", "white", "gray", "blue", "brown", "red", "green", "yellow", "pink", "purple", "none")
_COMMON_WEIGHTS = (26, 16, 16, 15, 8, 5, 5, 2, 2, 2, 3)
_SHOES = ("black", "brown", "white", "gray", "red", "blue")
_SHOES_WEIGHTS = (0.4, 0.17, 0.2, 0.13, 0.04, 0.06)


def linear(srgb: Float64Array | tuple[float, float, float]) -> Colour:
    """Return sRGB values in 0..1 as linear light."""
    return np.asarray(np.asarray(srgb, dtype=np.float64) ** 2.2, dtype=np.float32)


def sample_cloth_colour(rng: np.random.Generator, name: str) -> Colour:
    """Return a random shade of a named cloth colour."""
    h0, h1, s0, s1, v0, v1, _ = pick(rng, _CLOTH[name], [weight for *_, weight in _CLOTH[name]])
    hue, saturation, value = rng.uniform(h0, h1), rng.uniform(s0, s1), rng.uniform(v0, v1)
    return linear(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value))


def sample_common_colour(rng: np.random.Generator) -> Colour:
    """Return a random cloth colour with everyday frequencies."""
    return sample_cloth_colour(rng, pick(rng, _COMMON, _COMMON_WEIGHTS))


def _sample_tone(rng: np.random.Generator, srgb: tuple[int, int, int], spread: float) -> Colour:
    tone = np.asarray(srgb) + rng.normal(0, spread / 2) + rng.normal(0, 2, 3)
    return linear(np.clip(tone, 4, 250) / 255)


def pick(rng: np.random.Generator, values: Sequence[T], weights: Sequence[float]) -> T:
    """Return one of the values, at random with frequencies proportional to the weights."""
    shares = np.asarray(weights, dtype=np.float64)
    return values[int(rng.choice(len(values), p=shares / shares.sum()))]


class BodyPart(IntEnum):
    """Material of a person that a solid is made of."""

    SKIN = 0
    HAIR = 1
    UPPER = 2
    SLEEVE = 3
    LOWER = 4
    SHOES = 5
    HAT = 6
    BELONGING = 7
    SOCKS = 8


class Pattern(IntEnum):
    """Texture of a cloth, in body coordinates."""

    PLAIN = 0
    HORIZONTAL = 1
    VERTICAL = 2
    CHECKS = 3
    PLAID = 4
    BLOTCHES = 5
    PRINT = 6
    OPEN = 7
    YOKE = 8
    BAND = 9


@dataclass(frozen=True, kw_only=True)
class Material:
    """Cloth, skin or leather: linear RGB colours and their pattern, with lengths in metres on the body."""

    colour: Colour
    second: Colour
    pattern: Pattern = Pattern.PLAIN
    scale: float = 0.1
    phase: float = 0.0
    share: float = 0.5
    folds: float = 0.0
    creases: tuple[tuple[float, float, float], ...] = ()  # waves: radians a metre around and along, phase
    gloss: float = 0.0
    fabric: Fabric | None = None  # replaces the pattern and the creases
    relief: float = 0.0  # root mean square slope of the folds
    relief_kind: int = 0


def _sample_cloth(rng: np.random.Generator, colour: Colour, patterns: dict[Pattern, float]) -> Material:
    return Material(
        colour=colour,
        second=sample_common_colour(rng),
        pattern=pick(rng, tuple(patterns), tuple(patterns.values())),
        scale=float(rng.uniform(0.035, 0.14)),
        phase=float(rng.uniform(0, 1)),
        # The labelled colour remains the garment's main colour.
        share=float(rng.uniform(0.12, 0.42)),
        folds=float(rng.uniform(0.08, 0.3)),
        creases=_creases(rng),
        gloss=float(rng.choice([0.0, 0.0, 0.06, 0.15])),
    )


def _creases(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    turns = rng.uniform(0, 2 * np.pi, (3, 2))
    return tuple(
        (float(f * np.cos(angle)), float(f * np.sin(angle)), float(phase))
        for f, (angle, phase) in zip((22.0, 40.0, 75.0), turns, strict=True)
    )


_UPPER_PATTERNS = {
    Pattern.PLAIN: 0.42,
    Pattern.PRINT: 0.17,
    Pattern.OPEN: 0.13,
    Pattern.HORIZONTAL: 0.08,
    Pattern.YOKE: 0.06,
    Pattern.BAND: 0.05,
    Pattern.CHECKS: 0.02,
    Pattern.PLAID: 0.04,
    Pattern.VERTICAL: 0.02,
    Pattern.BLOTCHES: 0.03,
}
_LOWER_PATTERNS = {
    Pattern.PLAIN: 0.86,
    Pattern.BAND: 0.04,
    Pattern.PLAID: 0.03,
    Pattern.HORIZONTAL: 0.02,
    Pattern.VERTICAL: 0.02,
    Pattern.BLOTCHES: 0.03,
}
_BAG_PATTERNS = {Pattern.PLAIN: 0.6, Pattern.BAND: 0.4}
# "None of the named colours" is mostly cloth of several colours.
_MIXED_PATTERNS = {Pattern.PLAIN: 0.4, Pattern.BLOTCHES: 0.25, Pattern.PLAID: 0.2, Pattern.HORIZONTAL: 0.15}


def _sample_garment(
    rng: np.random.Generator, label: int, names: tuple[str, ...], patterns: dict[Pattern, float]
) -> Material:
    name, patterns = (names[label], patterns) if label >= 0 else ("none", _MIXED_PATTERNS)
    return _sample_cloth(rng, sample_cloth_colour(rng, name), patterns)


def sample_materials(rng: np.random.Generator, labels: Int64Array) -> tuple[Material, ...]:
    """Return random materials of a person with these labels, indexed by `BodyPart`."""
    skin = _sample_tone(rng, pick(rng, _SKIN, _SKIN_WEIGHTS), 10.0)
    # Grey hair is the strongest cue of old age; some adults have it too.
    if labels[at.AGE] == at.OLD or (labels[at.AGE] == at.ADULT and rng.random() < 0.2):
        hair = linear(np.full(3, rng.uniform(0.5, 0.85)) * np.array([1.0, 0.99, 0.96]))
    else:
        hair = _sample_tone(rng, pick(rng, _HAIR, _HAIR_WEIGHTS), 6.0)
    upper = _sample_garment(rng, int(labels[at.UPPER_COLOUR]), at.UPPER_COLOURS, _UPPER_PATTERNS)
    lower = _sample_garment(rng, int(labels[at.LOWER_COLOUR]), at.LOWER_COLOURS, _LOWER_PATTERNS)
    sleeve = upper
    if upper.pattern in (Pattern.PRINT, Pattern.OPEN, Pattern.YOKE, Pattern.PLAIN):
        other = upper.pattern != Pattern.OPEN and rng.random() < 0.12
        colour = upper.second if other else upper.colour
        sleeve = replace(upper, colour=colour, pattern=Pattern.PLAIN)
    shoes = sample_cloth_colour(rng, pick(rng, _SHOES, _SHOES_WEIGHTS))
    hose = skin if rng.random() < 0.8 else sample_cloth_colour(rng, "black")
    return (
        Material(colour=skin, second=skin),
        Material(colour=hair, second=hair * 0.7, folds=0.25, creases=_creases(rng), gloss=0.05),
        upper,
        sleeve,
        lower,
        Material(colour=shoes, second=sample_common_colour(rng), gloss=0.08),
        _sample_cloth(rng, sample_common_colour(rng), {Pattern.PLAIN: 1.0}),
        _sample_cloth(rng, sample_common_colour(rng), _BAG_PATTERNS),
        Material(colour=hose, second=hose),
    )
