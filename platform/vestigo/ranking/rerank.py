"""Re-rank by k-reciprocal encoding (Zhong et al., CVPR 2017), as in docs/method.md, "Re-ranking".

Two images are reciprocal neighbours if each is among the other's nearest. The published code keeps two dense
(Q+G) x (Q+G) matrices (3 GB for Market-1501); here neighbourhoods are sparse, so memory is O((Q+G) x (D + k1 x k2) +
chunk x (Q+G)).
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array

from vestigo.ranking.distance import Features, Metric, Points, Products
from vestigo.ranking.screening import DistanceBlock, Rows
from vestigo_models.arrays import Float64Array, Int64Array
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.reciprocal import encode_neighbourhoods, shared_weights


def reranked_chunks(
    query: Features,
    gallery: Features,
    *,
    metric: Metric = "cosine",
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    chunk: int = 256,
) -> Iterator[DistanceBlock]:
    """Yield re-ranked distances (c, G) in chunks of c <= `chunk` queries, in order; arguments as `distance_chunks`.

    The squared distance of descriptors is twice equation 14, as it is for unit vectors. `k1` neighbours, at most
    Q + G - 1, must be mutual; the neighbourhoods of `k2` are averaged (local query expansion). `weight` is the share of
    the original distance in the result, 0 to 1.

    Raises:
        ValueError: If features are to be compared with descriptors.
    """
    points = Points.of(_joined(query, gallery), metric)
    products = Products.of(points, points)
    k1 = min(k1, len(points) - 1)
    neighbours, scale = _neighbours(products, k1 + 1, chunk)

    def pair_distances(rows: Rows, columns: Rows) -> Float64Array:
        return products.exact_squares(rows, columns) / scale[rows]

    encoding = encode_neighbourhoods(neighbours, k1, k2, pair_distances)
    q = len(query)
    gallery_by_column = csc_array(encoding[q:])
    for start in range(0, q, chunk):
        rows = slice(start, min(start + chunk, q))
        shared = np.stack([shared_weights(encoding[[row]], gallery_by_column) for row in range(rows.start, rows.stop)])
        share = weight / scale[rows, None]
        yield products.squares(rows, slice(q, None)).combined(share, (1 - shared / (2 - shared)) * (1 - weight))


def _joined(query: Features, gallery: Features) -> Features:
    if isinstance(query, Descriptors) and isinstance(gallery, Descriptors):
        return Descriptors.joined([query, gallery])
    if isinstance(query, Descriptors) or isinstance(gallery, Descriptors):
        raise ValueError("features and descriptors cannot be compared")
    return np.concatenate([query, gallery])


def _neighbours(products: Products, count: int, chunk: int) -> tuple[Int64Array, Float64Array]:
    """Return the (N, count) nearest images, the nearest first, and the (N,) distance of the farthest image."""
    images = len(products.left)
    neighbours = np.empty((images, count), dtype=np.int64)
    scale = np.empty(images)
    for start in range(0, images, chunk):
        rows = slice(start, start + chunk)
        distances = products.squares(rows)
        neighbours[rows], _ = distances.nearest(count)
        scale[rows] = distances.farthest()
    # If all images are equal, every distance is 0, whatever the divisor.
    return neighbours, np.where(scale > 0, scale, 1.0)
