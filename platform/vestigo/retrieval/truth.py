"""Read the identities and cameras of ranked crops from a store, to be saved with a ranking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.evaluation.metrics.truncated import UNKNOWN_CAMERA, UNKNOWN_PID
from vestigo.retrieval.gallery import EVERYWHERE, Gallery, Scope
from vestigo_models.arrays import BoolArray, Int64Array


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingTruth:
    """Identities and cameras of n crops, and the number of crops of each identity in the gallery."""

    cameras: list[str]  # Camera names
    ids: NDArray[np.bytes_]  # (n,) bytes, ascending
    pids: Int64Array  # (n,) int64, `UNKNOWN_PID` if unknown
    camids: Int64Array  # (n,) int64, positions in `cameras`, `UNKNOWN_CAMERA` if unknown
    in_gallery: BoolArray  # (n,) bool
    matches: Mapping[int, Mapping[int, int]]  # pid -> camera (position) -> crops of the gallery

    @classmethod
    def of(cls, gallery: Gallery, scope: Scope, ids: NDArray[np.bytes_]) -> RankingTruth:
        """Look up distinct crops, ascending, in one pass over ids and labels, two if `scope` is narrow.

        Memory is O(n + labelled identities x cameras).
        """
        cameras: dict[str, int] = {}
        pids, camids = np.full(len(ids), UNKNOWN_PID), np.full(len(ids), UNKNOWN_CAMERA)
        in_gallery = np.zeros(len(ids), np.bool_)
        matches: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for part in (EVERYWHERE, scope) if scope != EVERYWHERE else (EVERYWHERE,):
            for crops in gallery.select(part, "labels"):
                batch = crops.facts(("pid", "camera"))
                batch_pids = pid_codes(batch.column("pid"))
                batch_camids = camera_codes(batch.column("camera").cast(pa.string()), cameras)
                rows, places = _find(ids, crops.ids)
                pids[places], camids[places] = batch_pids[rows], batch_camids[rows]
                if part == scope:
                    in_gallery[places] = True
                    known = batch_pids != UNKNOWN_PID
                    pairs = np.stack([batch_pids[known], batch_camids[known]])
                    values, counts = np.unique(pairs, axis=1, return_counts=True)
                    for (pid, camid), count in zip(values.T.tolist(), counts.tolist(), strict=True):
                        matches[pid][camid] += count
        return cls(cameras=list(cameras), ids=ids, pids=pids, camids=camids, in_gallery=in_gallery, matches=matches)

    def positions(self, ids: NDArray[np.bytes_]) -> Int64Array:
        """Return the positions of crops in `ids`; all of them must be in it."""
        return np.asarray(np.searchsorted(self.ids, ids))


def distinct_ids(ids: Iterable[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
    """Return distinct ids, ascending, without the empty id that fills short rankings."""
    distinct = np.unique(np.concatenate([np.empty(0, "S1"), *(np.unique(part) for part in ids)]))
    return np.asarray(distinct[distinct != b""])


def pid_codes(column: pa.Array) -> Int64Array:
    """Return identities as int64, `UNKNOWN_PID` for null."""
    return np.asarray(column.cast(pa.int64()).fill_null(UNKNOWN_PID).to_numpy(zero_copy_only=False))


def camera_codes(column: pa.Array, cameras: dict[str, int]) -> Int64Array:
    """Return cameras as positions in `cameras`, which is extended by new ones; `UNKNOWN_CAMERA` for null."""
    encoded = column.dictionary_encode()
    codes = [cameras.setdefault(name, len(cameras)) for name in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*codes, UNKNOWN_CAMERA], np.int64)[indices])


def _find(ids: NDArray[np.bytes_], names: NDArray[np.bytes_]) -> tuple[Int64Array, Int64Array]:
    """Return the rows of names that are among `ids`, and their positions there."""
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    rows = np.flatnonzero(ids[places] == names)
    return rows, places[rows]
