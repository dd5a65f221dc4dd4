"""Read images and videos in child processes, ahead of the network (`vestigo_models.isolation`)."""

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.crops import MAX_CROP_HEIGHT
from vestigo.ingest.inputs import ImageInput, VideoInfo
from vestigo.ingest.sources.containers import read_member
from vestigo.ingest.video.decode import DecodeFailure, FrameReader, SampledFrame
from vestigo.ingest.video.probe import probe_video
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_models.isolation import (
    CRASHED,
    SECONDS,
    SLOWEST_READING,
    TOO_MUCH_MEMORY,
    TOO_SLOW,
    call,
    map_each,
    stream,
)

JPEG_MAGIC = b"\xff\xd8\xff"
FRAME_SECONDS = 300.0
"""Longest wait for a sampled frame: where seeking fails, decoding starts at the beginning of the file."""
DECODER_ENDS = (CRASHED, TOO_SLOW, TOO_MUCH_MEMORY)
MAX_RESTARTS = 4
"""Keyframes of one slice at which decoding begins again after the decoder ended."""
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
    """Yield the frames of a reader that runs in a child process; at the end `reader` has the failures.

    Where a frame crashes the decoder or exceeds a limit, decoding continues at the next keyframe; the frames between
    are one failure. Exceptions are those of `FrameReader`, and of `isolation.call` if the slice has no readable frame.
    """
    last: SampledFrame | None = None
    for restarts in count():
        try:
            for failures, frame in stream(_read_frames, reader, name=reader.path.name, seconds=FRAME_SECONDS):
                reader.failures += failures
                if frame is not None:
                    last = frame
                    yield frame
            return
        except BadInput as error:
            if error.reason not in DECODER_ENDS:
                raise
            if not reader.skip(last, error, to_end=restarts == MAX_RESTARTS):
                if last is None or last.index < reader.part.first:
                    raise
                return


def _read_frames(reader: FrameReader) -> Iterator[tuple[list[DecodeFailure], SampledFrame | None]]:
    """Yield frames with the failures before each; the last item has no frame."""
    reader = copy(reader)
    sent = 0
    for frame in reader:
        yield reader.failures[sent:], frame
        sent = len(reader.failures)
    yield reader.failures[sent:], None
