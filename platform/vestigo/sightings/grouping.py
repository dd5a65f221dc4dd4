"""From the columns of one crop file to its sightings: pure functions on arrays. Symbols: n crops, g sightings.

A sighting holds the crops of one tracklet, source, camera and known person, or one still crop; a tracklet lies in one
file, for assembly writes the tracklets of a video together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.sightings.confidence import tallied
from vestigo.store.parquet.descriptors import matrix
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema

COLUMNS = (
    *("crop_id", "source", "input", "frame", "time", "offset_s", "camera", "tracklet", "quality", "pid"),
    "attributes",
)
ID_BYTES = 10
UNKNOWN = np.iinfo(np.int64).max
"""Stands for a time that is not known: such crops come last."""
NOBODY = np.iinfo(np.int64).min
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouped:
    """The crops of one file, sighting after sighting and in each by time; sightings by camera and time.

    Attributes:
        ids: (n,) bytes, 10 each; place: (n,) row in the file; scene: (n,) equal for crops of one frame; time: (n,)
            microseconds as recorded, or `UNKNOWN`; camera: (n,) index into `cameras`.
        starts: (g,) the first crop of each sighting; best: (g,) its best crop; offset_s: (g,) NaN where unknown;
            pid: (g,) or `NOBODY`; tracklet: g names.
        classes: (g, a) uint8, of each of a attributes; sure: (g, a) float16 probability; a = 0 without attributes.
        sureness: of each camera, see `vestigo.sightings.confidence.tallied`.
    """

    cameras: list[str]
    ids: NDArray[np.bytes_]
    place: Integers
    scene: Integers
    time: Integers
    camera: Integers
    starts: Integers
    best: Integers
    offset_s: NDArray[np.float64]
    pid: Integers
    tracklet: list[str]
    classes: NDArray[np.uint8]
    sure: NDArray[np.float16]
    sureness: list[bytes]

    @property
    def counts(self) -> Integers:
        """(g,) crops of each sighting."""
        return np.diff(self.starts, append=len(self.ids))

    def presence(self) -> Iterator[tuple[int, int, Integers]]:
        """Yield of each camera how many crops and sightings it has, and the known times in order."""
        of_sighting = self.camera[self.starts]
        for number in range(len(self.cameras)):
            times = self.time[self.camera == number]
            yield len(times), int((of_sighting == number).sum()), np.sort(times[times != UNKNOWN])


def grouped(table: pa.Table, hidden: frozenset[str], schema: AttributeSchema | None) -> Grouped:
    """Group the rows of a crop file, with `COLUMNS`; those of inputs in `hidden` are left out.

    Raises StoreError for ids of another form, and for probabilities that are not those of `schema`.
    """
    kept = pc.invert(pc.is_in(table.column("input"), pa.array(sorted(hidden), pa.string())))
    rows = table.append_column("place", pa.array(np.arange(len(table)))).filter(kept).combine_chunks()
    column = {name: _plain(rows.column(name)) for name in rows.column_names}
    ids = _ids(column["crop_id"])
    time = _integers(column["time"].cast(pa.int64()), UNKNOWN)
    offset_s = np.asarray(column["offset_s"].to_numpy(zero_copy_only=False), np.float64)
    pid = _integers(column["pid"].cast(pa.int64()), NOBODY)
    names = sorted(pc.unique(column["camera"]).to_pylist())
    camera = _integers(pc.index_in(column["camera"], pa.array(names, pa.string())).cast(pa.int64()), 0)
    whole = _joint(*(_codes(column[name]) for name in ("source", "tracklet", "camera", "pid")))
    alone = pc.equal(column["tracklet"], "").to_numpy(zero_copy_only=False)
    group = np.unique(np.where(alone, -1 - np.arange(len(whole)), whole), return_inverse=True)[1]
    rank = np.argsort(np.argsort(ids, kind="stable"), kind="stable")
    order = np.lexsort((rank, offset_s, time, group))
    first = order[_starts(group[order])]
    # Sightings that are shown together lie together.
    place_of = np.empty(len(first), np.int64)
    place_of[np.lexsort((rank[first], time[first], camera[first]))] = np.arange(len(first))
    group = place_of[group]
    order = order[np.argsort(group[order], kind="stable")]
    starts = _starts(group[order])
    quality = column["quality"].to_numpy(zero_copy_only=False)[order]
    by_quality = np.lexsort((rank[order], -quality, group[order]))
    head = order[starts]
    probabilities = matrix(column["attributes"])
    classes, sure = _attributes(probabilities[order], starts, schema)
    return Grouped(
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
        sure=sure,
        sureness=tallied(probabilities, camera, len(names), schema),
    )


def _attributes(
    probabilities: NDArray[np.float32], starts: Integers, schema: AttributeSchema | None
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """(n, M) probabilities of crops to the likeliest class of every attribute and its mean probability, (g, a) each."""
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
    sure = np.stack([part.max(axis=1) for part in parts], axis=1)
    return classes.astype(np.uint8), sure.astype(np.float16)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _ids(column: pa.Array) -> NDArray[np.bytes_]:
    names = column.to_pylist()
    try:
        raw = bytes.fromhex("".join(names))
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES * len(names):
        raise StoreError(f"crop ids such as {names[0]} are not 20 hex digits: run `vestigo store check`")
    return np.frombuffer(raw, f"S{ID_BYTES}")


def _integers(column: pa.Array, missing: int) -> Integers:
    return np.asarray(column.fill_null(missing).to_numpy(zero_copy_only=False), np.int64)


def _codes(column: pa.Array) -> Integers:
    """(n,) small numbers, equal where the values are; null is a value."""
    return _integers(column.dictionary_encode(null_encoding="encode").indices.cast(pa.int64()), 0)


def _joint(*codes: Integers) -> Integers:
    """(n,) small numbers, equal where all codes are."""
    return reduce(lambda a, b: _inverse(a * (int(b.max(initial=0)) + 1) + b), codes)


def _inverse(values: Integers) -> Integers:
    found: Any = np.unique(values, return_inverse=True)[1]
    return np.asarray(found, np.int64)


def _starts(group: Integers) -> Integers:
    """Where the runs of equal numbers begin."""
    return np.flatnonzero(np.diff(group, prepend=-1))
