"""Frames that a child process decodes: they go on behind one that ends the decoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.archives import walkers_video
from vestigo.ingest import decoding
from vestigo.ingest.decoding import decode_frames
from vestigo.ingest.video.decode import FrameReader, VideoSlice
from vestigo.ingest.video.probe import probe_video


@pytest.mark.parametrize(
    ("part", "crashing", "frames", "lost"),
    [
        (VideoSlice(0, 50, 0.0), set(), list(range(50)), []),
        (VideoSlice(0, 50, 0.0), {17}, [*range(17), *range(20, 50)], [17]),
        (VideoSlice(0, 50, 0.0), {0}, list(range(10, 50)), [0]),
        (VideoSlice(20, 50, 1.0), {15}, [*range(10, 15), *range(20, 50)], []),
        (VideoSlice(20, 40, 1.0), {20}, [*range(10, 20), *range(30, 40)], [20]),
        (VideoSlice(0, 80, 0.0), set(range(1, 80)), [0], [1, 10, 20, 30, 40]),
        (VideoSlice(20, 40, 1.0), {39}, list(range(10, 39)), [39]),
    ],
)
def test_decoding_continues_at_keyframe_behind_crash(
    part: VideoSlice,
    crashing: set[int],
    frames: list[int],
    lost: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keyframes are frames 0, 10, 20 and so on."""
    path = walkers_video(tmp_path / "gate.mp4", seconds=part.last // 10)
    monkeypatch.setattr(decoding, "_read_frames", partial(hostile.read_frames_and_crash, crashing))
    reader = FrameReader(path, probe_video(path), part, fps=10.0)
    indices = [frame.index for frame in decode_frames(reader)]
    assert (indices, [failure.frame for failure in reader.failures]) == (frames, lost)
