"""Matching behind the attribute filter: the word of a query decides which runs of a grouped gallery are multiplied.

One query gathers the crops that stay a block at a time, small enough to be multiplied in cache, and so runs at the
speed of memory. Many queries go through the gallery together, a tile of neighbouring words at a time: the tile is read
once, for all the queries that keep any of it.

Those products only screen: what may be among the nearest k is computed again pair by pair, so that neither the
grouping of the gallery nor the company of a query changes an answer by a bit. Symbols: Q queries, G gallery crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.distance import Descriptors
from vestigo_models.filter_words import GalleryWords, Rows, Stay
from vestigo_models.gallery_filter import Floats
from vestigo_models.schemas import AttributeSchema

BLOCK = 128
"""Crops that are gathered at a time."""
TOGETHER = 8
"""From so many queries on a pass over tiles beats query by query."""
TILE = 256
"""Words are put together until a tile has so many crops."""
CELLS = 1 << 25
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
        stays = self.words.stay(probabilities)
        chunk = max(TOGETHER, CELLS // max(1, len(self.words)))
        for start in range(0, count, chunk):
            some = range(start, min(start + chunk, count))
            tiled = self._tiled(query.vectors[some], stays[start : some.stop]) if len(some) >= TOGETHER else None
            for row in some:
                places = self.words.places(stays[row])
                vector = query.vectors[row]
                products = self._gathered(vector, places) if tiled is None else tiled[row - start, places]
                shared = (self.shown & query.visible[row]).sum(axis=1).astype(np.float32) + query.always
                nearest, exact = self._nearest(vector, shared, places, products, k)
                rows[row, : len(nearest)], distances[row, : len(nearest)] = nearest, exact
                kept[row] = len(places)
        return Matches(rows=rows, distances=distances, kept=kept)

    def _gathered(self, vector: Floats, places: Rows) -> Floats:
        """(P,) products of one query with some places."""
        products = np.empty(len(places), dtype=np.float32)
        block = np.empty((min(BLOCK, len(places)), len(vector)), dtype=np.float32)
        for start in range(0, len(places), BLOCK):
            some = places[start : start + BLOCK]
            # Places are in range; any other mode than "clip" would write through a second buffer.
            crops = np.take(self.descriptors.vectors, some, axis=0, out=block[: len(some)], mode="clip")
            np.dot(crops, vector, out=products[start : start + BLOCK])
        return products

    def _tiled(self, vectors: Floats, stays: Sequence[Stay]) -> Floats:
        """(q, G) products of some queries, filled where a query keeps a place and undefined elsewhere."""
        products = np.empty((len(vectors), len(self.words)), dtype=np.float32)
        starts = self.words.starts
        # A group ends a tile where it takes it over a multiple of TILE.
        last = np.flatnonzero(np.append(np.diff(starts[1:] // TILE) > 0, True))
        first = np.append(0, last[:-1] + 1)
        keeps = np.logical_or.reduceat(np.stack([stay.groups for stay in stays]), first, axis=1)
        for tile, (begin, end) in enumerate(zip(starts[first].tolist(), starts[last + 1].tolist(), strict=True)):
            some = np.flatnonzero(keeps[:, tile])
            if len(some):
                products[some, begin:end] = vectors[some] @ self.descriptors.vectors[begin:end].T
        for row, stay in enumerate(stays):
            if len(stay.places):
                products[row, stay.places] = self._gathered(vectors[row], stay.places)
        return products

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
