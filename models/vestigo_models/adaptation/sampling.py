"""Batches of pseudo-identities, balanced over cameras."""

import numpy as np

from vestigo_models.arrays import Int64Array


def cluster_batches(
    labels: Int64Array, cameras: Int64Array, *, clusters: int, crops: int, rng: np.random.Generator
) -> Int64Array:
    """Return the batches of an epoch: `crops` crops of each of `clusters` random clusters.

    Every cluster appears in proportion to its size, at least once. Its crops are dealt camera by camera, so that a
    camera with many crops does not prevail; crops are repeated where a cluster has too few.

    Args:
        labels: (N,) clusters, `NOT_CLUSTERED` for crops that are not sampled.
        cameras: (N,) cameras.
        clusters: Clusters in a batch; fewer if there are fewer.
        crops: Crops of each.
        rng: Source of randomness.

    Returns:
        Rows of crops, (steps, batch size), with those of a cluster adjacent.
    """
    groups: list[Int64Array] = []
    for cluster in range(int(labels.max()) + 1):
        dealt = _deal(np.flatnonzero(labels == cluster), cameras, rng)
        whole = max(1, len(dealt) // crops)
        groups += list(np.resize(dealt, whole * crops).reshape(whole, crops))
    clusters = min(clusters, int(labels.max()) + 1)
    order = rng.permutation(len(groups))
    return _without_repetition([groups[row] for row in order], labels, clusters)


def _deal(rows: Int64Array, cameras: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Return the rows in random order, taken from the cameras in turn."""
    shuffled = rng.permutation(rows)
    turns = np.empty(len(rows), dtype=np.int64)
    ties = rng.permutation(int(cameras.max()) + 1)
    for camera in np.unique(cameras[shuffled]):
        of_camera = cameras[shuffled] == camera
        turns[of_camera] = np.arange(of_camera.sum())
    return np.asarray(shuffled[np.lexsort((ties[cameras[shuffled]], turns))])


def _without_repetition(groups: list[Int64Array], labels: Int64Array, clusters: int) -> Int64Array:
    """Return batches of groups of different clusters, in order of the groups as far as possible."""
    batches: list[Int64Array] = []
    waiting = groups
    while True:
        batch: dict[int, Int64Array] = {}
        later = []
        for group in waiting:
            cluster = int(labels[group[0]])
            if len(batch) < clusters and cluster not in batch:
                batch[cluster] = group
            else:
                later.append(group)
        if len(batch) < clusters:
            return np.stack(batches).astype(np.int64)
        batches.append(np.concatenate(list(batch.values())))
        waiting = later
