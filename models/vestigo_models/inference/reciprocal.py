"""k-reciprocal neighbourhoods (Zhong et al., CVPR 2017) as sparse matrices.

Two images are reciprocal neighbours if each is among the other's nearest. An image is encoded as weights over its
reciprocal neighbourhood, and two images are compared by the Jaccard distance of their encodings. Re-ranking and the
clustering of `vestigo_models.adaptation` share these functions.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from vestigo_models.arrays import Float64Array, Int64Array

PAIRS_AT_ONCE = 8192
Rows = NDArray[np.integer]


def encode_neighbourhoods(
    neighbours: Int64Array, k1: int, k2: int, pair_distances: Callable[[Rows, Rows], Float64Array]
) -> csr_array:
    """Return sparse weights over each image's expanded k-reciprocal neighbourhood; rows sum to 1.

    Args:
        neighbours: (N, at least k1 + 1) nearest images of each image, the nearest, itself, first.
        k1: Neighbours that must be mutual; the neighbourhood of a mutual neighbour is half as large.
        k2: Neighbours whose encodings are averaged (local query expansion); 1 for none.
        pair_distances: Distances of images `rows` and images `columns`, both (P,); a weight is exp(-distance).

    Returns:
        Encodings of shape (N, N).
    """
    mutual = _reciprocal(neighbours[:, : k1 + 1])
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A mutual neighbour adds its own (half-sized) neighbourhood if more than 2/3 of it is mutual as well.
    overlap = csr_array(mutual.multiply(mutual @ half.T)).tocoo()
    is_added = overlap.data > 2 / 3 * half.sum(axis=1)[overlap.col]
    sponsors = csr_array((np.ones(is_added.sum()), (overlap.row[is_added], overlap.col[is_added])), shape=mutual.shape)
    expanded = csr_array(mutual + sponsors @ half).tocoo()
    distances = np.empty(expanded.nnz)
    for start in range(0, expanded.nnz, PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        distances[pairs] = pair_distances(expanded.row[pairs], expanded.col[pairs])
    weights = np.exp(-distances)
    totals = np.bincount(expanded.row, weights=weights, minlength=len(neighbours))
    encoding: csr_array = csr_array((weights / totals[expanded.row], (expanded.row, expanded.col)), shape=mutual.shape)
    if k2 > 1:
        encoding = _membership(neighbours[:, :k2]) @ encoding / min(k2, neighbours.shape[1])
    return encoding


def shared_weights(row: csr_array, by_column: csc_array) -> Float64Array:
    """Return (G,) sums over images of the smaller of two weights: that of one encoding (1, N) and of G encodings."""
    columns = by_column[:, row.indices]
    smaller = np.minimum(columns.data, np.repeat(row.data, np.diff(columns.indptr)))
    shared = np.bincount(columns.indices, weights=smaller, minlength=columns.shape[0])
    return shared.astype(np.float64)


def _membership(neighbours: Int64Array) -> csr_array:
    """Return an (N, N) sparse matrix, 1 where the column is a neighbour of the row."""
    n, count = neighbours.shape
    rows = np.repeat(np.arange(n), count)
    return csr_array((np.ones(n * count), (rows, neighbours.reshape(-1))), shape=(n, n))


def _reciprocal(neighbours: Int64Array) -> csr_array:
    near = _membership(neighbours)
    return csr_array(near.multiply(near.T))
