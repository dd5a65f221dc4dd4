"""A test split of a store's own identities, for stores without a separate test set.

The split is fixed: whether an identity is tested depends on its key alone, not on the growth, the place or the
re-indexing of the store, nor on trainings. It is disjoint by known identity: a person in two tracklets that are not
linked may be on both sides.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo.datasets.reid import ReidDataset, Split
from vestigo.store.open import Store
from vestigo_models.arrays import Int64Array
from vestigo_models.private_files import create_private
from vestigo_models.schemas.attributes import AttributeSchema

ONE_IN = 5
"""One in this many identities is tested."""
STORE_SPLIT = "own people"
"""Name of the split in a model's scores."""
CROPS_AT_ONCE = 1000
"""Crops whose images are read together, because each read scans all files; some 10 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitCrop:
    """A crop of the test split: its `identity_key` and its labels (n,), -1 if there is none."""

    crop: str
    identity: str
    camera: str
    labels: Int64Array


def identity_key(*, pid: int | None, tracklet: str, crop: str) -> str:
    """Return the key of a crop's identity: the dataset's identity if known (above 0), else the tracklet, else the crop.

    Ids of tracklets and crops are digests of content, so the same footage in another place has the same keys.
    """
    if pid is not None and pid > 0:
        return f"pid {pid}"
    return f"tracklet {tracklet}" if tracklet else f"crop {crop}"


def is_test(key: str) -> bool:
    """Return whether an identity is in the test split; all others may be learnt from."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < 2**64 // ONE_IN


def build_test_set(store: Store, crops: Sequence[SplitCrop], schema: AttributeSchema, folder: Path) -> ReidDataset:
    """Write the images of crops into `folder` and return a dataset of them, without a training split.

    The first crop of each identity and camera is a query if another camera has the identity too. All crops are gallery.
    """
    paths = tuple(write_crops(store, [crop.crop for crop in crops], folder))
    pids = 1 + np.unique([crop.identity for crop in crops], return_inverse=True)[1].astype(np.int64)
    camids = np.unique([crop.camera for crop in crops], return_inverse=True)[1].astype(np.int64)
    labels = np.array([crop.labels for crop in crops], dtype=np.int64).reshape(len(crops), len(schema))
    yes = IdentityLabels.from_labels(schema, pids, labels).yes

    def split(selected: Int64Array) -> Split:
        return Split(
            paths=tuple(paths[row] for row in selected),
            pids=pids[selected],
            camids=camids[selected],
            labels=labels[selected],
            yes=yes[selected],
        )

    return ReidDataset(
        name=STORE_SPLIT,
        root=folder,
        source=folder,
        schema=schema,
        train=split(np.empty(0, dtype=np.int64)),
        query=split(_select_queries(pids, camids)),
        gallery=split(np.arange(len(crops))),
        junk=0,
        without_labels="",
    )


def crop_images(store: Store, crops: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the ids of crops with the bytes of their images, in order; memory is `CROPS_AT_ONCE` images."""
    for start in range(0, len(crops), CROPS_AT_ONCE):
        for row in store.crops.get(crops[start : start + CROPS_AT_ONCE], ["image"]):
            yield row["crop_id"], row["image"]


def write_crops(store: Store, crops: Sequence[str], folder: Path) -> Iterator[Path]:
    """Write the images of crops into `folder`, as ID.jpg, and yield their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for crop, image in crop_images(store, crops):
        path = folder / f"{crop}.jpg"
        with create_private(path) as file:
            file.write(image)
        yield path


def _select_queries(pids: Int64Array, camids: Int64Array) -> Int64Array:
    first: dict[int, dict[int, int]] = {}
    for row, (pid, camid) in enumerate(zip(pids.tolist(), camids.tolist(), strict=True)):
        first.setdefault(pid, {}).setdefault(camid, row)
    return np.array([row for by_camera in first.values() if len(by_camera) > 1 for row in by_camera.values()], np.int64)
