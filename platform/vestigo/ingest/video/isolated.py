"""Probe videos and decode their frames in child processes, ahead of detection (`vestigo_models.isolation`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vestigo.ingest.inputs import VideoInfo
from vestigo.ingest.video.decode import FrameReader, SampledFrame
from vestigo.ingest.video.probe import probe_video
from vestigo_models.isolation import SECONDS, SLOWEST_READING, call, stream

FRAME_SECONDS = 300.0
"""Longest wait for a sampled frame: where seeking fails, decoding starts at the beginning of the file."""


def probe_in_child(path: Path, name: str) -> VideoInfo:
    """Probe the video that messages call `name`.

    Raises:
        BadInput: As `probe_video` and `vestigo_models.isolation.call`.
        OSError: There is no such file.
    """
    return call(probe_video, path, name=name, seconds=SECONDS + path.stat().st_size / SLOWEST_READING)


def decode_frames(reader: FrameReader) -> Iterator[SampledFrame]:
    """Yield the frames of a reader that runs in a child process; at the end `reader` has the counts and failures.

    Raises:
        BadInput: As `FrameReader` and `vestigo_models.isolation.call`.
    """
    for item in stream(_read_frames, reader, name=reader.path.name, seconds=FRAME_SECONDS):
        if isinstance(item, SampledFrame):
            yield item
        else:
            vars(reader).update(item)


def _read_frames(reader: FrameReader) -> Iterator[SampledFrame | dict[str, Any]]:
    yield from reader
    yield vars(reader)
