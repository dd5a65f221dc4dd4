"""A test split of a store's own people, for archives that come without a test set.

It is frozen: whether somebody is tested follows from who it is and from nothing else, so that it stays the same while
the archive grows, is moved, or is indexed again, and however often models are trained. It is disjoint by identity as
far as identities are known: a person seen in two tracklets that nobody has linked may stand on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.store.open import Store
from vestigo_models.schemas.attributes import AttributeSchema

TEST_SHARE = 5
"""One in so many people is tested."""


def identity_key(*, pid: int | None, tracklet: str, crop: str) -> str:
    """Who a crop shows: the dataset's identity where it is known (above 0), else its tracklet, else the crop alone.

    Ids of tracklets and crops are digests of content, so the same footage under another path is the same people.
    """
    if pid is not None and pid > 0:
        return f"pid {pid}"
    return f"tracklet {tracklet}" if tracklet else f"crop {crop}"


def is_test(key: str) -> bool:
    """Whether somebody belongs to the test split; all others may be learnt from."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < 2**64 // TEST_SHARE


NAME = "own people"
LOOKED_UP = 1000
"""Crops whose images are looked up together, since each look passes over all files: some 10 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownCrop:
    """A crop of somebody who is tested: `labels` (n,) int64 as agreed on, -1 where not."""

    crop: str
    who: str
    camera: str
    labels: NDArray[np.int64]


def own_people(store: Store, crops: Sequence[KnownCrop], schema: AttributeSchema, folder: Path) -> ReidDataset:
    """Write the images of crops into `folder` and make a dataset of them, without a training split.

    The first crop of each person and camera is a query where another camera saw the person too; all crops are gallery.
    """
    people = {who: number for number, who in enumerate(sorted({crop.who for crop in crops}), start=1)}
    cameras = {name: number for number, name in enumerate(sorted({crop.camera for crop in crops}))}
    paths = tuple(write_crops(store, [crop.crop for crop in crops], folder))
    pids = np.array([people[crop.who] for crop in crops], dtype=np.int64)
    camids = np.array([cameras[crop.camera] for crop in crops], dtype=np.int64)
    labels = np.array([crop.labels for crop in crops], dtype=np.int64).reshape(len(crops), len(schema))
    yes = np.zeros((len(crops), schema.classes), dtype=np.bool_)
    rows, columns = np.nonzero(labels >= 0)
    yes[rows, np.asarray(schema.offsets, dtype=np.int64)[columns] + labels[rows, columns]] = True

    def split(chosen: NDArray[np.int64]) -> Split:
        return Split(
            paths=tuple(paths[row] for row in chosen),
            pids=pids[chosen],
            camids=camids[chosen],
            labels=labels[chosen],
            yes=yes[chosen],
        )

    return ReidDataset(
        name=NAME,
        root=folder,
        schema=schema,
        train=split(np.empty(0, dtype=np.int64)),
        query=split(_queries(pids, camids)),
        gallery=split(np.arange(len(crops))),
        junk=0,
        without_labels="",
    )


def crop_images(store: Store, crops: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the ids of crops with the bytes of their images, in order; `LOOKED_UP` of them are in memory together."""
    for start in range(0, len(crops), LOOKED_UP):
        for row in store.crops.get(crops[start : start + LOOKED_UP], ["image"]):
            yield row["crop_id"], row["image"]


def write_crops(store: Store, crops: Sequence[str], folder: Path) -> Iterator[Path]:
    """Write the images of crops into `folder`, as ID.jpg; yields their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for crop, image in crop_images(store, crops):
        path = folder / f"{crop}.jpg"
        path.write_bytes(image)
        yield path


def _queries(pids: NDArray[np.int64], camids: NDArray[np.int64]) -> NDArray[np.int64]:
    seen: dict[int, dict[int, int]] = {}
    for row, (pid, camid) in enumerate(zip(pids.tolist(), camids.tolist(), strict=True)):
        seen.setdefault(pid, {}).setdefault(camid, row)
    return np.array([row for by_camera in seen.values() if len(by_camera) > 1 for row in by_camera.values()], np.int64)
