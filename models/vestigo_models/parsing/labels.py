"""Label sets of human parsers, and how their classes merge into regions (specification, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vestigo_models.schemas import REGIONS

BODY = len(REGIONS) - 1
"""Regions that a parser without a bag class can see: all but the last."""


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The classes of a parser.

    Attributes:
        regions: region id of each class.
        split: classes that cover upper and lower body (dresses): upper above the middle of the person, lower below.
        input_size: side in pixels of the square that the public model looks at.
    """

    name: str
    classes: tuple[str, ...]
    regions: tuple[int, ...]
    split: tuple[int, ...] = ()
    input_size: int = 512

    def __len__(self) -> int:
        return len(self.classes)


def _label_set(
    name: str, classes: str, merge: Mapping[str, tuple[int, ...]], split: tuple[int, ...] = (), input_size: int = 512
) -> LabelSet:
    names = tuple(classes.split())
    regions = [0] * len(names)
    for region, ids in merge.items():
        for index in ids:
            regions[index] = REGIONS.names.index(region)
    return LabelSet(name=name, classes=names, regions=tuple(regions), split=split, input_size=input_size)


LIP = _label_set(
    "lip",
    "background hat hair glove sunglasses upper-clothes dress coat socks pants jumpsuit scarf skirt face left-arm "
    "right-arm left-leg right-leg left-shoe right-shoe",
    {"head": (1, 2, 4, 13), "upper": (3, 5, 6, 7, 10, 11, 14, 15), "lower": (8, 9, 12, 16, 17), "shoes": (18, 19)},
    split=(6, 10),
    input_size=473,
)
ATR = _label_set(
    "atr",
    "background hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face left-leg right-leg "
    "left-arm right-arm bag scarf",
    {
        "head": (1, 2, 3, 11),
        "upper": (4, 7, 8, 14, 15, 17),
        "lower": (5, 6, 12, 13),
        "shoes": (9, 10),
        "belongings": (16,),
    },
    split=(7,),
)
PASCAL = _label_set(
    "pascal",
    "background head torso upper-arms lower-arms upper-legs lower-legs",
    {"head": (1,), "upper": (2, 3, 4), "lower": (5, 6)},
)
LABEL_SETS: dict[str, LabelSet] = {labels.name: labels for labels in (LIP, ATR, PASCAL)}
"""The label sets of the public checkpoints by name."""
