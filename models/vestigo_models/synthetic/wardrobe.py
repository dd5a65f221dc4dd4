"""Wardrobe: clothes with woven fabrics, prints, layers and folds, and faces, for a person whose labels are given.

The labelled colour of a garment remains that of most of its cloth.
"""

from dataclasses import replace

import numpy as np

from vestigo_models.arrays import Int64Array
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.materials.clothes import (
    BodyPart,
    Colour,
    Material,
    pick,
    sample_cloth_colour,
    sample_common_colour,
)
from vestigo_models.synthetic.materials.fabric import Cut, Fabric, Weave
from vestigo_models.synthetic.materials.face import sample_face
from vestigo_models.synthetic.materials.relief import KINDS
from vestigo_models.synthetic.people import Clothing, Person

_UPPER_WEAVES = {
    Weave.PLAIN: 0.56,
    Weave.STRIPES: 0.1,
    Weave.PINSTRIPES: 0.03,
    Weave.GINGHAM: 0.04,
    Weave.PLAID: 0.07,
    Weave.FLOWERS: 0.06,
    Weave.DOTS: 0.03,
    Weave.CAMOUFLAGE: 0.02,
    Weave.GRADIENT: 0.03,
    Weave.KNIT: 0.06,
}
_LOWER_WEAVES = {
    Weave.PLAIN: 0.74,
    Weave.PLAID: 0.05,
    Weave.FLOWERS: 0.04,
    Weave.STRIPES: 0.02,
    Weave.PINSTRIPES: 0.02,
    Weave.CAMOUFLAGE: 0.04,
    Weave.DOTS: 0.02,
    Weave.KNIT: 0.07,
}
_SKIRT_WEAVES = _LOWER_WEAVES | {Weave.PLAIN: 0.45, Weave.FLOWERS: 0.2, Weave.GINGHAM: 0.08, Weave.STRIPES: 0.08}
_MIXED_WEAVES = {Weave.PLAIN: 0.3, Weave.FLOWERS: 0.25, Weave.PLAID: 0.2, Weave.GINGHAM: 0.1, Weave.STRIPES: 0.15}
_BAG_WEAVES = {Weave.PLAIN: 0.85, Weave.PLAID: 0.05, Weave.FLOWERS: 0.04, Weave.CAMOUFLAGE: 0.03, Weave.DOTS: 0.03}
_SHORT_CUTS = {Cut.NONE: 0.32, Cut.PRINT: 0.42, Cut.SHIRT: 0.16, Cut.BLOCKS: 0.1}
_LONG_CUTS = {Cut.NONE: 0.18, Cut.PRINT: 0.16, Cut.SHIRT: 0.2, Cut.OPEN: 0.22, Cut.ZIP: 0.18, Cut.BLOCKS: 0.06}
ONE_PIECE = 0.45
"""Share of skirts that are one-piece dresses: the upper garment is of the same cloth."""


def sample_wardrobe(rng: np.random.Generator, person: Person) -> Person:
    """Return a person of the same body with other clothes, hair and face.

    The labels remain, except that both garments of a one-piece dress have the same colour.
    """
    labels = person.labels.copy()
    one_piece = labels[at.LOWER_TYPE] == at.DRESS and rng.random() < ONE_PIECE and _share_colour(labels)
    skirt, female = labels[at.LOWER_TYPE] == at.DRESS, bool(labels[at.GENDER] == at.FEMALE)
    cuts = {Cut.NONE: 1.0} if one_piece else _LONG_CUTS if labels[at.SLEEVE] == 0 else _SHORT_CUTS
    upper = _sample_garment(rng, at.UPPER_COLOURS, int(labels[at.UPPER_COLOUR]), _UPPER_WEAVES, cuts)
    lower_weaves = _SKIRT_WEAVES if skirt else _LOWER_WEAVES
    lower = _sample_garment(
        rng, at.LOWER_COLOURS, int(labels[at.LOWER_COLOUR]), lower_weaves, {Cut.NONE if skirt else Cut.TROUSERS: 1.0}
    )
    if not skirt and lower.fabric and labels[at.LOWER_COLOUR] == at.LOWER_COLOURS.index("blue") and rng.random() < 0.75:
        lower = replace(lower, fabric=replace(lower.fabric, weave=Weave.DENIM))
    if one_piece:
        upper = lower = lower if rng.random() < 0.7 else upper
    sleeve = upper
    if upper.fabric and upper.fabric.cut in (Cut.PRINT, Cut.BLOCKS) and rng.random() < 0.15:  # raglan
        sleeve = _cloth(rng, np.asarray(upper.fabric.colours[1], np.float32), {Weave.PLAIN: 1.0}, {Cut.NONE: 1.0})
    materials = list(person.materials)
    skin = materials[BodyPart.SKIN].colour * np.float32(rng.uniform(0.7, 0.95))
    materials[BodyPart.SKIN] = Material(colour=skin, second=skin, gloss=0.03)
    materials[BodyPart.UPPER], materials[BodyPart.SLEEVE], materials[BodyPart.LOWER] = upper, sleeve, lower
    bag_colour = sample_common_colour(rng)
    materials[BodyPart.BELONGING] = _cloth(rng, bag_colour, _BAG_WEAVES, {Cut.BAG: 1.0})
    hose = _sample_hose(rng, skin, skirt=bool(skirt))
    materials[BodyPart.SOCKS] = Material(colour=hose, second=hose)
    locks = float(rng.uniform(0.2, 0.6))
    materials[BodyPart.HAIR] = replace(materials[BodyPart.HAIR], relief=locks, relief_kind=int(rng.integers(KINDS)))
    face = sample_face(rng, female=female, child=bool(labels[at.AGE] == at.YOUNG))
    clothing = _sample_cut(rng, labels, person.clothing, one_piece=bool(one_piece))
    shape = replace(person.shape, sloping=float(rng.uniform(0.015, 0.04)))
    return replace(person, labels=labels, shape=shape, clothing=clothing, materials=tuple(materials), face=face)


def _share_colour(labels: Int64Array) -> bool:
    """Give the lower garment the upper one's colour; return False if it has no such value."""
    upper = labels[at.UPPER_COLOUR]
    if upper < 0:
        labels[at.LOWER_COLOUR] = -1
        return True
    name = at.UPPER_COLOURS[upper]
    if name not in at.LOWER_COLOURS:
        return False
    labels[at.LOWER_COLOUR] = at.LOWER_COLOURS.index(name)
    return True


def _sample_garment(
    rng: np.random.Generator, names: tuple[str, ...], label: int, weaves: dict[Weave, float], cuts: dict[Cut, float]
) -> Material:
    name, weaves = (names[label], weaves) if label >= 0 else ("none", _MIXED_WEAVES)
    return _cloth(rng, sample_cloth_colour(rng, name), weaves, cuts)


def _cloth(rng: np.random.Generator, colour: Colour, weaves: dict[Weave, float], cuts: dict[Cut, float]) -> Material:
    second, third = sample_common_colour(rng), sample_common_colour(rng)
    colours = tuple(tuple(float(value) for value in tone) for tone in (colour, second, third))
    fabric = Fabric(
        weave=pick(rng, tuple(weaves), tuple(weaves.values())),
        cut=pick(rng, tuple(cuts), tuple(cuts.values())),
        colours=colours,  # type: ignore[arg-type]
        seed=int(rng.integers(2**31)),
        strength=float(rng.uniform(0.5, 1.0)),
        fuzz=float(rng.uniform(0.03, 0.14)),
    )
    return Material(
        colour=colour,
        second=second,
        fabric=fabric,
        relief=float(rng.uniform(0.1, 0.4)),
        relief_kind=int(rng.integers(KINDS)),
        phase=float(rng.uniform(0, 1)),
        gloss=float(rng.choice([0.0, 0.0, 0.04, 0.12])),
    )


def _sample_hose(rng: np.random.Generator, skin: Colour, *, skirt: bool) -> Colour:
    """Return the colour of stockings or leggings under a skirt, or of socks."""
    if skirt and rng.random() < 0.72:
        return skin
    return sample_cloth_colour(rng, pick(rng, ("black", "white", "gray", "brown"), (0.45, 0.3, 0.15, 0.1)))


def _sample_cut(rng: np.random.Generator, labels: Int64Array, clothing: Clothing, *, one_piece: bool) -> Clothing:
    skirt, female = labels[at.LOWER_TYPE] == at.DRESS, labels[at.GENDER] == at.FEMALE
    short, long_sleeves = labels[at.LOWER_LENGTH] == 1, labels[at.SLEEVE] == 0
    sleeve = clothing.sleeve
    if not long_sleeves:
        sleeve = 0.05 if rng.random() < (0.25 if female else 0.06) else float(rng.uniform(0.4, 0.95))
    lower_end = clothing.lower_end
    if short and skirt:
        lower_end = float(rng.uniform(0.5, 1.2))
    elif short:
        lower_end = float(rng.uniform(0.3, 0.8) if female and rng.random() < 0.6 else rng.uniform(0.6, 1.25))
    hem = clothing.hem if long_sleeves else float(rng.uniform(-0.02, 0.15))
    return replace(
        clothing,
        sleeve=sleeve,
        lower_end=lower_end,
        hem=-0.04 if one_piece else hem,
        loose=clothing.loose if long_sleeves else clothing.loose * 0.6,
        rise=0.9 if one_piece else 0.45 if hem < 0.02 else 0.25,
        boots=0.0 if short and rng.random() < 0.85 else clothing.boots,
        leg_width=float(rng.uniform(0.85, 1.5)) if not female else float(rng.uniform(0.8, 1.25)),
        flare=float(rng.uniform(1.0, 1.75)) if skirt else clothing.flare,
        hood=bool(long_sleeves and rng.random() < 0.2),
        scarf=bool(long_sleeves and rng.random() < 0.12),
        sock=float(rng.choice([0.0, 0.12, 0.25, 0.8], p=[0.5, 0.3, 0.15, 0.05])) if short and not skirt else 0.0,
        hair_volume=float(rng.uniform(0.97, 1.12)) if not female else float(rng.uniform(0.98, 1.22)),
        bun=bool(female and labels[at.HAIR] == 0 and rng.random() < 0.4),
    )
