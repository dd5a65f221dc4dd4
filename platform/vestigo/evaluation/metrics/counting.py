"""Ranks of true matches, by counting the images before them; nothing is sorted.

Symbols: q queries, G images, m matches, of which each is a query's row and an image's column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vestigo.ranking.screening import DistanceBlock, Rows, pairs_of
from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array

SLACK = 4
"""Units in the last place by which a margin is widened: it is added in the precision of the distances."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Matches, in ascending order of queries and then of images."""

    rows: Rows  # (m,)
    columns: Rows  # (m,)
    distances: Float64Array  # (m,) exact

    @classmethod
    def of(cls, block: DistanceBlock, rows: Rows, columns: Rows) -> Matches:
        """Return the matches of queries `rows` and images `columns`."""
        return cls(rows=rows, columns=columns, distances=block.exact(rows, columns))

    def count_before(self, block: DistanceBlock, compared: Callable[[int], Int64Array | None]) -> Int64Array:
        """Count for each match, (m,), the compared images before it; of equal distances the first image comes first.

        `compared` returns the columns that a query is compared with, None for all.
        """
        counts = np.zeros(len(self.rows), dtype=np.int64)
        undecided = [np.empty((2, 0), np.int64)]  # matches, and images that are before or behind them
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        for start, stop in pairwise([*starts.tolist(), len(self.rows)]):
            row = int(self.rows[start])
            images = compared(row)
            distances = block.rough[row] if images is None else block.rough[row, images]
            low, high = _limits(self.distances[start:stop], block.margin, distances)
            candidates = np.flatnonzero(distances <= high.max())
            near = distances[candidates]
            below = near < low[:, None]
            counts[start:stop] = np.count_nonzero(below, axis=1)
            match, place = pairs_of(below ^ (near <= high[:, None]))
            columns = candidates if images is None else images[candidates]
            if len(place) > len(near):
                # Most images are equal: each is compared with many matches.
                exact = block.exact(np.full(len(columns), row), columns)
                first = is_before(exact[place], columns[place], *self._at(start + match))
                counts[start:stop] += np.bincount(match[first], minlength=stop - start)
            else:
                undecided.append(np.stack([start + match, columns[place]]))
        match, at = np.concatenate(undecided, axis=1)
        first = is_before(block.exact(self.rows[match], at), at, *self._at(match))
        return counts + np.bincount(match[first], minlength=len(counts))

    def count_pairs_before(self, block: DistanceBlock, rows: Rows, columns: Rows) -> Int64Array:
        """Count for each match, (m,), the pairs (p,) of its query that are before it; their `rows` are ascending."""
        starts = np.searchsorted(self.rows, rows, side="left")
        lengths = np.searchsorted(self.rows, rows, side="right") - starts
        has_match = lengths > 0
        rows, columns, starts, lengths = rows[has_match], columns[has_match], starts[has_match], lengths[has_match]
        pair = np.repeat(np.arange(len(lengths)), lengths)
        match = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
        distances = block.exact(rows, columns)
        first = is_before(distances[pair], columns[pair], *self._at(match))
        return np.bincount(match[first], minlength=len(self.rows)).astype(np.int64)

    def _at(self, matches: Int64Array) -> tuple[Float64Array, Rows]:
        return self.distances[matches], self.columns[matches]


def is_before(distance: Float64Array, column: Rows, other: Float64Array, other_column: Rows) -> BoolArray:
    """Return whether images are before others, by distance and then by column."""
    return np.asarray((distance < other) | ((distance == other) & (column < other_column)))


def _limits(exact: Float64Array, margin: float, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return between which rough distances an image may be on either side of a match."""
    if not margin:
        return exact, exact
    slack = margin + SLACK * np.finfo(distances.dtype).eps * np.abs(exact)
    return (exact - slack).astype(distances.dtype), (exact + slack).astype(distances.dtype)
