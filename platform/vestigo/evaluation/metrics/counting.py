"""Ranks of true matches, by counting the images before them; nothing is sorted.

Symbols: q queries, G images, m matches, of which each is a query's row and an image's column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vestigo.ranking.screening import DistanceBlock, Rows, pairs_of
from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array

Codes: TypeAlias = NDArray[np.integer]
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

    def count_before(
        self, block: DistanceBlock, cameras: Codes, compared: Callable[[int], Int64Array | None]
    ) -> Int64Array:
        """Count the compared images before each match, and those of its camera; of equal distances the first is before.

        Args:
            block: Distances (q, G).
            cameras: Number of the camera of each image, (G,).
            compared: Returns the columns that a query is compared with, None for all.

        Returns:
            Counts of all images and of those of the match's camera, (2, m).
        """
        counts = np.zeros((2, len(self.rows)), dtype=np.int64)
        undecided = [np.empty((2, 0), np.int64)]  # matches, and images that are before or behind them
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        for start, stop in pairwise([*starts.tolist(), len(self.rows)]):
            row = int(self.rows[start])
            images = compared(row)
            distances = block.rough[row] if images is None else block.rough[row, images]
            low, high = _limits(self.distances[start:stop], block.margin, distances)
            candidates = np.flatnonzero(distances <= high.max())
            near = distances[candidates]
            columns = candidates if images is None else images[candidates]
            below = near < low[:, None]
            counts[0, start:stop] = np.count_nonzero(below, axis=1)
            match, place = pairs_of(below ^ (near <= high[:, None]))
            below &= cameras[columns] == cameras[self.columns[start:stop], None]
            counts[1, start:stop] = np.count_nonzero(below, axis=1)
            if len(place) > len(near):
                # Most images are equal: each is compared with many matches.
                exact = block.exact(np.full(len(columns), row), columns)
                counts += self._counts(start + match, columns[place], exact[place], cameras)
            else:
                undecided.append(np.stack([start + match, columns[place]]))
        match, at = np.concatenate(undecided, axis=1)
        return counts + self._counts(match, at, block.exact(self.rows[match], at), cameras)

    def count_pairs_before(self, block: DistanceBlock, cameras: Codes, rows: Rows, columns: Rows) -> Int64Array:
        """Count in the same way, (2, m), the pairs (p,) of a match's query that are before it; `rows` are ascending."""
        starts = np.searchsorted(self.rows, rows, side="left")
        lengths = np.searchsorted(self.rows, rows, side="right") - starts
        has_match = lengths > 0
        rows, columns, starts, lengths = rows[has_match], columns[has_match], starts[has_match], lengths[has_match]
        pair = np.repeat(np.arange(len(lengths)), lengths)
        match = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
        return self._counts(match, columns[pair], block.exact(rows, columns)[pair], cameras)

    def _counts(self, match: Int64Array, columns: Rows, distances: Float64Array, cameras: Codes) -> Int64Array:
        """Count for each match, (2, m), the images `columns` before it, each of which is compared with one `match`."""
        first = is_before(distances, columns, self.distances[match], self.columns[match])
        match, columns = match[first], columns[first]
        same = cameras[columns] == cameras[self.columns[match]]
        return np.stack([np.bincount(each, minlength=len(self.rows)) for each in (match, match[same])])


def is_before(distance: Float64Array, column: Rows, other: Float64Array, other_column: Rows) -> BoolArray:
    """Return whether images are before others, by distance and then by column."""
    return np.asarray((distance < other) | ((distance == other) & (column < other_column)))


def _limits(exact: Float64Array, margin: float, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return between which rough distances an image may be on either side of a match."""
    if not margin:
        return exact, exact
    slack = margin + SLACK * np.finfo(distances.dtype).eps * np.abs(exact)
    return (exact - slack).astype(distances.dtype), (exact + slack).astype(distances.dtype)
