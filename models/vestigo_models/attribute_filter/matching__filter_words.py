"""A gallery grouped by filter word, so that a filter decides about a word once and not about every crop that has it.

Groups are sorted by what they say of the attribute that divides people best, then of the next, and so on: crops that
stay for a query lie near one another, and neighbours are refused together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vestigo_models.attribute_filter.rule import Floats, Words, class_masks, confidences, encode, least_kept, opposed
from vestigo_models.schemas.attributes import AttributeSchema

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stay:
    """What stays of a gallery for one query: whole `groups`, and `places` that came back out of groups of which not
    all did; int64, ascending."""

    groups: Rows
    places: Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryWords:
    """G crops in groups of one word each; a place is a position in grouped order.

    Attributes:
        words: (W,) uint64, the distinct words, in the order of their groups.
        starts: (W + 1,) int64, where each group begins, and G.
        order: (G,) int64, the gallery row at each place, ascending within a group.
        confidences: (n, G) float32, how sure each prediction is, in grouped order.
    """

    schema: AttributeSchema
    threshold: float
    names: tuple[str, ...]
    max_conflicts: int
    words: Words
    starts: Rows
    order: Rows
    confidences: Floats

    @classmethod
    def of(
        cls,
        probabilities: Floats,
        schema: AttributeSchema,
        threshold: float,
        names: Sequence[str] = (),
        max_conflicts: int = 0,
    ) -> GalleryWords:
        """Group a gallery by its (G, M) probabilities; the rest as in `encode` and `survivors`."""
        words = encode(probabilities, schema, threshold, names)
        order = np.argsort(_by_power(words, schema), kind="stable")
        starts = np.flatnonzero(np.diff(words[order], prepend=~words[order[:1]]))
        return cls(
            schema=schema,
            threshold=threshold,
            names=tuple(names or schema.names),
            max_conflicts=max_conflicts,
            words=words[order[starts]],
            starts=np.append(starts, len(words)).astype(np.int64),
            order=order.astype(np.int64),
            confidences=np.ascontiguousarray(confidences(probabilities, schema)[order].T),
        )

    def __len__(self) -> int:
        return len(self.order)

    def stay(self, probabilities: Floats) -> list[Stay]:
        """What stays for each of Q queries, (Q, M) probabilities: exactly what `survivors` keeps, with
        `conflict_penalty` to order what comes back."""
        refused = opposed(encode(probabilities, self.schema, self.threshold, self.names), self.schema)
        return [
            self._stay(word, sure) for word, sure in zip(refused, confidences(probabilities, self.schema), strict=True)
        ]

    def runs(self, stay: Stay) -> Rows:
        """The places that stay: (R, 2) int64, first and one past the last of each run, ascending and disjoint."""
        # Groups in line make one run.
        ends = np.flatnonzero(np.diff(stay.groups, append=-1) != 1)
        begins = np.append(0, ends[:-1] + 1)[: len(ends)]
        runs = np.stack([self.starts[stay.groups[begins]], self.starts[stay.groups[ends] + 1]], axis=1)
        if not len(stay.places):
            return runs
        runs = np.concatenate([runs, np.stack([stay.places, stay.places + 1], axis=1)])
        return runs[np.argsort(runs[:, 0])]

    def rows(self, stay: Stay) -> Rows:
        """The gallery rows that stay, ascending."""
        return np.sort(self.order[spread(self.runs(stay))])

    @cached_property
    def sizes(self) -> Rows:
        """(W,) int64, how many crops each group has."""
        return np.diff(self.starts)

    def _stay(self, refused: np.uint64, sure: Floats) -> Stay:
        counts = np.bitwise_count(self.words & refused)
        groups = np.flatnonzero(counts <= self.max_conflicts)
        missing = least_kept(len(self)) - int(self.sizes[groups].sum())
        if missing <= 0:
            return Stay(groups=groups, places=_NONE)
        # Too few: level by level of conflicts, whole groups while they fit, and the best of the last level.
        level = self.max_conflicts + 1
        last = np.flatnonzero(counts == level)
        while (held := int(self.sizes[last].sum())) < missing:
            groups = np.union1d(groups, last)
            missing -= held
            level += 1
            last = np.flatnonzero(counts == level)
        places = spread(np.stack([self.starts[last], self.starts[last + 1]], axis=1))
        penalties = self._penalties(refused, sure, last, level, places)
        cut = np.partition(penalties, missing - 1)[missing - 1]
        near = np.flatnonzero(penalties <= cut)
        best = near[np.lexsort((self.order[places[near]], penalties[near]))[:missing]]
        return Stay(groups=groups, places=np.sort(places[best]))

    def _penalties(self, refused: np.uint64, sure: Floats, groups: Rows, level: int, places: Rows) -> Floats:
        """`conflict_penalty` of the query with the places of groups of `level` conflicts each, in the same order."""
        clash = (self.words[groups] & refused)[:, None] & class_masks(self.schema)
        attributes = np.nonzero(clash)[1].reshape(len(groups), level)
        total = np.zeros(len(places), dtype=np.float32)
        for column in attributes.T:
            at = np.repeat(column, self.sizes[groups])
            total += sure[at] + self.confidences[at, places]
        return total


_NONE = np.empty(0, dtype=np.int64)


def spread(runs: Rows) -> Rows:
    """The places of (R, 2) runs, one run after the other."""
    lengths = runs[:, 1] - runs[:, 0]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(runs[:, 1] - ends, lengths), dtype=np.int64)


def _by_power(words: Words, schema: AttributeSchema) -> Words:
    """The words with their attributes in another order: the higher its bits, the more pairs an attribute refuses."""
    powers = []
    for mask in class_masks(schema):
        said, counts = np.unique(words & mask, return_counts=True)
        shares = counts[said != 0] / max(1, len(words))
        powers.append(shares.sum() ** 2 - (shares**2).sum())
    keys = np.zeros_like(words)
    shift = 0
    for at in np.argsort(powers, kind="stable"):
        place = schema.slice(schema.names[at])
        classes = place.stop - place.start
        keys |= ((words >> np.uint64(place.start)) & np.uint64((1 << classes) - 1)) << np.uint64(shift)
        shift += classes
    return keys
