"""Who is on the crops that a ranking names, and how many true matches the gallery held: asked of the archive once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.evaluation.metrics.truncated import NOBODY_KNOWS
from vestigo.search.gallery import EVERYWHERE, Archive, Scope, label_batches
from vestigo.store.runs.records import Model

NOWHERE = -1
"""The camera of a crop that the archive no longer has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What an archive knows of n crops, and of everybody in its gallery, the crops that were in scope.

    Attributes:
        ids: (n,) bytes, ascending.
        pids, camids: (n,) int64; `NOBODY_KNOWS` and `NOWHERE`, else positions in `cameras`.
        in_gallery: (n,) bool.
        matches: pid -> camera (position) -> crops of the gallery.
    """

    cameras: list[str]
    ids: NDArray[np.bytes_]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    in_gallery: NDArray[np.bool_]
    matches: dict[int, dict[int, int]]

    @classmethod
    def of(cls, archive: Archive, model: Model, scope: Scope, ids: NDArray[np.bytes_]) -> Truth:
        """Ask an archive about crops (ascending, none twice): a pass over ids and labels, two where `scope` is narrow.

        Memory is O(n + labelled people x cameras).
        """
        cameras: dict[str, int] = {}
        pids, camids = np.full(len(ids), NOBODY_KNOWS), np.full(len(ids), NOWHERE)
        in_gallery = np.zeros(len(ids), np.bool_)
        crops: Counter[tuple[int, int]] = Counter()
        for known, whole in ((EVERYWHERE, True), (scope, False)) if scope != EVERYWHERE else ((EVERYWHERE, False),):
            for batch in label_batches(archive, model, known):
                persons = coded_pids(batch.column("pid"))
                places = coded_cameras(batch.column("camera"), cameras)
                rows, here = _placed(ids, batch.column("crop_id"))
                pids[here], camids[here] = persons[rows], places[rows]
                if not whole:
                    in_gallery[here] = True
                    named = persons != NOBODY_KNOWS
                    seen, counts = np.unique(np.stack([persons[named], places[named]]), axis=1, return_counts=True)
                    crops.update(dict(zip(map(tuple, seen.T.tolist()), counts.tolist(), strict=True)))
        matches: dict[int, dict[int, int]] = defaultdict(dict)
        for (pid, camid), count in crops.items():
            matches[pid][camid] = count
        return cls(
            cameras=list(cameras), ids=ids, pids=pids, camids=camids, in_gallery=in_gallery, matches=dict(matches)
        )

    def places(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Where crops stand in `ids`; all of them must."""
        return np.asarray(np.searchsorted(self.ids, ids))


def distinct(ids: Iterable[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
    """Ids ascending, none twice, without the empty one that stands for no crop."""
    found = np.unique(np.concatenate([np.empty(0, "S1"), *(np.unique(some) for some in ids)]))
    return np.asarray(found[found != b""])


def coded_pids(column: pa.Array) -> NDArray[np.int64]:
    """Identities as int64, `NOBODY_KNOWS` for null."""
    return np.asarray(column.cast(pa.int64()).fill_null(NOBODY_KNOWS).to_numpy(zero_copy_only=False))


def coded_cameras(column: pa.Array, cameras: dict[str, int]) -> NDArray[np.int64]:
    """Cameras as positions in `cameras`, which takes in new ones; `NOWHERE` for null."""
    encoded = column.dictionary_encode()
    codes = [cameras.setdefault(name, len(cameras)) for name in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*codes, NOWHERE], np.int64)[places])


def _placed(ids: NDArray[np.bytes_], batch: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows of a batch are among `ids`, and where there."""
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    names = batch.to_numpy(zero_copy_only=False).astype("S")
    places = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    rows = np.flatnonzero(ids[places] == names)
    return rows, places[rows]
