"""Materials of a person: skin, hair, and clothes in the labelled colours with their patterns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vestigo_models.synthetic import people__attributes as at
from vestigo_models.synthetic.materials import clothes__palette as palette
from vestigo_models.synthetic.materials.clothes__palette import Colour


class Part(IntEnum):
    """Which material of a person a solid is made of."""

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
    """Cloth, skin or leather: linear RGB colours and how they are laid out. Lengths are metres on the body."""

    colour: Colour
    second: Colour
    pattern: Pattern = Pattern.PLAIN
    scale: float = 0.1
    phase: float = 0.0
    share: float = 0.5
    folds: float = 0.0
    creases: tuple[tuple[float, float, float], ...] = ()  # waves: radians a metre around and along, phase
    gloss: float = 0.0


def _cloth(rng: np.random.Generator, colour: Colour, second: Colour, patterns: dict[Pattern, float]) -> Material:
    kinds = list(patterns)
    weights = np.array([patterns[k] for k in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    return Material(
        colour=colour,
        second=second,
        pattern=kind,
        scale=float(rng.uniform(0.035, 0.14)),
        phase=float(rng.uniform(0, 1)),
        # The named colour must stay the garment's main colour.
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


_SHOES = (0.4, 0.17, 0.2, 0.13, 0.04, 0.06)
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
# "None of the named colours" is mostly cloth of several colours.
_MIXED_PATTERNS = {Pattern.PLAIN: 0.4, Pattern.BLOTCHES: 0.25, Pattern.PLAID: 0.2, Pattern.HORIZONTAL: 0.15}


def _garment(rng: np.random.Generator, label: int, names: tuple[str, ...], patterns: dict[Pattern, float]) -> Material:
    if label >= 0:
        return _cloth(rng, palette.cloth(rng, names[label]), palette.common_cloth(rng), patterns)
    return _cloth(rng, palette.cloth(rng, "none"), palette.common_cloth(rng), _MIXED_PATTERNS)


def draw_materials(rng: np.random.Generator, labels: NDArray[np.int64]) -> tuple[Material, ...]:
    """Draw what somebody with these labels is made of and dressed in, indexed by `Part`."""
    skin, plain = palette.skin_colour(rng), {Pattern.PLAIN: 1.0}
    # Gray hair is the strongest cue of old age; some adults have a little of it.
    gray = labels[at.AGE] == at.OLD or (labels[at.AGE] == at.ADULT and rng.random() < 0.2)
    hair = palette.hair_colour(rng, bool(gray))
    upper = _garment(rng, int(labels[at.UPPER_COLOUR]), at.UPPER_COLOURS, _UPPER_PATTERNS)
    lower = _garment(rng, int(labels[at.LOWER_COLOUR]), at.LOWER_COLOURS, _LOWER_PATTERNS)
    sleeve = upper
    if upper.pattern in (Pattern.PRINT, Pattern.OPEN, Pattern.YOKE, Pattern.PLAIN):
        other = upper.pattern != Pattern.OPEN and rng.random() < 0.12
        sleeve = Material(
            colour=upper.second if other else upper.colour,
            second=upper.second,
            folds=upper.folds,
            creases=upper.creases,
            gloss=upper.gloss,
        )
    shoes = palette.cloth(rng, ("black", "brown", "white", "gray", "red", "blue")[int(rng.choice(6, p=_SHOES))])
    hose = skin if rng.random() < 0.8 else palette.cloth(rng, "black")
    return (
        Material(colour=skin, second=skin),
        Material(colour=hair, second=hair * 0.7, folds=0.25, creases=_creases(rng), gloss=0.05),
        upper,
        sleeve,
        lower,
        Material(colour=shoes, second=palette.common_cloth(rng), gloss=0.08),
        _cloth(rng, palette.common_cloth(rng), palette.common_cloth(rng), plain),
        _cloth(rng, palette.common_cloth(rng), palette.common_cloth(rng), {Pattern.PLAIN: 0.6, Pattern.BAND: 0.4}),
        Material(colour=hose, second=hose),
    )
