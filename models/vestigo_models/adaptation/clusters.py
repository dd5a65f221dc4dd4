"""Pseudo-identities: clusters of tracklets over cameras (DBSCAN on Jaccard distances of k-reciprocal neighbours).

Self-paced contrastive learning (Ge et al., NeurIPS 2020) and Cluster Contrast (Dai et al., ACCV 2022) cluster crops;
here tracklets are clustered, so that the crops of one are never separated. A still image is a tracklet of one crop.
Memory is O(N x (D + k1 x k2) + block x N).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array
from sklearn.cluster import DBSCAN

from vestigo_models.arrays import Float32Array, Float64Array, Int64Array
from vestigo_models.inference.reciprocal import Rows, encode_neighbourhoods, shared_weights

NOT_CLUSTERED = -1
"""Cluster of a crop that belongs to none."""
ROWS_AT_ONCE = 512
ZERO = 1e-9
"""Distance that stands for 0 in a sparse graph."""


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How tracklets are clustered; the defaults are those of Cluster Contrast for person re-identification."""

    k1: int = 30  # neighbours that must be mutual
    k2: int = 6  # neighbours whose neighbourhoods are averaged
    radius: float = 0.6  # largest Jaccard distance of neighbours in a cluster
    min_crops: int = 4  # crops in a neighbourhood that start a cluster


def cluster_tracklets(
    vectors: Float32Array, tracklets: Int64Array, cameras: Int64Array, settings: ClusterSettings
) -> Int64Array:
    """Cluster crops over cameras into pseudo-identities.

    Args:
        vectors: (N, D) unit vectors of crops.
        tracklets: (N,) tracklets, numbered 0, 1, ...; the crops of one are in the same cluster.
        cameras: (N,) cameras.
        settings: Neighbourhoods and density.

    Returns:
        (N,) clusters, numbered 0, 1, ... in order of their first crop; `NOT_CLUSTERED` for crops in none.
    """
    counts = np.bincount(tracklets)
    sums = np.zeros((len(counts), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, tracklets, centre_cameras(vectors, cameras))
    means = unit_length(sums)
    neighbours = nearest_neighbours(means, min(settings.k1 + 1, len(means)))
    graph = jaccard_graph(means, neighbours, settings)
    # A tracklet of enough crops is dense by itself.
    dbscan = DBSCAN(eps=settings.radius, min_samples=settings.min_crops, metric="precomputed")
    labels = dbscan.fit(graph, sample_weight=counts).labels_[tracklets]
    return number_by_first(labels)


def centre_cameras(vectors: Float32Array, cameras: Int64Array) -> Float32Array:
    """Return (N, D) unit vectors minus the mean of their camera, again of unit length.

    What all crops of a camera have in common says nothing about the person (Zhuang et al., ECCV 2020).
    """
    result = vectors.copy()
    for camera in np.unique(cameras):
        rows = cameras == camera
        result[rows] -= vectors[rows].mean(axis=0)
    return unit_length(result)


def unit_length(vectors: Float32Array) -> Float32Array:
    """Return (N, D) vectors divided by their lengths; a zero vector stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12)))


def nearest_neighbours(vectors: Float32Array, count: int) -> Int64Array:
    """Return the (N, count) nearest unit vectors, itself first, then by distance; ties by row."""
    nearest = np.empty((len(vectors), count), dtype=np.int64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        similarity = vectors[start : start + ROWS_AT_ONCE] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = 2.0
        columns = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.lexsort((columns, -np.take_along_axis(similarity, columns, axis=1)))
        nearest[start : start + ROWS_AT_ONCE] = np.take_along_axis(columns, order, axis=1)
    return nearest


def jaccard_graph(vectors: Float32Array, neighbours: Int64Array, settings: ClusterSettings) -> csr_array:
    """Return the Jaccard distances of N unit vectors as a sparse (N, N) graph of the pairs within the radius."""

    def pair_distances(rows: Rows, columns: Rows) -> Float64Array:
        return np.asarray(2.0 - 2.0 * np.einsum("pd,pd->p", vectors[rows], vectors[columns]), dtype=np.float64)

    k1 = neighbours.shape[1] - 1
    encoding = encode_neighbourhoods(neighbours, k1, min(settings.k2, k1 + 1), pair_distances)
    by_column = csc_array(encoding)
    data, indices, ends = [], [], [0]
    for row in range(len(vectors)):
        shared = shared_weights(encoding[[row]], by_column)
        distances = 1.0 - shared / (2.0 - shared)
        near = np.flatnonzero(distances <= settings.radius)
        data.append(np.maximum(distances[near], ZERO))
        indices.append(near)
        ends.append(ends[-1] + len(near))
    return csr_array((np.concatenate(data), np.concatenate(indices), ends), shape=encoding.shape)


def number_by_first(labels: Int64Array) -> Int64Array:
    """Return (N,) labels renumbered 0, 1, ... in order of their first row; negative ones become `NOT_CLUSTERED`."""
    result = np.full(len(labels), NOT_CLUSTERED, dtype=np.int64)
    known = labels >= 0
    values, first, inverse = np.unique(labels[known], return_index=True, return_inverse=True)
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(values))
    result[known] = rank[inverse]
    return result
