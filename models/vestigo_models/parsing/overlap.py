"""Overlap of label maps: confusion counts, which add up over images, and the IoU of every class."""

import numpy as np

from vestigo_models.arrays import BoolArray, Float64Array, Int64Array, UInt8Array


def confusion(truth: UInt8Array | BoolArray, predicted: UInt8Array | BoolArray, classes: int) -> Int64Array:
    """Count pixels by true class (row) and predicted class (column), (classes, classes).

    Both maps have the same shape and ids below `classes`.
    """
    pairs = truth.astype(np.int64).ravel() * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def iou(counts: Int64Array) -> Float64Array:
    """Return the intersection over union of every class, 0..1; NaN for a class in neither map."""
    intersection = np.diagonal(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - intersection
    shares: Float64Array = np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)
    return shares
