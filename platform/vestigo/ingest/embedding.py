"""Extract the features of image files in batches; unreadable files are skipped and counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import BadInput
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import map_each
from vestigo_models.progress import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from vestigo_models.inference.extractor import Extractor

READERS = 2  # child processes that read and decode images ahead of the network
IMAGES_PER_BATCH = 256
OnBatch = Callable[[Sequence[int], Sequence[NDArray[np.uint8]]], None]
"""Called with each batch of readable images: their rows among the N files, and their RGB uint8 pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FileFeatures:
    """Features of N image files."""

    rows: NDArray[np.int64]  # (n,) int64, the readable ones of the N files, ascending
    features: CropFeatures
    ids: NDArray[np.int64]  # (n,) int64, equal for files with equal name and content, such as one image in two splits
    unreadable: dict[str, int] = field(default_factory=dict)  # reason to number of skipped files


def embed_files(
    paths: Sequence[Path],
    extractor: Extractor,
    progress: ProgressCallback = ignore_progress,
    on_batch: OnBatch | None = None,
) -> FileFeatures:
    """Extract the features of image files; memory is a batch of images, and the features."""
    rows: list[int] = []
    ids: list[int] = []
    features: list[CropFeatures] = []
    unreadable: Counter[str] = Counter()
    results = enumerate(map_each(_read, paths, children=READERS))
    for start in range(0, len(paths), IMAGES_PER_BATCH):
        images: list[tuple[int, int, NDArray[np.uint8]]] = []
        for row, result in islice(results, IMAGES_PER_BATCH):
            if isinstance(result, BadInput):
                unreadable[result.reason] += 1
            else:
                images.append((row, *result))
        computed = extractor.extract([pixels for _, _, pixels in images])
        if not (is_finite := computed.are_finite()).all():
            unreadable["not-finite"] += int((~is_finite).sum())
            images, computed = list(compress(images, is_finite)), computed[is_finite]
        features.append(computed)
        rows += [row for row, _, _ in images]
        ids += [id_ for _, id_, _ in images]
        if on_batch is not None:
            on_batch([row for row, _, _ in images], [pixels for _, _, pixels in images])
        progress(min(start + IMAGES_PER_BATCH, len(paths)), len(paths))
    return FileFeatures(
        rows=np.array(rows, dtype=np.int64),
        features=CropFeatures.joined(features or [extractor.extract([])]),
        ids=np.array(ids, dtype=np.int64),
        unreadable=dict(unreadable),
    )


def _read(path: Path) -> tuple[int, NDArray[np.uint8]]:
    """Return an image and its id."""
    data = path.read_bytes()
    digest = hashlib.sha256(f"{path.name}\0".encode() + data).digest()
    return int.from_bytes(digest[:8], "big", signed=True), decode_image(data)
