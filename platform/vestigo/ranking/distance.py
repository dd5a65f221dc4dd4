"""Query-gallery distances, a chunk of queries at a time, as in docs/method.md, "Distance"."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from vestigo_models.arrays import Float64Array, FloatArray
from vestigo_models.inference.distance import Descriptors, paired_distance, part_visible_distance

Metric = Literal["cosine", "euclidean"]
Features = FloatArray | Descriptors
Points = Float64Array | Descriptors
"""Features of N images in float64: (N, D) vectors, or descriptors of several blocks."""

TIE_DECIMALS = 10
"""Distances are rounded to this many decimals, so that equal vectors tie: a matrix product may sum the columns of one
matrix in different orders, which separates equal vectors by some 1e-16."""


def distance_chunks(
    query: Features, gallery: Features, *, metric: Metric = "cosine", chunk: int = 256
) -> Iterator[Float64Array]:
    """Yield distances (c, G) in chunks of c <= `chunk` queries, in order; memory beyond the inputs is O(c x G + G x D).

    Query and gallery are both features, (Q, D) and (G, D), or both descriptors. Features are compared by `metric`:
    `cosine` is 1 - cos (1 for a zero vector), `euclidean` is not squared. Descriptors are compared by equation 14, the
    cosine distance for one block without parts.
    """
    left, right = as_points(query, metric), as_points(gallery, metric)
    is_euclidean = metric == "euclidean" and not isinstance(query, Descriptors)
    for start in range(0, len(left), chunk):
        part = left[start : start + chunk]
        yield np.sqrt(squared_distances(part, right)) if is_euclidean else _cosine_distances(part, right)


def as_points(features: Features, metric: Metric) -> Points:
    """Return features or descriptors in the form in which they are compared."""
    if not isinstance(features, Descriptors):
        vectors = features.astype(np.float64)
        return _unit(vectors) if metric == "cosine" else vectors
    vectors = _unit(features.vectors.astype(np.float64))
    if features.always == 1 and not features.visible.shape[1]:
        return vectors
    # Blocks have length 1 up to the rounding of float32; with this scale the distance of an image to itself is 0.
    vectors *= np.sqrt(features.visible.sum(axis=1, keepdims=True) + features.always)
    return Descriptors(vectors=vectors, visible=features.visible, always=features.always)


def squared_distances(left: Points, right: Points) -> Float64Array:
    """Return (q, G) squared Euclidean distances; for descriptors twice equation 14, as it is for unit vectors."""
    if isinstance(left, Descriptors) or isinstance(right, Descriptors):
        return np.asarray(2.0 * np.maximum(_cosine_distances(left, right), 0.0))
    squares = np.einsum("qd,qd->q", left, left)[:, None] + np.einsum("gd,gd->g", right, right)
    # Rounded before a root is taken, which would make 1e-8 of 1e-16.
    return np.asarray(np.maximum((squares - 2.0 * (left @ right.T)).round(TIE_DECIMALS), 0.0))


def paired_squares(left: Points, right: Points) -> Float64Array:
    """Return (N,) squared distances of the images in the same row of both, as `squared_distances`."""
    if isinstance(left, Descriptors) or isinstance(right, Descriptors):
        return np.asarray(2.0 * paired_distance(_as_descriptors(left), _as_descriptors(right)))
    return np.asarray(((left - right) ** 2).sum(axis=1))


def _cosine_distances(left: Points, right: Points) -> Float64Array:
    distances = part_visible_distance(_as_descriptors(left), _as_descriptors(right))
    return np.asarray(distances.round(TIE_DECIMALS), dtype=np.float64)


def _as_descriptors(points: Points) -> Descriptors:
    if isinstance(points, Descriptors):
        return points
    return Descriptors(vectors=points, visible=np.empty((len(points), 0), np.bool_), always=1)


def _unit(vectors: Float64Array) -> Float64Array:
    """Return (N, D) vectors divided by their lengths; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))
