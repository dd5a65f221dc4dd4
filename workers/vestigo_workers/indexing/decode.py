"""Still images read and decoded inside the worker, ahead of the network where that pays."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.inputs import ImageInput
from vestigo.ingest.sources.containers import read_member
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_workers.indexing.rows import STORED_HEIGHT

DECODE_THREADS = 2
"""Beside a GPU that takes what they decode."""
JPEG_MAGIC = b"\xff\xd8\xff"

Loaded = tuple[NDArray[np.uint8], bytes | None]
"""RGB pixels, and the file's own bytes where they can be stored as they are."""


def decode_ahead(inputs: Sequence[ImageInput], threads: int) -> Iterator[tuple[int, ImageInput, Loaded | BadInput]]:
    """Read and decode on `threads` threads, a bounded window ahead of the network; yields in the order of `inputs`.

    Without a thread, each is read when it is asked for: where the network runs on the only core of the worker, threads
    cost more in switches than they can win.
    """
    if not threads:
        yield from ((position, item, load(item)) for position, item in enumerate(inputs))
        return
    waiting: deque[tuple[int, ImageInput, Future[Loaded | BadInput]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for position, item in enumerate(inputs):
            waiting.append((position, item, pool.submit(load, item)))
            if len(waiting) > 4 * threads:
                position, item, future = waiting.popleft()
                yield position, item, future.result()
        for position, item, future in waiting:
            yield position, item, future.result()


def load(item: ImageInput) -> Loaded | BadInput:
    """Read and decode one still image; what is wrong with it is the outcome, not an exception."""
    try:
        data = read_member(item.locator)
        # Its id and its place in the ledger are those of the content that was planned.
        if hashlib.sha256(data).hexdigest() != item.digest:
            raise BadInput("changed", f"{item.name} changed since it was planned; index its source again")
        image = decode_image(data)
    except BadInput as error:
        return error
    keep = data.startswith(JPEG_MAGIC) and image.shape[0] <= STORED_HEIGHT
    return image, data if keep else None
