"""Image files to what a model says of them: read, skip and count what cannot be read, extract in batches."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import BadInput
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import decode_image

READERS = 2
IMAGES_AT_ONCE = 256

Watch = Callable[[Sequence[int], Sequence[NDArray[np.uint8]]], None]
"""Sees every lot of images that could be read: which of the N files they are, and their RGB uint8 pixels."""


class CropExtractor(Protocol):
    """What `vestigo_models.inference.extractor.Extractor` does."""

    def extract(self, crops: Sequence[NDArray[np.uint8]]) -> CropFeatures:
        """What the model says of N RGB uint8 crops, N = 0 included."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """What became of N image files.

    Attributes:
        rows: (n,) int64, which of the N files could be read, ascending.
        outputs: what the model says of those.
        ids: (n,) int64, equal exactly for files of equal name and content: the same picture in two splits.
        unreadable: reason -> number of files left out.
    """

    rows: NDArray[np.int64]
    outputs: CropFeatures
    ids: NDArray[np.int64]
    unreadable: dict[str, int] = field(default_factory=dict)


def embed_files(
    paths: Sequence[Path],
    extractor: CropExtractor,
    advance: Callable[[int], None] = lambda _: None,
    watch: Watch | None = None,
) -> Embedded:
    """Put image files through a model; `advance` hears how many are done. Memory is a batch of images, and outputs."""
    rows: list[int] = []
    ids: list[int] = []
    outputs: list[CropFeatures] = []
    unreadable: Counter[str] = Counter()
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            crops = []
            first = len(rows)
            for row, read in enumerate(readers.map(_read, paths[start : start + IMAGES_AT_ONCE]), start):
                if isinstance(read, BadInput):
                    unreadable[read.reason] += 1
                else:
                    rows.append(row)
                    ids.append(read[0])
                    crops.append(read[1])
            outputs.append(extractor.extract(crops))
            if watch is not None:
                watch(rows[first:], crops)
            advance(min(start + IMAGES_AT_ONCE, len(paths)))
    return Embedded(
        rows=np.array(rows, dtype=np.int64),
        outputs=CropFeatures.joined(outputs or [extractor.extract([])]),
        ids=np.array(ids, dtype=np.int64),
        unreadable=dict(unreadable),
    )


def _read(path: Path) -> tuple[int, NDArray[np.uint8]] | BadInput:
    try:
        data = path.read_bytes()
        digest = hashlib.sha256(f"{path.name}\0".encode() + data).digest()
        return int.from_bytes(digest[:8], "big", signed=True), decode_image(data)
    except BadInput as error:
        return error
    except OSError as error:
        return BadInput("unreadable", f"{path}: {error.strerror or error}")
