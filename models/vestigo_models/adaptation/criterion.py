"""A label-free criterion of embeddings: how clearly crops of one camera fit the clusters of the other cameras."""

import numpy as np

from vestigo_models.adaptation.clusters import NOT_CLUSTERED, centre_cameras, unit_length
from vestigo_models.arrays import Float32Array, Int64Array


def cross_camera_silhouette(vectors: Float32Array, labels: Int64Array, cameras: Int64Array) -> float:
    """Return the mean silhouette of crops among the cluster centroids of other cameras.

    A crop's silhouette is (b - a) / max(a, b) of its distances a to the centroid of its cluster and b to the nearest
    other centroid (Rousseeuw, 1987, simplified to centroids: Hruschka et al., 2004). Centroids are of the crops of all
    other cameras, so that likeness within a camera does not count. A crop without a cluster in other cameras counts 0.

    Args:
        vectors: (N, D) unit vectors of crops.
        labels: (N,) clusters, `NOT_CLUSTERED` for crops in none.
        cameras: (N,) cameras.

    Returns:
        The mean over all N crops, in [-1, 1].
    """
    centred = centre_cameras(vectors, cameras)
    total = 0.0
    for camera in np.unique(cameras):
        others = (cameras != camera) & (labels != NOT_CLUSTERED)
        known, members = np.unique(labels[others], return_inverse=True)
        rows = np.flatnonzero((cameras == camera) & np.isin(labels, known))
        if len(known) < 2 or not len(rows):
            continue
        sums = np.zeros((len(known), vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, members, centred[others])
        distances = 1 - centred[rows] @ unit_length(sums).T
        own = (np.arange(len(rows)), np.searchsorted(known, labels[rows]))
        a = distances[own]
        distances[own] = np.inf
        b = distances.min(axis=1)
        total += float(((b - a) / np.maximum(np.maximum(a, b), 1e-12)).sum())
    return total / len(labels)
