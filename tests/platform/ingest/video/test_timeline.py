"""Numbers and times of frames, compared with ffprobe and with the truth drawn into the frames."""

import csv
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.footage import Shift, add_sound, number_of, numbered, remux, write_video
from vestigo.ingest.video.decode import FrameReader, VideoSlice, split_video
from vestigo.ingest.video.probe import probe_video

pytestmark = [pytest.mark.slow, pytest.mark.ffprobe]

FRAMES = 40


@dataclass(frozen=True)
class Footage:
    """How a file is made, and what is true of it.

    Attributes:
        name: Name of the file.
        encoding: Arguments of `write_video`.
        shift: Seconds to add to the stamps of packets, or None.
        damage: Rewrites bytes, or None.
        truth: Time in seconds of the frame with a number; None if ffprobe's times are right.
    """

    name: str
    encoding: dict[str, Any]
    shift: Shift | None = None
    damage: Callable[[bytes], bytes] | None = None
    truth: Callable[[int], float] | None = None


def without_packets(first: int, last: int) -> Callable[[bytes], bytes]:
    """Cut packets out of a transport stream."""
    return lambda data: data[: 188 * first] + data[188 * last :]


def with_noise(share: float, size: int) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        at = int(len(data) * share)
        return data[:at] + np.random.default_rng(0).bytes(size) + data[at + size :]

    return damage


def with_few_stamps(data: bytes) -> bytes:
    """Remove the stamps of three of four frames of a transport stream, which only begin with every fourth or so."""
    changed = bytearray(data)
    starts = [match.start() for match in re.finditer(rb"\x00\x00\x01\xe0", data)]
    for number, start in enumerate(starts):
        if number % 4:
            changed[start + 7] &= 0x3F
    return bytes(changed)


H264 = {"b_frames": 2}
FLAT = {"b_frames": 0}


def an_hour_later(position: int) -> float:
    return 3600.0 if position >= 20 else 0.0


WRAP_S = 2**33 / 90000
FOOTAGE = {
    "mp4 h264": Footage("a.mp4", H264),
    "mp4 h264 open": Footage("a.mp4", {"open_gop": True, "keyframe_every": 12}),
    "mp4 h264 without b": Footage("a.mp4", FLAT),
    "mp4 hevc": Footage("a.mp4", {"codec": "libx265"}),
    "mp4 mpeg4": Footage("a.mp4", {"codec": "mpeg4"}),
    "mov h264": Footage("a.mov", H264),
    "3gp h264": Footage("a.3gp", FLAT),
    "mkv h264": Footage("a.mkv", H264),
    "mkv hevc": Footage("a.mkv", {"codec": "libx265"}),
    "mkv mpeg2": Footage("a.mkv", {"codec": "mpeg2video", "rate": 25}),
    "webm vp8": Footage("a.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "12"}}),
    "webm vp9": Footage("a.webm", {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "12"}}),
    "ts h264": Footage("a.ts", H264),
    "ts hevc": Footage("a.ts", {"codec": "libx265"}),
    "ts mpeg2": Footage("a.ts", {"codec": "mpeg2video", "rate": 25}),
    "m2ts h264": Footage("a.m2ts", H264),
    "mpg mpeg2": Footage("a.mpg", {"codec": "mpeg2video", "rate": 25}),
    "vob mpeg2": Footage("a.vob", {"codec": "mpeg2video", "rate": 25}),
    "flv h264": Footage("a.flv", FLAT),
    "nut mpeg4": Footage("a.nut", {"codec": "mpeg4"}, truth=lambda number: number / 10),
    "avi mjpeg": Footage("a.avi", {"codec": "mjpeg"}),
    "avi mpeg4": Footage("a.avi", {"codec": "mpeg4"}, truth=lambda number: number / 10),
    "avi h264": Footage("a.avi", H264, truth=lambda number: number / 10),
    "raw h264": Footage("a.h264", H264, truth=lambda number: number / 10),
    "raw hevc": Footage("a.hevc", {"codec": "libx265"}, truth=lambda number: number / 10),
    "raw mjpeg": Footage("a.mjpeg", {"codec": "mjpeg", "rate": 25}, truth=lambda number: number / 25),
    "raw h264 named mp4": Footage("a.h264", H264, truth=lambda number: number / 10),
    "variable rate": Footage("a.mp4", {"times": lambda number: 100 * number + (37 if number % 3 else 0)}),
    "time lapse": Footage("a.mp4", FLAT | {"times": lambda number: 60_000 * number}),
    "mkv gap": Footage("a.mkv", H264, an_hour_later),
    "mp4 gap": Footage("a.mp4", FLAT, an_hour_later),
    "ts gap": Footage("a.ts", H264, an_hour_later),
    "ts long gap": Footage("a.ts", FLAT, lambda position: 7200.0 if position >= 20 else 0.0),
    "ts starts late": Footage("a.ts", H264, lambda _: 50_000.0),
    "ts wraps": Footage("a.ts", H264, lambda _: WRAP_S - 2.0, truth=lambda number: number / 10),
    "ts starts again": Footage(
        "a.ts", H264, lambda position: 100.0 if position < 20 else 0.0, truth=lambda number: number / 10
    ),
    "ts wild stamp": Footage(
        "a.ts", FLAT, lambda position: 20_000.0 if position == 17 else 0.0, truth=lambda number: number / 10
    ),
    "mkv equal stamps": Footage("a.mkv", FLAT, lambda position: -0.1 if position == 13 else 0.0),
    "edit list": Footage("a.mp4", H264, lambda _: -0.6),
    "sound begins first": Footage("sound.mkv", H264),
    "ts loss": Footage("a.ts", H264, damage=without_packets(12, 15)),
    "ts loss before a pause": Footage(
        "a.ts", H264, lambda position: 120.0 if position >= 20 else 0.0, without_packets(12, 15)
    ),
    "ts gap between reordered frames": Footage("a.ts", H264, lambda position: 3600.0 if position >= 13 else 0.0),
    "ts hevc gap between reordered frames": Footage(
        "a.ts", {"codec": "libx265"}, lambda position: 3600.0 if position >= 13 else 0.0
    ),
    "ts mpeg2 loss before a pause": Footage(
        "a.ts",
        {"codec": "mpeg2video", "rate": 25},
        lambda position: 120.0 if position >= 20 else 0.0,
        without_packets(14, 18),
    ),
    "ts steps back": Footage(
        "a.ts", H264, lambda position: 0.0 if position < 20 else -0.5, truth=lambda number: number / 10
    ),
    "ts hevc loss": Footage("a.ts", {"codec": "libx265", "keyframe_every": 20}, damage=without_packets(22, 24)),
    "ts with few stamps": Footage(
        "a.ts",
        FLAT,
        lambda position: 60.0 if position >= 20 else 0.0,
        with_few_stamps,
        truth=lambda number: number / 10 + (60 if number >= 20 else 0),
    ),
    "raw mpeg4": Footage("a.m4v", {"codec": "mpeg4"}, truth=lambda number: number / 10),
    "ts begins between keyframes": Footage("a.ts", H264 | {"keyframe_every": 30}, damage=without_packets(0, 8)),
    "ts cut off": Footage("a.ts", H264, damage=lambda data: data[: 188 * 60]),
    "mp4 damaged": Footage("a.mp4", FLAT, damage=with_noise(0.3, 40)),
    "mkv damaged": Footage("a.mkv", FLAT, damage=with_noise(0.5, 40)),
}


def make(footage: Footage, folder: Path, name: str) -> Path:
    if footage.shift is not None:
        source = write_video(folder / "source.mp4", numbered, FRAMES, **footage.encoding)
        path = remux(source, folder / footage.name, footage.shift)
    elif name == "sound begins first":
        source = write_video(folder / "source.mp4", numbered, FRAMES, **footage.encoding)
        path = add_sound(source, folder / footage.name, video_delay_s=0.5)
    else:
        path = write_video(folder / footage.name, numbered, FRAMES, **footage.encoding)
    if footage.damage is not None:
        path.write_bytes(footage.damage(path.read_bytes()))
    return path.rename(path.with_suffix(".mp4")) if name.endswith("named mp4") else path


def ffprobe_times(path: Path) -> list[float | None]:
    """Return the times of the frames of a video as ffprobe has them, from the beginning of the file."""
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-of", "csv=p=0"]
    entries = subprocess.run(
        [*command, "-show_entries", "format=start_time", str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    frames = subprocess.run(
        [*command, "-show_entries", "frame=best_effort_timestamp_time", str(path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    begin = float(entries.rstrip(",")) if entries not in ("N/A", "") else 0.0
    cells = [row[0] for row in csv.reader(frames.splitlines()) if row]
    return [None if cell == "N/A" else float(cell) - begin for cell in cells]


@pytest.mark.parametrize("name", FOOTAGE)
def test_numbers_and_times_are_those_of_players(name: str, tmp_path: Path) -> None:
    footage = FOOTAGE[name]
    path = make(footage, tmp_path, name)
    info = probe_video(path)
    frames = list(FrameReader(path, info, VideoSlice(0, info.frames, 0.0), 100_000.0))
    times = [frame.offset_s for frame in frames]
    numbers = [number_of(frame.image) for frame in frames]
    if footage.truth is not None:
        assert numbers == [frame.index for frame in frames] == list(range(FRAMES))
        np.testing.assert_allclose(times, [footage.truth(number) for number in numbers], atol=0.002)
        return
    expected = ffprobe_times(path)
    if name == "mkv equal stamps":
        # One frame is sampled at a time.
        expected = sorted(set(expected))
    assert len(frames) == len(expected)
    if name == "ts begins between keyframes":
        # ffprobe counts from the first packet, which is presented after some that follow it.
        expected = [time - expected[0] + times[0] for time in expected]
    known = [row for row, time in enumerate(expected) if time is not None]
    assert len(known) > 3
    np.testing.assert_allclose([times[row] for row in known], [expected[row] for row in known], atol=0.002)
    if footage.damage is None and name != "edit list":
        assert numbers == [frame.index for frame in frames]
        assert numbers[-1] == FRAMES - 1


SLICED = ("mp4 h264 open", "mkv hevc", "ts mpeg2", "avi h264", "mkv gap", "ts wraps", "ts starts again", "edit list")
SLICED += ("ts wild stamp", "ts loss before a pause", "mp4 damaged")
SLICED += ("ts gap between reordered frames", "ts steps back", "ts with few stamps", "ts hevc loss", "raw mpeg4")


@pytest.mark.parametrize("name", SLICED)
def test_slices_have_the_frames_of_the_whole(name: str, tmp_path: Path) -> None:
    path = make(FOOTAGE[name], tmp_path, name)
    info = probe_video(path)
    whole = {
        frame.index: (frame.cell, frame.offset_s, frame.image)
        for frame in FrameReader(path, info, VideoSlice(0, info.frames, 0.0), 5.0)
    }
    owned = {}
    for part in split_video(info, 1.0, 0.5):
        for frame in FrameReader(path, info, part, 5.0):
            cell, offset_s, image = whole[frame.index]
            assert (frame.cell, frame.offset_s) == (cell, offset_s)
            if FOOTAGE[name].damage is None:
                np.testing.assert_array_equal(frame.image, image)
            if frame.index >= part.first:
                owned[frame.index] = frame
    assert owned.keys() == whole.keys()


def test_reordered_frames_in_avi_keep_their_pause(tmp_path: Path) -> None:
    """AVI has no presentation times, only the order of chunks, of which those between two frames are empty."""
    pause = {"times": lambda number: 100 * number + (5000 if number >= 20 else 0)}
    path = write_video(tmp_path / "a.avi", numbered, FRAMES, **H264, **pause)
    info = probe_video(path)
    assert info.rate == "10"
    frames = list(FrameReader(path, info, VideoSlice(0, info.frames, 0.0), 100.0))
    numbers = [frame.index for frame in frames]
    assert numbers == [number_of(frame.image) for frame in frames]
    assert numbers[-1] >= FRAMES - 2
    expected = [number / 10 + (5 if number > 20 else 0) for number in numbers]
    np.testing.assert_allclose([frame.offset_s for frame in frames], expected, atol=0.002)


def test_gap_keeps_the_rate(tmp_path: Path) -> None:
    info = probe_video(make(FOOTAGE["mkv gap"], tmp_path, "mkv gap"))
    assert info.rate == "10"
    assert info.duration_s == pytest.approx(3604.0, abs=0.01)
