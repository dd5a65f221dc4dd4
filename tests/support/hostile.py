"""Readers that end like those of hostile files: they replace readers of the product and run in child processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

from vestigo.ingest.decoding import DecodedImage, _read_frames, read_image_input
from vestigo.ingest.inputs import ImageInput, VideoInfo
from vestigo.ingest.video.decode import DecodeFailure, FrameReader, SampledFrame
from vestigo.ingest.video.probe import probe_video
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput

FramesItem = tuple[list[DecodeFailure], SampledFrame | None]


def fail_by_name(name: str) -> None:
    """Crash, loop, allocate or raise if a file is named so."""
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "memory" in name:
        bytes(1 << 40)
    if "raise" in name:
        raise RecursionError("maximum recursion depth exceeded")


def read_or_fail(item: ImageInput) -> DecodedImage:
    """Read an image as the product does."""
    fail_by_name(item.name)
    return read_image_input(item)


def crash(*_: object, **__: object) -> UInt8Array:
    """Read nothing, whatever the file."""
    fail_by_name("crash")
    raise AssertionError


def fail(ending: str, *_: object) -> None:
    """Read nothing and end as a file of such a name does."""
    fail_by_name(ending)


def probe_or_fail(path: Path) -> VideoInfo:
    """Probe a video as the product does."""
    fail_by_name(path.name)
    return probe_video(path)


def read_frames_and_crash(frames: Collection[int], reader: FrameReader) -> Iterator[FramesItem]:
    """Yield frames as the product does, up to one that crashes the decoder."""
    for failures, frame in _read_frames(reader):
        if frame is not None and frame.index in frames:
            fail_by_name("crash")
        yield failures, frame


def read_unless(names: Collection[str], item: ImageInput) -> DecodedImage:
    """Read an image as the product does, from a disk that does not answer for some names."""
    name = Path(item.locator.path).name
    if name in names:
        raise BadInput("unreadable", f"{name}: input/output error")
    return read_image_input(item)


def read_frames_unless(slices: Collection[int], reader: FrameReader) -> Iterator[FramesItem]:
    """Yield frames as the product does, from a disk that does not answer for slices that begin at some frames."""
    if reader.part.first in slices:
        raise BadInput("unreadable", f"{reader.path.name}: input/output error")
    return _read_frames(reader)
