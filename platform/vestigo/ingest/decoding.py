"""Read images and videos in child processes, ahead of the network (`vestigo_models.isolation`)."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.crops import MAX_CROP_HEIGHT
from vestigo.ingest.inputs import ImageInput, VideoInfo
from vestigo.ingest.sources.containers import read_member
from vestigo.ingest.video.decode import FrameReader, SampledFrame
from vestigo.ingest.video.probe import probe_video
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import SECONDS, SLOWEST_READING, call, map_each, stream

JPEG_MAGIC = b"\xff\xd8\xff"
FRAME_SECONDS = 300.0
"""Longest wait for a sampled frame: where seeking fails, decoding starts at the beginning of the file."""
DecodedImage = tuple[NDArray[np.uint8], bytes | None]
"""RGB pixels (height, width, 3), and the file's bytes if they can be stored unchanged."""


def decode_images(inputs: Sequence[ImageInput], children: int = 1) -> Iterator[DecodedImage | BadInput]:
    """Yield the decoded image or the error of each input, in order; memory is some images for each child process."""
    return map_each(read_image_input, inputs, children=children)


def read_image_input(item: ImageInput) -> DecodedImage:
    """Read and decode a planned image; raise BadInput `changed`, or as `read_member` and `decode_image`."""
    data = read_member(item.locator)
    # The crop id and the ledger's key are digests of the content that was planned.
    if hashlib.sha256(data).hexdigest() != item.digest:
        raise BadInput("changed", f"{item.name} changed since it was planned; index its source again")
    image = decode_image(data)
    is_storable = data.startswith(JPEG_MAGIC) and image.shape[0] <= MAX_CROP_HEIGHT
    return image, data if is_storable else None


def probe_in_child(path: Path, name: str) -> VideoInfo:
    """Probe the video that messages call `name`; exceptions are those of `probe_video` and `isolation.call`."""
    return call(probe_video, path, name=name, seconds=SECONDS + path.stat().st_size / SLOWEST_READING)


def decode_frames(reader: FrameReader) -> Iterator[SampledFrame]:
    """Yield the frames of a reader that runs in a child process; at the end `reader` has the counts and failures.

    Exceptions are those of `FrameReader` and `vestigo_models.isolation.call`.
    """
    for item in stream(_read_frames, reader, name=reader.path.name, seconds=FRAME_SECONDS):
        if isinstance(item, SampledFrame):
            yield item
        else:
            vars(reader).update(item)


def _read_frames(reader: FrameReader) -> Iterator[SampledFrame | dict[str, Any]]:
    yield from reader
    yield vars(reader)
