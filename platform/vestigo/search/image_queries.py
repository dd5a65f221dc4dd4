"""Image files as queries of a bulk re-identification: a benchmark's query split, or a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.recognise import load_dataset, recognise
from vestigo.ingest.crops import whole_image_id
from vestigo.ingest.embedding import embed_files
from vestigo.search.bulk import BulkQueries
from vestigo.search.gallery import Appearance
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import IMAGE_SUFFIXES, encode_jpeg, read_image, shrink

PICTURE_HEIGHT = 256


def image_queries(
    folder: Path, open_encoder: Callable[[], Extractor], advance: Callable[[int, int], None]
) -> tuple[BulkQueries, dict[str, int]]:
    """Make queries of the images in `folder`; returns reason -> images that were left out, too.

    An image that a store took for a crop as a whole is that crop, by name and content. `advance` hears how many images
    are done, and of how many.

    Raises:
        UsageError: no such folder, or no image in it.
        DatasetError: a benchmark dataset that cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such file or folder")
    labels: list[tuple[int, str]] = []
    if recognise(folder) is not None:
        query = load_dataset(folder).query
        paths = list(query.paths)
        labels = [(int(pid), f"c{camid + 1}") for pid, camid in zip(query.pids, query.camids, strict=True)]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise UsageError(f"{folder}: holds no image")
    names = [path.relative_to(folder).as_posix() for path in paths]
    sizes: dict[int, tuple[int, int]] = {}

    def measure(rows: Sequence[int], crops: Sequence[NDArray[np.uint8]]) -> None:
        sizes.update((row, (crop.shape[0], crop.shape[1])) for row, crop in zip(rows, crops, strict=True))

    encoder = open_encoder()
    found = embed_files(paths, encoder, lambda done: advance(done, len(paths)), measure)
    rows = found.rows.tolist()
    queries = BulkQueries(
        names=[names[row] for row in rows],
        views=Appearance.of(found.outputs),
        own=[(whole_image_id(names[row], paths[row].read_bytes(), sizes[row]),) for row in rows],
        model=encoder.package.digest,
        kind="images",
        labels=[labels[row] for row in rows] if labels else [],
        picture=lambda position: _picture(paths[rows[position]]),
        source=folder.resolve().name,
    )
    return queries, found.unreadable


def _picture(path: Path) -> bytes | None:
    try:
        return encode_jpeg(shrink(read_image(path), PICTURE_HEIGHT))
    except BadInput:
        # It was there a moment ago; the ranking is worth more than its picture.
        return None
