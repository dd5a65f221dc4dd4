"""A gallery grouped by filter word, so that a filter decides about a word once and not about every crop that has it.

Sorted by word, crops that stay for a query lie near one another: the highest bits are those of the last attributes,
which are the colours in the built-in schemas and divide people best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vestigo_models.gallery_filter import Floats, Words, class_masks, confidences, encode, least_kept, opposed
from vestigo_models.schemas import AttributeSchema

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stay:
    """What stays of a gallery for one query: whole `groups` (W,) bool, and `places` (int64, ascending, in grouped
    order) that came back out of groups of which not all did."""

    groups: Flags
    places: Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryWords:
    """G crops in groups of one word each; a place is a position in grouped order.

    Attributes:
        words: (W,) uint64, the distinct words, ascending.
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
        order = np.argsort(words, kind="stable")
        distinct, starts = np.unique(words[order], return_index=True)
        return cls(
            schema=schema,
            threshold=threshold,
            names=tuple(names or schema.names),
            max_conflicts=max_conflicts,
            words=distinct,
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

    def places(self, stay: Stay) -> Rows:
        """The places that stay, ascending."""
        groups = np.flatnonzero(stay.groups)
        whole = spread(self.starts[groups], self.sizes[groups])
        return np.sort(np.concatenate([whole, stay.places])) if len(stay.places) else whole

    def rows(self, stay: Stay) -> Rows:
        """The gallery rows that stay, ascending."""
        return np.sort(self.order[self.places(stay)])

    @cached_property
    def sizes(self) -> Rows:
        """(W,) int64, how many crops each group has."""
        return np.diff(self.starts)

    def _stay(self, refused: np.uint64, sure: Floats) -> Stay:
        counts = np.bitwise_count(self.words & refused)
        groups = counts <= self.max_conflicts
        least = least_kept(len(self))
        if self.sizes[groups].sum() >= least:
            return Stay(groups=groups, places=_NONE)
        # Too few: all groups with fewer conflicts than the level at which there are enough, and the best of that level.
        reach = np.cumsum(np.bincount(counts, weights=self.sizes))
        level = int(np.searchsorted(reach, least))
        groups = counts < level
        missing = least - int(self.sizes[groups].sum())
        last = np.flatnonzero(counts == level)
        places = spread(self.starts[last], self.sizes[last])
        penalties = self._penalties(refused, sure, last, places)
        cut = np.partition(penalties, missing - 1)[missing - 1]
        near = np.flatnonzero(penalties <= cut)
        best = near[np.lexsort((self.order[places[near]], penalties[near]))[:missing]]
        return Stay(groups=groups, places=np.sort(places[best]))

    def _penalties(self, refused: np.uint64, sure: Floats, groups: Rows, places: Rows) -> Floats:
        """`conflict_penalty` of the query with the places of some groups, summed in the same order."""
        clash = (self.words[groups] & refused)[:, None] & class_masks(self.schema)
        total = np.zeros(len(places), dtype=np.float32)
        for name in self.names:
            at = self.schema.index(name)
            differ = np.flatnonzero(np.repeat(clash[:, at] != 0, self.sizes[groups]))
            total[differ] += sure[at] + self.confidences[at, places[differ]]
        return total


_NONE = np.empty(0, dtype=np.int64)


def spread(starts: Rows, lengths: Rows) -> Rows:
    """The numbers start, start + 1, ... of each run, one run after the other."""
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(total) + np.repeat(starts - before, lengths), dtype=np.int64)
