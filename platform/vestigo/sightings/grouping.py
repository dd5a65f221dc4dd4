"""Group the crops of one file into sightings. Symbols: n crops, g sightings, a attributes.

A sighting holds the crops of one tracklet, source, camera and labelled identity, or one still crop. A tracklet is in
one file, because assembly writes the tracklets of a video together.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.store.parquet.descriptors import matrix
from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema

COLUMNS = (
    *("crop_id", "source", "input", "frame", "time", "offset_s", "camera", "tracklet", "quality", "pid"),
    "attributes",
)
ID_BYTES = 10
UNKNOWN = np.iinfo(np.int64).max
"""Marks an unknown time; such crops come last."""
NO_PID = np.iinfo(np.int64).min
LEVELS = 101
"""Level k counts confidences in [k, k + 1) percent; the last level counts 100 percent."""
_STEPS = (np.arange(LEVELS) / 100).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedCrops:
    """The crops of one file by sighting and time, sightings by camera and time.

    Attributes:
        ids: (n,) 10 bytes each.
        place: (n,) row in the file.
        scene: (n,) equal for crops of one frame.
        time: (n,) microseconds as recorded, or `UNKNOWN`.
        camera: (n,) index into `cameras`.
        starts, best: (g,) first and best crop of each sighting.
        offset_s: (g,) seconds, NaN if unknown.
        pid: (g,) label of the dataset, or `NO_PID`.
        tracklet: g names.
        classes, confidence: (g, a) uint8 and float16: predicted classes, mean probabilities; a = 0 without attributes.
        histograms: For each camera, see `count_confidences`.
    """

    cameras: list[str]
    ids: NDArray[np.bytes_]
    place: Int64Array
    scene: Int64Array
    time: Int64Array
    camera: Int64Array
    starts: Int64Array
    best: Int64Array
    offset_s: NDArray[np.float64]
    pid: Int64Array
    tracklet: list[str]
    classes: NDArray[np.uint8]
    confidence: NDArray[np.float16]
    histograms: list[bytes]


def group_crops(table: pa.Table, hidden: frozenset[str], schema: AttributeSchema | None) -> GroupedCrops:
    """Group the rows of a crop file.

    Args:
        table: `COLUMNS` of the file.
        hidden: Inputs whose rows are skipped.
        schema: Attributes of the model.

    Raises:
        StoreError: For malformed crop ids, and for probabilities that do not match `schema`.
    """
    kept = pc.invert(pc.is_in(table.column("input"), pa.array(sorted(hidden), pa.string())))
    rows = table.append_column("place", pa.array(np.arange(len(table)))).filter(kept).combine_chunks()
    column = {name: rows.column(name).combine_chunks() for name in rows.column_names}
    ids = _ids(column["crop_id"])
    time = _integers(column["time"].cast(pa.int64()), UNKNOWN)
    offset_s = np.asarray(column["offset_s"].to_numpy(zero_copy_only=False), np.float64)
    pid = _integers(column["pid"].cast(pa.int64()), NO_PID)
    names = sorted(pc.unique(column["camera"]).to_pylist())
    camera = _integers(pc.index_in(column["camera"], pa.array(names, pa.string())).cast(pa.int64()), 0)
    tracklets = _joint(*(_codes(column[name]) for name in ("source", "tracklet", "camera", "pid")))
    alone = pc.equal(column["tracklet"], "").to_numpy(zero_copy_only=False)
    group = np.unique(np.where(alone, -1 - np.arange(len(tracklets)), tracklets), return_inverse=True)[1]
    rank = np.argsort(np.argsort(ids, kind="stable"), kind="stable")
    order = np.lexsort((rank, offset_s, time, group))
    first = order[_starts(group[order])]
    # Sightings that are shown together are stored together.
    place_of = np.empty(len(first), np.int64)
    place_of[np.lexsort((rank[first], time[first], camera[first]))] = np.arange(len(first))
    group = place_of[group]
    order = order[np.argsort(group[order], kind="stable")]
    starts = _starts(group[order])
    quality = column["quality"].to_numpy(zero_copy_only=False)[order]
    by_quality = np.lexsort((rank[order], -quality, group[order]))
    head = order[starts]
    probabilities = matrix(column["attributes"])
    classes, confidence = _attributes(probabilities[order], starts, schema)
    return GroupedCrops(
        cameras=names,
        ids=ids[order],
        place=_integers(column["place"], 0)[order],
        scene=_joint(*(_codes(column[name]) for name in ("source", "input", "frame")))[order],
        time=time[order],
        camera=camera[order],
        starts=starts,
        best=by_quality[starts],
        offset_s=offset_s[head],
        pid=pid[head],
        tracklet=column["tracklet"].take(pa.array(head)).to_pylist(),
        classes=classes,
        confidence=confidence,
        histograms=count_confidences(probabilities, camera, len(names), schema),
    )


def _attributes(
    probabilities: NDArray[np.float32], starts: Int64Array, schema: AttributeSchema | None
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return (g, a) predicted classes and their mean probabilities from (n, M) probabilities of crops."""
    width = probabilities.shape[1]
    if schema is None or width == 0:
        return np.empty((len(starts), 0), np.uint8), np.empty((len(starts), 0), np.float16)
    if width != schema.classes:
        raise StoreError(
            f"crops have {width} attribute classes, the schema {schema.name} of their model has {schema.classes}: run "
            "`vestigo store check`, or index again"
        )
    counts = np.diff(starts, append=len(probabilities))
    means = np.add.reduceat(probabilities.astype(np.float64), starts, axis=0) / counts[:, None]
    parts = [means[:, schema.slice(name)] for name in schema.names]
    classes = np.stack([part.argmax(axis=1) for part in parts], axis=1)
    confidence = np.stack([part.max(axis=1) for part in parts], axis=1)
    return classes.astype(np.uint8), confidence.astype(np.float16)


def count_confidences(
    probabilities: Float32Array, camera: Int64Array, cameras: int, schema: AttributeSchema | None
) -> list[bytes]:
    """Count n crops by camera (n,), predicted class of each attribute, and level of their probabilities (n, M).

    Returns:
        For each camera the non-zero positions of the flat (M, `LEVELS`) table and their counts, as little-endian
        uint32 pairs.
    """
    if schema is None or not probabilities.shape[1]:
        return [b""] * cameras
    keys = []
    for attribute, offset in zip(schema.attributes, schema.offsets, strict=True):
        part = probabilities[:, offset : offset + len(attribute.values)]
        level = np.searchsorted(_STEPS, part.max(axis=1), side="right") - 1
        keys.append((part.argmax(axis=1) + offset) * LEVELS + np.maximum(level, 0))
    table = np.stack(keys, axis=1)
    return [
        np.stack(np.unique(table[camera == number], return_counts=True), axis=1).astype("<u4").tobytes()
        for number in range(cameras)
    ]


def _ids(column: pa.Array) -> NDArray[np.bytes_]:
    names = column.to_pylist()
    try:
        raw = bytes.fromhex("".join(names))
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES * len(names):
        raise StoreError(f"crop ids such as {names[0]} are not 20 hex digits: run `vestigo store check`")
    return np.frombuffer(raw, f"S{ID_BYTES}")


def _integers(column: pa.Array, missing: int) -> Int64Array:
    return np.asarray(column.fill_null(missing).to_numpy(zero_copy_only=False), np.int64)


def _codes(column: pa.Array) -> Int64Array:
    """Return (n,) small numbers, equal where the values are equal; null is a value."""
    return _integers(column.dictionary_encode(null_encoding="encode").indices.cast(pa.int64()), 0)


def _joint(*codes: Int64Array) -> Int64Array:
    """Return (n,) small numbers, equal where all codes are equal."""
    return reduce(lambda a, b: np.unique(a * (int(b.max(initial=0)) + 1) + b, return_inverse=True)[1], codes)


def _starts(group: Int64Array) -> Int64Array:
    """Return where the runs of equal numbers begin."""
    return np.flatnonzero(np.diff(group, prepend=-1))
