"""Ranks of true matches, by counting the images before them; nothing is sorted.

Symbols: q queries, G images, m matches, of which each is a query's row and an image's column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vestigo.ranking.screening import DistanceBlock, Rows
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
        undecided: list[tuple[slice, BoolArray, Int64Array]] = []
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
            is_open = (near <= high[:, None]) & ~below
            at = np.flatnonzero(is_open.any(axis=0))
            columns = candidates[at] if images is None else images[candidates[at]]
            undecided.append((slice(start, stop), is_open[:, at], columns))
        lengths = [len(columns) for _, _, columns in undecided]
        exact = block.exact(np.repeat(self.rows[starts], lengths), concatenated([at for _, _, at in undecided]))
        ends = np.cumsum(lengths, dtype=np.int64)
        for (part, is_open, columns), end in zip(undecided, ends.tolist(), strict=True):
            true = exact[end - len(columns) : end]
            first = is_before(true, columns, self.distances[part, None], self.columns[part, None])
            counts[part] += np.count_nonzero(first & is_open, axis=1)
        return counts

    def count_pairs_before(self, block: DistanceBlock, rows: Rows, columns: Rows) -> Int64Array:
        """Count for each match, (m,), the pairs (p,) of its query that are before it; their `rows` are ascending."""
        starts = np.searchsorted(self.rows, rows, side="left")
        lengths = np.searchsorted(self.rows, rows, side="right") - starts
        has_match = lengths > 0
        rows, columns, starts, lengths = rows[has_match], columns[has_match], starts[has_match], lengths[has_match]
        pair = np.repeat(np.arange(len(lengths)), lengths)
        match = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
        distances = block.exact(rows, columns)
        first = is_before(distances[pair], columns[pair], self.distances[match], self.columns[match])
        return np.bincount(match[first], minlength=len(self.rows)).astype(np.int64)


def concatenated(parts: list[Int64Array]) -> Int64Array:
    """Concatenate arrays of rows, also none."""
    return np.concatenate([np.empty(0, np.int64), *parts])


def is_before(distance: Float64Array, column: Rows, other: Float64Array, other_column: Rows) -> BoolArray:
    """Return whether images are before others, by distance and then by column."""
    return np.asarray((distance < other) | ((distance == other) & (column < other_column)))


def _limits(exact: Float64Array, margin: float, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return between which rough distances an image may be on either side of a match."""
    if not margin:
        return exact, exact
    slack = margin + SLACK * np.finfo(distances.dtype).eps * np.abs(exact)
    return (exact - slack).astype(distances.dtype), (exact + slack).astype(distances.dtype)
