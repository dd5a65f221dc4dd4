"""Hold identities of a training split out of it, and judge them as a benchmark does."""

import hashlib
from collections import defaultdict
from dataclasses import replace

from vestigo.datasets.files import GALLERY, QUERY, TRAIN, DatasetFiles
from vestigo_models.errors import DatasetError

DEFAULT_SHARE = 5
"""One of so many identities is held out where no number is given, rounded up: 151 of the 751 of Market-1501."""


def hold_out(files: DatasetFiles, identities: int | None = None, seed: int = 0) -> DatasetFiles:
    """Move identities of the training split into query and gallery splits, which replace those of the dataset.

    The identities with the smallest digests of seed and number are held out, so that a smaller number holds out a part
    of them, and the choice is the same everywhere. One image of each identity and camera is the query, the others are
    gallery; an identity of which every camera has one image keeps that of the last camera in the gallery. Distractors,
    junk and images of other names stay in the training split.

    Args:
        files: Dataset with a training split.
        identities: Number of identities; by default one of `DEFAULT_SHARE`, rounded up.
        seed: Seed of the choice of identities and queries.

    Raises:
        DatasetError: If the training split does not have so many identities.
    """
    train = files.splits.get(TRAIN)
    if train is None:
        raise DatasetError(f"no identity can be held out: the dataset has no {TRAIN}")
    views: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, label in enumerate(train.labels):
        if label is not None and label.pid > 0:
            views[label.pid][label.camera].append(row)
    number = -(-len(views) // DEFAULT_SHARE) if identities is None else identities
    if not 1 <= number <= len(views):
        raise DatasetError(f"cannot hold {number} identities out of a training split of {len(views)}; choose fewer")
    held_out = sorted(views, key=lambda pid: _digest(seed, str(pid)))[:number]
    query, gallery = set[int](), set[int]()
    for cameras in map(views.__getitem__, held_out):
        chosen = {min(rows, key=lambda row: _digest(seed, train.names[row])) for rows in cameras.values()}
        rest = {row for rows in cameras.values() for row in rows} - chosen
        if not rest:
            rest = set(cameras[max(cameras)])
        query |= chosen - rest
        gallery |= rest
    rows = {TRAIN: set(range(len(train.names))) - query - gallery, QUERY: query, GALLERY: gallery}
    splits = {
        split: replace(
            train,
            names=tuple(train.names[row] for row in sorted(of_split)),
            labels=tuple(train.labels[row] for row in sorted(of_split)),
        )
        for split, of_split in rows.items()
    }
    return replace(files, splits=splits, held_out=number)


def _digest(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed} {text}".encode()).digest()
