"""Re-rank by k-reciprocal encoding (Zhong et al., CVPR 2017), as in docs/method.md, "Re-ranking".

Two images are reciprocal neighbours if each is among the other's nearest. The published code keeps two dense
(Q+G) x (Q+G) matrices (3 GB for Market-1501); here neighbourhoods are sparse, so memory is O((Q+G) x (D + k1 x k2) +
chunk x (Q+G)).
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array, csr_array

from vestigo.ranking.distance import Features, Metric, Points, as_points, paired_squares, squared_distances
from vestigo_models.arrays import Float64Array, Int64Array
from vestigo_models.inference.distance import Descriptors

PAIRS_AT_ONCE = 8192


def reranked_chunks(
    query: Features,
    gallery: Features,
    *,
    metric: Metric = "cosine",
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    chunk: int = 256,
) -> Iterator[Float64Array]:
    """Yield re-ranked distances (c, G) in chunks of c <= `chunk` queries, in order; arguments as `distance_chunks`.

    The squared distance of descriptors is twice equation 14, as it is for unit vectors. `k1` neighbours, at most
    Q + G - 1, must be mutual; the neighbourhoods of `k2` are averaged (local query expansion). `weight` is the share of
    the original distance in the result, 0 to 1.

    Raises:
        ValueError: If features are to be compared with descriptors.
    """
    points = as_points(_joined(query, gallery), metric)
    k1 = min(k1, len(points) - 1)
    neighbours, scale = _neighbours(points, k1 + 1, chunk)
    encoding = _encoding(points, neighbours, scale, k1)
    if k2 > 1:
        encoding = _membership(neighbours[:, :k2]) @ encoding / min(k2, neighbours.shape[1])
    q = len(query)
    gallery_by_column = csc_array(encoding[q:])
    for start in range(0, q, chunk):
        stop = min(start + chunk, q)
        original = squared_distances(points[start:stop], points[q:]) / scale[start:stop, None]
        shared = np.stack([_shared(encoding[[row]], gallery_by_column) for row in range(start, stop)])
        yield (1.0 - shared / (2.0 - shared)) * (1.0 - weight) + original * weight


def _joined(query: Features, gallery: Features) -> Features:
    if isinstance(query, Descriptors) and isinstance(gallery, Descriptors):
        return Descriptors.joined([query, gallery])
    if isinstance(query, Descriptors) or isinstance(gallery, Descriptors):
        raise ValueError("features and descriptors cannot be compared")
    return np.concatenate([query, gallery])


def _neighbours(points: Points, count: int, chunk: int) -> tuple[Int64Array, Float64Array]:
    """Return the (N, count) nearest images, the nearest first, and the (N,) distance of the farthest image."""
    neighbours = np.empty((len(points), count), dtype=np.int64)
    scale = np.empty(len(points))
    for start in range(0, len(points), chunk):
        distances = squared_distances(points[start : start + chunk], points)
        neighbours[start : start + chunk] = np.argsort(distances, axis=1, kind="stable")[:, :count]
        scale[start : start + chunk] = distances.max(axis=1)
    # If all images are equal, every distance is 0, whatever the divisor.
    return neighbours, np.where(scale > 0, scale, 1.0)


def _membership(neighbours: Int64Array) -> csr_array:
    """Return an (N, N) sparse matrix, 1 where the column is a neighbour of the row."""
    n, count = neighbours.shape
    rows = np.repeat(np.arange(n), count)
    return csr_array((np.ones(n * count), (rows, neighbours.reshape(-1))), shape=(n, n))


def _reciprocal(neighbours: Int64Array) -> csr_array:
    near = _membership(neighbours)
    return csr_array(near.multiply(near.T))


def _encoding(points: Points, neighbours: Int64Array, scale: Float64Array, k1: int) -> csr_array:
    """Return (N, N) sparse weights over each image's expanded k-reciprocal neighbourhood; rows sum to 1."""
    mutual = _reciprocal(neighbours)
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A mutual neighbour adds its own (half-sized) neighbourhood if more than 2/3 of it is mutual as well.
    overlap = csr_array(mutual.multiply(mutual @ half.T)).tocoo()
    is_added = overlap.data > 2 / 3 * half.sum(axis=1)[overlap.col]
    sponsors = csr_array((np.ones(is_added.sum()), (overlap.row[is_added], overlap.col[is_added])), shape=mutual.shape)
    expanded = csr_array(mutual + sponsors @ half).tocoo()
    squares = np.empty(expanded.nnz)
    for start in range(0, expanded.nnz, PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        squares[pairs] = paired_squares(points[expanded.row[pairs]], points[expanded.col[pairs]])
    weights = np.exp(-squares / scale[expanded.row])
    totals = np.bincount(expanded.row, weights=weights, minlength=len(points))
    return csr_array((weights / totals[expanded.row], (expanded.row, expanded.col)), shape=mutual.shape)


def _shared(row: csr_array, gallery_by_column: csc_array) -> Float64Array:
    """Return (G,) sums over images of the smaller of two weights, the row's and the gallery image's."""
    columns = gallery_by_column[:, row.indices]
    smaller = np.minimum(columns.data, np.repeat(row.data, np.diff(columns.indptr)))
    shared = np.bincount(columns.indices, weights=smaller, minlength=columns.shape[0])
    return shared.astype(np.float64)
