"""Remove the bias of cameras from descriptors, as in docs/method.md, "Camera bias".

Symbols: n crops of a batch, D numbers of a descriptor in B blocks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vestigo_models.inference.distance import Descriptors

UNIT = 2.0**-32
"""Sums are whole multiples of this, so that they depend neither on the order of crops nor on batches."""
HALF_REMOVED = 30
"""Number of tracklets of a camera with which half of its bias is removed."""
ROWS_AT_ONCE = 512
"""Descriptors that are moved at a time: they stay in the processor's cache."""

CameraColumn: TypeAlias = pa.Array | Int64Array
"""Cameras of n crops: names or numbers, null if unknown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraSums:
    """Weighted sums over crops of one camera, in multiples of `UNIT`."""

    weights: Int64Array  # (B,) int64, total weight of the crops that show each block
    vectors: Int64Array  # (D,) int64

    def __add__(self, other: CameraSums) -> CameraSums:
        return CameraSums(weights=self.weights + other.weights, vectors=self.vectors + other.vectors)


def sum_by_camera(descriptors: Descriptors, weights: Float64Array, cameras: CameraColumn) -> dict[Hashable, CameraSums]:
    """Sum n descriptors by camera; crops of unknown camera are left out.

    Args:
        descriptors: Descriptors of n crops.
        weights: Weight of each crop, shape (n,), float64.
        cameras: Their cameras.
    """
    units = np.rint(weights / UNIT)
    shown = _shown(descriptors)
    sums: dict[Hashable, CameraSums] = {}
    for camera, rows in _rows_by_camera(cameras).items():
        vectors = np.zeros(descriptors.vectors.shape[1], np.int64)
        for part in _parts(rows):
            vectors += np.rint(descriptors.vectors[part] * units[part, None]).astype(np.int64).sum(axis=0)
        sums[camera] = CameraSums(weights=units[rows].astype(np.int64) @ shown[rows], vectors=vectors)
    return sums


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraBias:
    """By how much the descriptors of each camera are shifted from those of all cameras."""

    offsets: Mapping[Hashable, Float32Array]  # (D,) float32 by camera; other cameras are not corrected
    blocks: Sequence[int]  # Lengths of the B blocks, always-present features first; () for one block

    @classmethod
    def of(cls, sums: Mapping[Hashable, CameraSums], blocks: Sequence[int]) -> CameraBias:
        """Compute the bias from the sums of all cameras; one camera alone has none.

        Models of older stores have several blocks of unknown lengths; their bias is not removed.
        """
        cameras = sorted(sums, key=str)
        if len(cameras) < 2 or len(blocks or (0,)) != len(sums[cameras[0]].weights):
            return cls(offsets={}, blocks=blocks)
        totals = np.stack([sums[camera].vectors for camera in cameras]) * UNIT
        tracklets = np.stack([sums[camera].weights for camera in cameras]) * UNIT
        counts = np.repeat(tracklets, blocks or (totals.shape[1],), axis=1)
        means = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
        shares = counts / (counts + HALF_REMOVED)
        weight = shares.sum(axis=0)
        common = np.divide((shares * means).sum(axis=0), weight, out=np.zeros_like(weight), where=weight > 0)
        offsets = (shares * (means - common)).astype(np.float32)
        return cls(offsets=dict(zip(cameras, offsets, strict=True)), blocks=blocks)

    def remove(self, descriptors: Descriptors, cameras: CameraColumn) -> Descriptors:
        """Return n descriptors without the bias of their cameras, blocks of length 1 again."""
        return self.remove_by_rows(descriptors, _rows_by_camera(cameras))

    def remove_by_rows(self, descriptors: Descriptors, rows_of: Mapping[Hashable, Int64Array]) -> Descriptors:
        """Return n descriptors without the bias of the cameras of which some rows are."""
        known = {camera: rows for camera, rows in rows_of.items() if camera in self.offsets}
        if not known:
            return descriptors
        vectors, shown = np.array(descriptors.vectors), _shown(descriptors)
        lengths = self.blocks or (vectors.shape[1],)
        starts = np.cumsum((0, *lengths[:-1]))
        for camera, rows in known.items():
            for part in _parts(rows):
                moved = vectors[part] - self.offsets[camera]
                norms = np.sqrt(np.add.reduceat(moved * moved, starts, axis=1))
                scale = np.divide(shown[part], norms, out=np.zeros_like(norms), where=norms > 0)
                vectors[part] = moved * np.repeat(scale, lengths, axis=1)
        return replace(descriptors, vectors=vectors)


NO_BIAS = CameraBias(offsets={}, blocks=())


def _shown(descriptors: Descriptors) -> BoolArray:
    """Return which of the B blocks n crops show, shape (n, B)."""
    always = np.ones((len(descriptors), descriptors.always), np.bool_)
    return np.concatenate([always, descriptors.visible], axis=1)


def _rows_by_camera(cameras: CameraColumn) -> dict[Hashable, Int64Array]:
    encoded = pa.array(cameras).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return {camera: np.flatnonzero(codes == code) for code, camera in enumerate(encoded.dictionary.to_pylist())}


def _parts(rows: Int64Array) -> list[Int64Array]:
    return [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
