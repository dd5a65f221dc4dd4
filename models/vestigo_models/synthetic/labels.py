"""Random attribute labels with the marginals and correlations of the Market-1501 annotation.

The tables count the 1501 annotated identities (training and test) of the public `market_attribute.mat`
(docs/method.md, "Attribute annotations"). They form a Bayesian network whose edges are the pairs with the highest
mutual information: gender -> age -> {hair, hat, carrying, upper colour}, and gender -> lower type -> lower length (with
age) -> {sleeve, lower colour}. Carrying is one variable, because no annotated identity carries two kinds of things.
"""

import numpy as np

from vestigo_models.arrays import Int64Array

MALE, FEMALE = 0, 1
YOUNG, TEENAGER, ADULT, OLD = range(4)
DRESS, PANTS = 0, 1

# Columns of a label row, in the order of `MARKET_1501`.
GENDER, AGE, HAIR, SLEEVE, LOWER_LENGTH, LOWER_TYPE = range(6)
BACKPACK, HANDBAG, BAG, HAT, UPPER_COLOUR, LOWER_COLOUR = range(6, 12)

UPPER_COLOURS = ("black", "white", "red", "purple", "gray", "blue", "green", "yellow")
LOWER_COLOURS = ("black", "white", "pink", "gray", "blue", "green", "brown", "yellow", "purple")

_GENDER = (845, 656)
_AGE = ((10, 660, 166, 9), (6, 549, 97, 4))  # [gender]
# In the tables below `senior` is 0 for young and teenager, 1 for adult and old.
_HAIR = (((665, 5), (175, 0)), ((92, 463), (49, 52)))  # [gender][senior], short/long
_HAT = (((659, 11), (171, 4)), ((531, 24), (97, 4)))  # [gender][senior], no/yes
_LOWER_TYPE = ((0, 845), (195, 461))  # [gender], dress/pants
_LOWER_LENGTH = {  # (gender, type)[senior], long/short
    (MALE, PANTS): ((201, 469), (152, 23)),
    (FEMALE, DRESS): ((20, 140), (5, 30)),
    (FEMALE, PANTS): ((132, 263), (46, 20)),
}
_SLEEVE = (((15, 338), (8, 484)), ((32, 171), (29, 424)))  # [gender][lower length], long/short
_CARRYING = (  # [gender][young, teenager, adult or old], nothing/backpack/handbag/bag
    ((10, 0, 0, 0), (292, 244, 40, 84), (88, 7, 33, 47)),
    ((6, 0, 0, 0), (161, 132, 58, 198), (26, 3, 31, 41)),
)
_UPPER = (  # [gender][senior], the eight colours, then none
    ((114, 162, 57, 26, 89, 58, 53, 57, 54), (18, 52, 16, 5, 42, 16, 3, 2, 21)),
    ((68, 205, 64, 17, 52, 22, 36, 36, 55), (22, 17, 17, 6, 9, 2, 9, 2, 17)),
)
_LOWER = {  # (gender, length, type), the nine colours, then none
    (MALE, 0, PANTS): (173, 15, 1, 78, 54, 4, 24, 0, 0, 4),
    (MALE, 1, PANTS): (192, 24, 5, 110, 81, 8, 56, 0, 0, 16),
    (FEMALE, 0, DRESS): (6, 4, 0, 4, 3, 0, 2, 2, 0, 4),
    (FEMALE, 0, PANTS): (73, 10, 2, 20, 52, 7, 9, 0, 0, 5),
    (FEMALE, 1, DRESS): (41, 34, 24, 13, 14, 9, 6, 7, 0, 22),
    (FEMALE, 1, PANTS): (95, 21, 17, 24, 73, 6, 20, 2, 2, 23),
}


def sample_labels(rng: np.random.Generator, variety: float = 0.0) -> Int64Array:
    """Return the random labels of one identity.

    They are class ids (12,) in the order of `MARKET_1501`; -1 if a garment has none of the named colours. `variety` is
    the weight of even frequencies over the values that occur, against the real ones.
    """

    def pick(counts: tuple[int, ...]) -> int:
        weights = np.asarray(counts, dtype=np.float64)
        even = (weights > 0) / np.count_nonzero(weights)
        return int(rng.choice(len(weights), p=(1 - variety) * weights / weights.sum() + variety * even))

    row = np.zeros(12, dtype=np.int64)
    gender = row[GENDER] = pick(_GENDER)
    age = row[AGE] = pick(_AGE[gender])
    senior = int(age >= ADULT)
    row[HAIR] = pick(_HAIR[gender][senior])
    row[HAT] = pick(_HAT[gender][senior])
    kind = row[LOWER_TYPE] = pick(_LOWER_TYPE[gender])
    length = row[LOWER_LENGTH] = pick(_LOWER_LENGTH[gender, int(kind)][senior])
    row[SLEEVE] = pick(_SLEEVE[gender][length])
    carrying = pick(_CARRYING[gender][min(age, ADULT) if age else 0])
    row[[BACKPACK, HANDBAG, BAG]] = carrying == 1, carrying == 2, carrying == 3
    upper = pick(_UPPER[gender][senior])
    lower = pick(_LOWER[gender, int(length), int(kind)])
    row[UPPER_COLOUR] = upper if upper < len(UPPER_COLOURS) else -1
    row[LOWER_COLOUR] = lower if lower < len(LOWER_COLOURS) else -1
    return row
