"""Decode planned images in child processes, ahead of the network; `ingest.video.isolated` does so for videos."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.crops import MAX_CROP_HEIGHT
from vestigo.ingest.inputs import ImageInput
from vestigo.ingest.sources.containers import read_member
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import map_each

JPEG_MAGIC = b"\xff\xd8\xff"

DecodedImage = tuple[NDArray[np.uint8], bytes | None]
"""RGB pixels (height, width, 3), and the file's bytes if they can be stored unchanged."""


def decode_images(inputs: Sequence[ImageInput], children: int = 1) -> Iterator[DecodedImage | BadInput]:
    """Yield the decoded image or the error of each input, in order; memory is some images for each child process."""
    return map_each(read_image_input, inputs, children=children)


def read_image_input(item: ImageInput) -> DecodedImage:
    """Read and decode a planned image in this process.

    Raises:
        BadInput: `changed` if the content differs from the plan, or as `read_member` and `decode_image`.
    """
    data = read_member(item.locator)
    # The crop id and the ledger's key are digests of the content that was planned.
    if hashlib.sha256(data).hexdigest() != item.digest:
        raise BadInput("changed", f"{item.name} changed since it was planned; index its source again")
    image = decode_image(data)
    is_storable = data.startswith(JPEG_MAGIC) and image.shape[0] <= MAX_CROP_HEIGHT
    return image, data if is_storable else None
