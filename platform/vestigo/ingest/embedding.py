"""Extract the features of image files in batches; unreadable files are skipped and counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import Int64Array
from vestigo_models.errors import BadInput
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import map_each
from vestigo_models.progress import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from vestigo_models.inference.extractor import Extractor

READERS = 2  # child processes that read and decode images ahead of the network
IMAGES_PER_BATCH = 256
NOT_FINITE = "not-finite"
OnBatch = Callable[[Sequence[int], Sequence[NDArray[np.uint8]]], None]
"""Called with each batch of readable images: their rows among the N files, and their RGB uint8 pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FileFeatures:
    """Features of N image files."""

    rows: Int64Array  # (n,) int64, the readable ones of the N files, ascending
    features: CropFeatures
    ids: Int64Array  # (n,) int64, equal for files with equal name and content, such as one image in two splits
    sizes: Int64Array  # (n, 2) int64, height and width in pixels
    skipped: dict[int, str] = field(default_factory=dict)  # row of each other file to the reason, ascending
    region_cells: Int64Array | None = None  # Cells by true and predicted region, (K, K); None if not counted

    @property
    def unreadable(self) -> dict[str, int]:
        """Number of skipped files by reason, in the order of the files."""
        return dict(Counter(self.skipped.values()))

    @classmethod
    def joined(cls, parts: Mapping[int, FileFeatures], lost: Mapping[int, str] | None = None) -> FileFeatures:
        """Join the features of parts of the files, whatever the order in which they were computed.

        Args:
            parts: Features by the position of a part's first file among all files; at least one.
            lost: Files that are in no part, by position, and the reason.
        """
        ordered = [replace(parts[first], rows=parts[first].rows + first) for first in sorted(parts)]
        skipped = {first + row: reason for first, part in parts.items() for row, reason in part.skipped.items()}
        cells = [part.region_cells for part in ordered if part.region_cells is not None]
        return cls(
            rows=np.concatenate([part.rows for part in ordered]),
            features=CropFeatures.joined([part.features for part in ordered]),
            ids=np.concatenate([part.ids for part in ordered]),
            sizes=np.concatenate([part.sizes for part in ordered]),
            skipped=dict(sorted({**skipped, **(lost or {})}.items())),
            region_cells=np.sum(cells, axis=0) if cells else None,
        )

    def copy(self) -> FileFeatures:
        """Return a copy that keeps no memory that others own, such as an executor's."""
        return replace(
            self,
            rows=self.rows.copy(),
            features=self.features[np.arange(len(self.features))],
            ids=self.ids.copy(),
            sizes=self.sizes.copy(),
        )


def embed_files(
    paths: Sequence[Path],
    extractor: Extractor,
    progress: ProgressCallback = ignore_progress,
    on_batch: OnBatch | None = None,
) -> FileFeatures:
    """Extract the features of image files; memory is a batch of images, and the features.

    The features of a file do not depend on the other files, bit for bit (see `Extractor`).
    """
    rows: list[int] = []
    ids: list[int] = []
    sizes: list[tuple[int, int]] = []
    features: list[CropFeatures] = []
    skipped: dict[int, str] = {}
    results = enumerate(map_each(_read, paths, children=READERS))
    for start in range(0, len(paths), IMAGES_PER_BATCH):
        images: list[tuple[int, int, NDArray[np.uint8]]] = []
        for row, result in islice(results, IMAGES_PER_BATCH):
            if isinstance(result, BadInput):
                skipped[row] = result.reason
            else:
                images.append((row, *result))
        computed = extractor.extract([pixels for _, _, pixels in images])
        if not (is_finite := computed.are_finite()).all():
            skipped |= {row: NOT_FINITE for row, _, _ in compress(images, ~is_finite)}
            images, computed = list(compress(images, is_finite)), computed[is_finite]
        features.append(computed)
        rows += [row for row, _, _ in images]
        ids += [id_ for _, id_, _ in images]
        sizes += [(pixels.shape[0], pixels.shape[1]) for _, _, pixels in images]
        if on_batch is not None:
            on_batch([row for row, _, _ in images], [pixels for _, _, pixels in images])
        progress(min(start + IMAGES_PER_BATCH, len(paths)), len(paths))
    return FileFeatures(
        rows=np.array(rows, dtype=np.int64),
        features=CropFeatures.joined(features or [extractor.extract([])]),
        ids=np.array(ids, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64).reshape(len(sizes), 2),
        skipped=dict(sorted(skipped.items())),
    )


def _read(path: Path) -> tuple[int, NDArray[np.uint8]]:
    """Return an image and its id."""
    data = path.read_bytes()
    digest = hashlib.sha256(f"{path.name}\0".encode() + data).digest()
    return int.from_bytes(digest[:8], "big", signed=True), decode_image(data)
