"""Matching behind the attribute filter: the word of a query decides which runs of a grouped gallery are multiplied.

One query multiplies its runs where they lie and copies only what is scattered, so that it runs at the speed of memory.
Many queries go through the gallery together, a tile of neighbours at a time: the tile is read once, for all the
queries that keep any of it.

Those products only screen: what may be among the nearest k is computed again pair by pair, so that neither the
grouping of the gallery nor the company of a query changes an answer by a bit. Symbols: Q queries, G gallery crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vestigo_models.attribute_filter.rule import Floats, Words, class_masks, confidences, encode, least_kept, opposed
from vestigo_models.inference.distance import Descriptors
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


BRIDGE = 4
"""Runs so many crops apart are multiplied as one: cheaper than another call of the product."""
SHORT, BLOCK = 6, 128
"""Runs of fewer crops are copied together, so many crops at a time, and multiplied as one."""
TOGETHER = 8
"""From so many queries on a pass over tiles beats query by query."""
TILE = 64
"""Crops of a tile; the more, the better the product, and the more of it for nothing."""
AT_ONCE = 512
"""Queries that go through the gallery together."""
CELLS = 1 << 24
"""Query-gallery products held at a time, 4 bytes each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """The nearest k crops that stay for each of Q queries: gallery `rows` (Q, k) int64 and equation 14 `distances`
    (Q, k) float32, nearest first, equal ones by row; -1 and infinity where fewer stay. `kept` (Q,) int64 counts what
    stayed."""

    rows: Rows
    distances: Floats
    kept: Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class FilteredGallery:
    """A gallery's descriptors in the order of their words.

    Attributes:
        descriptors: of G crops, in grouped order.
        shown: (V, K-1) bool, the distinct visibilities.
        pattern: (G,) intp, which of them each place has.
    """

    words: GalleryWords
    descriptors: Descriptors
    shown: NDArray[np.bool_]
    pattern: Rows

    @classmethod
    def of(
        cls,
        descriptors: Descriptors,
        probabilities: Floats,
        schema: AttributeSchema,
        threshold: float,
        names: Sequence[str] = (),
        max_conflicts: int = 0,
    ) -> FilteredGallery:
        """Group a gallery, once for all queries; this copies its vectors. The rest as in `survivors`."""
        words = GalleryWords.of(probabilities, schema, threshold, names, max_conflicts)
        visible = descriptors.visible[words.order]
        shown, pattern = np.unique(visible, axis=0, return_inverse=True)
        return cls(
            words=words,
            descriptors=Descriptors(
                vectors=descriptors.vectors[words.order], visible=visible, always=descriptors.always
            ),
            shown=shown,
            pattern=pattern.reshape(-1).astype(np.int64),
        )

    def match(self, query: Descriptors, probabilities: Floats, k: int) -> Matches:
        """Find the nearest k crops that stay for each query, from its descriptor and its (Q, M) probabilities."""
        count = len(query)
        rows = np.full((count, k), -1, dtype=np.int64)
        distances = np.full((count, k), np.inf, dtype=np.float32)
        kept = np.zeros(count, dtype=np.int64)
        if not len(self.words):
            return Matches(rows=rows, distances=distances, kept=kept)
        for start in range(0, count, AT_ONCE):
            some = slice(start, min(start + AT_ONCE, count))
            vectors, stays = query.vectors[some], self.words.stay(probabilities[some])
            runs = [self.words.runs(stay) for stay in stays]
            places = [spread(some_runs) for some_runs in runs]
            if len(stays) < TOGETHER:
                products = [self._sliced(*both) for both in zip(vectors, runs, strict=True)]
            else:
                products = self._tiled(vectors, runs, places)
            for row, vector, where, rough in zip(range(start, some.stop), vectors, places, products, strict=True):
                shared = (self.shown & query.visible[row]).sum(axis=1).astype(np.float32) + query.always
                nearest, exact = self._nearest(vector, shared, where, rough, k)
                rows[row, : len(nearest)], distances[row, : len(nearest)] = nearest, exact
                kept[row] = len(where)
        return Matches(rows=rows, distances=distances, kept=kept)

    def _sliced(self, vector: Floats, runs: Rows) -> Floats:
        """Products of one query with the places of its runs."""
        apart = np.flatnonzero(runs[1:, 0] - runs[:-1, 1] > BRIDGE)
        first, last = runs[np.append(0, apart + 1), 0], runs[np.append(apart, len(runs) - 1), 1]
        ends = np.cumsum(last - first)
        products = np.empty(ends[-1], dtype=np.float32)
        long = last - first >= SHORT
        for begin, end, at in zip(first[long].tolist(), last[long].tolist(), ends[long].tolist(), strict=True):
            np.dot(self.descriptors.vectors[begin:end], vector, out=products[at - end + begin : at])
        if not long.all():
            scattered = np.stack([first, last], axis=1)[~long]
            products[spread(scattered + (ends - last)[~long, None])] = self._gathered(vector, spread(scattered))
        # Leave out what only bridged: where each run came to lie.
        moved = (ends - last)[np.searchsorted(first, runs[:, 0], side="right") - 1]
        return products[spread(runs + moved[:, None])]

    def _gathered(self, vector: Floats, places: Rows) -> Floats:
        """Products of one query with single places, copied together a block at a time that stays in cache."""
        products = np.empty(len(places), dtype=np.float32)
        block = np.empty((BLOCK, len(vector)), dtype=np.float32)
        for start in range(0, len(places), BLOCK):
            some = places[start : start + BLOCK]
            # Places are in range; any other mode than "clip" would write through a second buffer.
            crops = np.take(self.descriptors.vectors, some, axis=0, out=block[: len(some)], mode="clip")
            np.dot(crops, vector, out=products[start : start + BLOCK])
        return products

    def _tiled(self, vectors: Floats, runs: Sequence[Rows], places: Sequence[Rows]) -> list[Floats]:
        """Products of each query with its places."""
        products: list[Floats] = [np.empty(len(where), dtype=np.float32) for where in places]
        keeps = self._keeps(runs)
        span = max(1, CELLS // len(vectors) // TILE)
        for begin in range(0, keeps.shape[1], span):
            some_tiles = keeps[:, begin : begin + span]
            origin = begin * TILE
            block = np.empty((len(vectors), TILE * some_tiles.shape[1]), dtype=np.float32)
            # Tiles in line that the same queries keep are multiplied as one.
            changes = np.flatnonzero((some_tiles[:, 1:] != some_tiles[:, :-1]).any(axis=0)) + 1
            for first, last in pairwise([0, *changes.tolist(), some_tiles.shape[1]]):
                queries = np.flatnonzero(some_tiles[:, first])
                if len(queries):
                    crops = self.descriptors.vectors[origin + first * TILE : origin + last * TILE]
                    block[queries, first * TILE : first * TILE + len(crops)] = vectors[queries] @ crops.T
            for row, where in enumerate(places):
                part = slice(*np.searchsorted(where, (origin, origin + block.shape[1])))
                products[row][part] = block[row, where[part] - origin]
        return products

    def _keeps(self, runs: Sequence[Rows]) -> NDArray[np.bool_]:
        """Which tiles of TILE places each query keeps any place of: Q x tiles."""
        tiles = -(-len(self.words) // TILE)
        keeps = np.empty((len(runs), tiles), dtype=np.bool_)
        for row, some in enumerate(runs):
            enters = np.bincount(some[:, 0] // TILE, minlength=tiles)
            leaves = np.bincount((some[:, 1] - 1) // TILE + 1, minlength=tiles + 1)
            keeps[row] = np.cumsum(enters - leaves[:tiles]) > 0
        return keeps

    def _nearest(self, vector: Floats, shared: Floats, places: Rows, products: Floats, k: int) -> tuple[Rows, Floats]:
        """Gallery rows and distances of the nearest k of some places; `shared` (V,) are the terms that count."""
        if len(places) > k:
            rough = 1 - products / shared[self.pattern[places]]
            # The blocks of both vectors are unit vectors, so a product of D numbers is off by at most D u times their
            # count, and the distance by D u, u = 2^-24; once each for the crop and for the cut, in either product.
            margin = 4.0 * len(vector) * 2.0**-24
            places = places[rough <= np.partition(rough, k - 1)[k - 1] + margin]
        exact = 1 - np.vecdot(self.descriptors.vectors[places], vector) / shared[self.pattern[places]]
        rows = self.words.order[places]
        best = np.lexsort((rows, exact))[:k]
        return rows[best], exact[best]
