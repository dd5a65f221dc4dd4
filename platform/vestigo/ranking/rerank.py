"""k-reciprocal re-ranking (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017).

Two images are neighbours in earnest if each is among the other's nearest. The published code keeps two dense
(Q+G) x (Q+G) matrices (3 GB for Market-1501); here neighbourhoods are sparse, so memory is O((Q+G) x (D + k1 x k2) +
chunk x (Q+G)).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from vestigo.ranking.distance import Features, Metric, Space, space
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
) -> Iterator[NDArray[np.float64]]:
    """Yield re-ranked distances in chunks of queries, in order.

    Args:
        query: (Q, D) features, or Q descriptors.
        gallery: (G, D) features, or G descriptors.
        metric: of features: `cosine` compares directions (rows are L2-normalised first), `euclidean` the features as
            they are. Of descriptors twice equation 14 stands for the squared distance, as it does between unit vectors.
        k1: neighbours that must be mutual; at most Q + G - 1 are used.
        k2: neighbours whose neighbourhoods are averaged (local query expansion).
        weight: share of the original distance in the result, 0 to 1 (lambda of the paper).

    Yields:
        (c, G) float64, c <= chunk.
    """
    features = space(_joined(query, gallery), metric)
    k1 = min(k1, len(features) - 1)
    neighbours, scale = _neighbours(features, k1 + 1, chunk)
    encoding = _encoding(features, neighbours, scale, k1)
    if k2 > 1:
        encoding = _membership(neighbours[:, :k2]) @ encoding / min(k2, neighbours.shape[1])
    q = len(query)
    gallery_by_column = csc_array(encoding[q:])
    for start in range(0, q, chunk):
        stop = min(start + chunk, q)
        original = features[start:stop].squares(features[q:]) / scale[start:stop, None]
        shared = np.stack([_shared(encoding[[row]], gallery_by_column) for row in range(start, stop)])
        yield (1.0 - shared / (2.0 - shared)) * (1.0 - weight) + original * weight


def _joined(query: Features, gallery: Features) -> Features:
    if isinstance(query, Descriptors) and isinstance(gallery, Descriptors):
        return Descriptors.joined([query, gallery])
    if isinstance(query, Descriptors) or isinstance(gallery, Descriptors):
        raise ValueError("features and descriptors cannot be compared")
    return np.concatenate([query, gallery])


def _neighbours(features: Space, count: int, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, count) int64 nearest images, the nearest first, and (N,) float64 the distance of the farthest image."""
    neighbours = np.empty((len(features), count), dtype=np.int64)
    scale = np.empty(len(features))
    for start in range(0, len(features), chunk):
        distances = features[start : start + chunk].squares(features)
        neighbours[start : start + chunk] = np.argsort(distances, axis=1, kind="stable")[:, :count]
        scale[start : start + chunk] = distances.max(axis=1)
    # All images equal: every distance is 0, whatever it is divided by.
    return neighbours, np.where(scale > 0, scale, 1.0)


def _membership(neighbours: NDArray[np.int64]) -> csr_array:
    """(N, N) sparse: 1 where the column is a neighbour of the row."""
    n, count = neighbours.shape
    rows = np.repeat(np.arange(n), count)
    return csr_array((np.ones(n * count), (rows, neighbours.reshape(-1))), shape=(n, n))


def _reciprocal(neighbours: NDArray[np.int64]) -> csr_array:
    near = _membership(neighbours)
    return csr_array(near.multiply(near.T))


def _encoding(features: Space, neighbours: NDArray[np.int64], scale: NDArray[np.float64], k1: int) -> csr_array:
    """(N, N) sparse, rows sum to 1: Gaussian weights over each image's expanded k-reciprocal neighbourhood."""
    mutual = _reciprocal(neighbours)
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A mutual neighbour brings its own (half-sized) neighbourhood if more than 2/3 of it is mutual as well.
    overlap = csr_array(mutual.multiply(mutual @ half.T)).tocoo()
    brings = overlap.data > 2 / 3 * half.sum(axis=1)[overlap.col]
    sponsors = csr_array((np.ones(brings.sum()), (overlap.row[brings], overlap.col[brings])), shape=mutual.shape)
    expanded = csr_array(mutual + sponsors @ half).tocoo()
    squares = np.empty(expanded.nnz)
    for start in range(0, expanded.nnz, PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        squares[some] = features[expanded.row[some]].pair_squares(features[expanded.col[some]])
    weights = np.exp(-squares / scale[expanded.row])
    totals = np.bincount(expanded.row, weights=weights, minlength=len(features))
    return csr_array((weights / totals[expanded.row], (expanded.row, expanded.col)), shape=mutual.shape)


def _shared(row: csr_array, gallery_by_column: csc_array) -> NDArray[np.float64]:
    """(G,) float64: sum over images of the smaller of two weights, the row's and each gallery image's."""
    columns = gallery_by_column[:, row.indices]
    smaller = np.minimum(columns.data, np.repeat(row.data, np.diff(columns.indptr)))
    shared = np.bincount(columns.indices, weights=smaller, minlength=columns.shape[0])
    return shared.astype(np.float64)
