"""Query-gallery distances, a chunk of queries at a time, as in docs/method.md, "Distance"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vestigo.ranking.screening import DistanceBlock, Rows
from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, FloatArray
from vestigo_models.inference.distance import Descriptors

Metric = Literal["cosine", "euclidean"]
Features: TypeAlias = FloatArray | Descriptors

TIE_DECIMALS = 10
"""Exact distances are rounded to this many decimals, so that equal vectors tie: their products may be summed in
different orders, which separates equal vectors by some 1e-16."""
ROWS_AT_ONCE = 1024
UNIT_ROUNDOFF = {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}
SMALLEST, LARGEST = 1e-10, 1e15
"""Lengths of vectors whose products float32 can hold."""
EVERY = slice(None)


def distance_chunks(
    query: Features, gallery: Features, *, metric: Metric = "cosine", chunk: int = 256
) -> Iterator[DistanceBlock]:
    """Yield distances (c, G) in chunks of c <= `chunk` queries, in order; memory beyond the inputs is O(c x G + G x D).

    Query and gallery are both features, (Q, D) and (G, D), or both descriptors. Features are compared by `metric`:
    `cosine` is 1 - cos (1 for a zero vector), `euclidean` is the squared distance, which ranks alike. Descriptors are
    compared by equation 14, the cosine distance for one block without parts.

    Raises:
        ValueError: If features are to be compared with descriptors.
    """
    left, right = (Points.of(features, metric) for features in (query, gallery))
    products = Products.of(left, right)
    for start in range(0, len(left), chunk):
        rows = slice(start, start + chunk)
        yield products.squares(rows) if left.is_euclidean else products.cosine_distances(rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """N images as they are compared: the rows of `vectors` times `scale`."""

    vectors: FloatArray  # (N, D)
    scale: Float64Array  # (N,) float64
    squares: Float64Array  # (N,) float64, squared lengths of the scaled vectors
    visible: BoolArray  # (N, P), P = 0 for features
    always: int  # always-present blocks of descriptors, 1 for features
    is_euclidean: bool

    @classmethod
    def of(cls, features: Features, metric: Metric) -> Points:
        """Return features or descriptors in the form in which they are compared."""
        is_descriptor = isinstance(features, Descriptors)
        vectors = features.vectors if isinstance(features, Descriptors) else features
        visible = features.visible if isinstance(features, Descriptors) else np.empty((len(vectors), 0), np.bool_)
        always = features.always if isinstance(features, Descriptors) else 1
        squares = row_sums(vectors, vectors)
        if metric == "euclidean" and not is_descriptor:
            scale = np.ones(len(vectors))
            return cls(vectors=vectors, scale=scale, squares=squares, visible=visible, always=always, is_euclidean=True)
        # Blocks have length 1 up to the rounding of float32; with this scale the distance of an image to itself is 0.
        blocks = visible.sum(axis=1) + float(always)
        scale = np.sqrt(np.divide(blocks, squares, out=np.zeros_like(squares), where=squares > 0))
        squares = np.where(squares > 0, blocks, 0.0)
        return cls(vectors=vectors, scale=scale, squares=squares, visible=visible, always=always, is_euclidean=False)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def has_parts(self) -> bool:
        """Whether denominators of equation 14 differ from 1."""
        return self.always != 1 or self.visible.shape[1] > 0

    def factors(self) -> FloatArray:
        """Return the scaled vectors (N, D) as factors of a product: float32 if that can hold their products."""
        lengths = np.sqrt(self.squares[self.squares > 0])
        fits = not len(lengths) or (lengths.min() >= SMALLEST and lengths.max() <= LARGEST)
        factors = np.empty(self.vectors.shape, dtype=np.float32 if fits else np.float64)
        for part in _parts(len(self)):
            factors[part] = self.vectors[part] * self.scale[part, None]
        return factors


@dataclass(frozen=True, kw_only=True, eq=False)
class Products:
    """Distances between the images of two sets, by products of their vectors."""

    left: Points
    right: Points
    factors: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, left: Points, right: Points) -> Products:
        """Prepare the products of all pairs.

        Raises:
            ValueError: If the images are of different kinds.
        """
        if left.vectors.shape[1:] != right.vectors.shape[1:] or left.always != right.always:
            raise ValueError(
                f"vectors of {left.vectors.shape[1]} and {right.vectors.shape[1]} numbers, with {left.always} and "
                f"{right.always} always-present blocks, cannot be compared"
            )
        first = left.factors()
        return cls(left=left, right=right, factors=(first, first if left is right else right.factors()))

    def cosine_distances(self, rows: slice, columns: slice = EVERY) -> DistanceBlock:
        """Return equation 14, or 1 - cos of features, for some rows of the left and of the right set."""
        rough = self._product(rows, columns)
        if self.left.has_parts:
            rough /= self._shared(rows, columns)
        np.subtract(1, rough, out=rough)

        def exact(at: Rows, to: Rows) -> Float64Array:
            return self.exact_cosine_distances(at + (rows.start or 0), to + (columns.start or 0))

        # Blocks have length 1 or 0: the absolute terms of a product sum to at most its denominator.
        return DistanceBlock(rough=rough, margin=self._roundoff(), exact=exact)

    def squares(self, rows: slice, columns: slice = EVERY) -> DistanceBlock:
        """Return squared distances, which are twice equation 14 for descriptors, as they are for unit vectors."""
        left, right = self.left.squares[rows], self.right.squares[columns]
        if self.left.has_parts:
            block = self.cosine_distances(rows, columns)
            rough, margin = 2 * np.maximum(block.rough, 0), 2 * block.margin
        else:
            rough = self._product(rows, columns)
            rough *= -2
            rough += left[:, None].astype(rough.dtype)
            rough += right.astype(rough.dtype)
            margin = self._roundoff() * float(np.sqrt(left.max(initial=0)) + np.sqrt(right.max(initial=0))) ** 2

        def exact(at: Rows, to: Rows) -> Float64Array:
            return self.exact_squares(at + (rows.start or 0), to + (columns.start or 0))

        return DistanceBlock(rough=rough, margin=margin, exact=exact)

    def exact_cosine_distances(self, rows: Rows, columns: Rows) -> Float64Array:
        """Return equation 14, or 1 - cos, of pairs of rows, (n,)."""
        products = self._exact_products(rows, columns)
        if self.left.has_parts:
            shared = (self.left.visible[rows] & self.right.visible[columns]).sum(axis=1)
            products /= shared + self.left.always
        return np.asarray((1 - products).round(TIE_DECIMALS))

    def exact_squares(self, rows: Rows, columns: Rows) -> Float64Array:
        """Return squared distances of pairs of rows, (n,), see `squares`."""
        if self.left.has_parts:
            return np.asarray(2 * np.maximum(self.exact_cosine_distances(rows, columns), 0))
        squares = self.left.squares[rows] + self.right.squares[columns] - 2 * self._exact_products(rows, columns)
        return np.asarray(np.maximum(squares.round(TIE_DECIMALS), 0))

    def _product(self, rows: slice, columns: slice) -> FloatArray:
        left, right = self.factors
        return np.asarray(left[rows] @ right[columns].T)

    def _exact_products(self, rows: Rows, columns: Rows) -> Float64Array:
        products = np.empty(len(rows))
        for part in _parts(len(rows)):
            products[part] = row_sums(self.left.vectors[rows[part]], self.right.vectors[columns[part]])
        return products * self.left.scale[rows] * self.right.scale[columns]

    def _shared(self, rows: slice, columns: slice) -> Float32Array:
        left, right = self.left.visible[rows].astype(np.float32), self.right.visible[columns].astype(np.float32)
        return np.asarray(left @ right.T + np.float32(self.left.always))

    def _roundoff(self) -> float:
        """Bound the error of a product of unit vectors of D numbers.

        It is at most (D + c) u, with u for each of the c roundings of factors and result; twice that for the difference
        of the blocks' lengths from 1.
        """
        unit = max(UNIT_ROUNDOFF[factors.dtype] for factors in self.factors)
        return 2.0 * (self.left.vectors.shape[1] + 8) * unit


def row_sums(left: FloatArray, right: FloatArray) -> Float64Array:
    """Return the products of the vectors (n, D) in each row, (n,), in float64; each depends on its own row alone."""
    sums = np.empty(len(left))
    for part in _parts(len(left)):
        sums[part] = (left[part].astype(np.float64) * right[part]).sum(axis=1)
    return sums


def _parts(count: int) -> list[slice]:
    return [slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE)]
