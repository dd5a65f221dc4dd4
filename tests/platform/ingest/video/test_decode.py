import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.footage import Draw, number_of, numbered, write_sound, write_video
from vestigo.ingest.inputs import VideoInfo, VideoInput, input_from_json, input_to_json
from vestigo.ingest.video import probe
from vestigo.ingest.video.decode import FrameReader, SampledFrame, VideoSlice, read_frame, split_video
from vestigo.ingest.video.probe import probe_video
from vestigo_models.errors import BadInput

pytestmark = pytest.mark.slow


def read(path: Path, info: VideoInfo, part: VideoSlice, fps: float) -> tuple[list[SampledFrame], FrameReader]:
    reader = FrameReader(path, info, part, fps)
    return list(reader), reader


def whole(info: VideoInfo) -> VideoSlice:
    return VideoSlice(0, info.frames, 0.0)


VIDEOS = {
    "mp4": {"name": "a.mp4"},
    "mp4-open-gop": {"name": "a.mp4", "open_gop": True, "keyframe_every": 12},
    "mp4-without-b-frames": {"name": "a.mp4", "b_frames": 0},
    "mp4-one-keyframe": {"name": "a.mp4", "keyframe_every": 500},
    "mkv": {"name": "a.mkv"},
    "avi": {"name": "a.avi"},
    "avi-open-gop": {"name": "a.avi", "open_gop": True, "keyframe_every": 12},
    "avi-mpeg4": {"name": "a.avi", "codec": "mpeg4"},
    "ts": {"name": "a.ts"},
    "mpg": {"name": "a.mpg", "codec": "mpeg2video", "rate": 25},
    "variable-rate": {"name": "a.mp4", "times": lambda n: 100 * n + (37 if n % 3 else 0)},
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_frames_are_independent_of_slicing(kind: str, tmp_path: Path) -> None:
    """Pixels encode the number of the frame, so a wrong index or seek is detected."""
    settings = dict(VIDEOS[kind])
    path = write_video(tmp_path / settings.pop("name"), numbered, 75, **settings)
    info = probe_video(path)
    assert info.frames == 75
    assert info.truncated is None
    frames, reader = read(path, info, whole(info), 1000.0)
    assert [frame.index for frame in frames] == [number_of(frame.image) for frame in frames] == list(range(75))
    assert reader.decoded == 75
    assert not reader.failures
    assert np.diff([frame.offset_s for frame in frames]).min() > 0

    reference = {frame.index: frame for frame in read(path, info, whole(info), 5.0)[0]}
    for seconds in (0.5, 1.0, 2.5):
        owned: list[int] = []
        for part in split_video(info, seconds, 1.3):
            frames, reader = read(path, info, part, 5.0)
            assert reader.decoded == part.last - part.first
            owned += [frame.index for frame in frames if frame.index >= part.first]
            if part.first:
                start = next(keyframe.offset_s for keyframe in info.keyframes if keyframe.index == part.first)
                assert frames[0].offset_s <= start - 1.0 or frames[0].index == 0
            for frame in frames:
                same = reference[frame.index]
                assert (frame.cell, frame.offset_s) == (same.cell, same.offset_s)
                np.testing.assert_array_equal(frame.image, same.image)
        assert owned == list(reference)


def test_slices_partition_frames_and_start_at_keyframes(tmp_path: Path) -> None:
    info = probe_video(write_video(tmp_path / "a.mp4", numbered, 75))
    parts = split_video(info, 2.0, 1.0)
    assert [(part.first, part.last) for part in parts] == [(0, 20), (20, 40), (40, 60), (60, 75)]
    assert {part.first for part in parts} <= {keyframe.index for keyframe in info.keyframes}


def test_one_frame_is_sampled_per_cell(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered, 60, rate=30)
    info = probe_video(path)
    frames, _ = read(path, info, whole(info), 5.0)
    assert [frame.index for frame in frames] == list(range(0, 60, 6))
    assert [frame.cell for frame in frames] == list(range(10))


def test_variable_frame_rate_keeps_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered, 30, times=lambda n: 100 * n + (50 if n % 2 else 0))
    info = probe_video(path)
    frames, _ = read(path, info, whole(info), 100.0)
    assert info.ordered
    expected = [n / 10 + (0.05 if n % 2 else 0) for n in range(30)]
    np.testing.assert_allclose([frame.offset_s for frame in frames], expected, atol=0.002)


def test_single_frame_is_read_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered, 75)
    info = probe_video(path)
    assert [number_of(read_frame(path, info, index)) for index in (0, 9, 10, 74)] == [0, 9, 10, 74]
    with pytest.raises(BadInput, match="no readable frame 75"):
        read_frame(path, info, 75)


def test_video_info_round_trips_through_json(tmp_path: Path) -> None:
    info = probe_video(write_video(tmp_path / "a.mp4", numbered, 30))
    video = VideoInput("a.mp4", info.digest, "a.mp4", "c1", None, info)
    assert input_from_json(json.loads(json.dumps(input_to_json(video)))) == video


def noisy(number: int) -> np.ndarray:
    """The bars of `numbered` over noise, so that a frame has enough bytes to be damaged."""
    noise = np.random.default_rng(number).integers(0, 60, (48, 128, 3), dtype=np.uint8)
    return np.where(numbered(number) > 127, 255 - noise, noise)


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_truncated_video_is_reported_and_partly_read(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, noisy, 60)
    data = path.read_bytes()
    if name == "a.mp4":
        data = _faststart(path)
    path.write_bytes(data[: len(data) // 2])
    info = probe_video(path)
    assert info.truncated is not None
    assert "bytes that the container declares" in info.truncated
    frames, reader = read(path, info, whole(info), 1000.0)
    assert 10 < len(frames) < 50
    assert reader.decoded == len(frames)


def _faststart(path: Path) -> bytes:
    """The same file with its index at the front, as a camera that streams would write it."""
    import av

    moved = path.with_name("moved.mp4")
    with av.open(str(path)) as source, av.open(str(moved), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return moved.read_bytes()


def test_damaged_frames_are_counted_and_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", noisy, 60, b_frames=0)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = np.random.default_rng(1).bytes(60)
    path.write_bytes(data)
    info = probe_video(path)
    frames, reader = read(path, info, whole(info), 1000.0)
    assert {failure.reason for failure in reader.failures} <= {"undecodable-frame", "damaged-frame"}
    damaged = {failure.frame for failure in reader.failures}
    assert damaged
    intact = [frame for frame in frames if frame.index < min(damaged) or frame.index >= 50]
    assert [frame.index for frame in intact] == [number_of(frame.image) for frame in intact]
    np.testing.assert_allclose([frame.offset_s for frame in frames], [frame.index / 10 for frame in frames], atol=0.002)
    assert frames[-1].index == 59


BAD = {
    "empty-file": b"",
    "not-a-video": b"this is a text that calls itself a video" * 40,
    "truncated": None,
    "no-video": None,
}


@pytest.mark.parametrize("reason", BAD)
def test_invalid_videos_are_reported(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if reason == "no-video":
        write_sound(path)
    elif reason == "truncated":
        # Without its end an MP4 has no index, and nothing can be read.
        data = write_video(path, numbered, 20).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(BAD[reason] or b"")
    with pytest.raises(BadInput) as caught:
        probe_video(path)
    assert caught.value.reason == reason
    assert "a.mp4" in caught.value.detail


def test_unknown_codec_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "recorder.avi", numbered, 20, codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"QQZ1"))
    with pytest.raises(BadInput, match="codec QQZ1 is not known here") as caught:
        probe_video(path)
    assert caught.value.reason == "unknown-codec"


def test_video_without_frames_is_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", numbered, 0)
    with pytest.raises(BadInput) as caught:
        probe_video(path)
    assert caught.value.reason == "no-frames"


def test_file_changed_after_planning_is_rejected(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered, 20)
    info = probe_video(path)
    write_video(path, numbered, 30)
    with pytest.raises(BadInput, match="not the file that was planned"):
        list(FrameReader(path, info, whole(info), 5.0))


def test_damaged_file_prints_nothing(tmp_path: Path) -> None:
    """Commands promise one JSON object there and nothing else."""
    path = write_video(tmp_path / "a.avi", numbered, 30)
    path.write_bytes(path.read_bytes()[:3000])
    program = "import sys; from pathlib import Path; from vestigo.ingest.video.probe import probe_video"
    program += "; probe_video(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=False)
    assert done.stdout == b""


@pytest.mark.real_data
def test_real_footage_is_cut_at_its_keyframes(real_data: Path) -> None:
    path = real_data / "pedestrians.avi"
    info = probe_video(path)
    assert (info.frames, info.width, info.height, info.rate) == (795, 480, 360, "10")
    assert [keyframe.index for keyframe in info.keyframes] == [0, 250, 500, 750]
    assert not info.ordered
    assert info.truncated is None
    part = VideoSlice(750, 795, 2.4)
    frames, reader = read(path, info, part, 5.0)
    assert reader.decoded == 45
    assert frames[0].index == 726
    assert [frame.index for frame in frames] == list(range(726, 795, 2))


@pytest.mark.real_data
def test_truncated_real_footage_is_reported(real_data: Path, tmp_path: Path) -> None:
    data = (real_data / "pedestrians.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[:70_000])
    info = probe_video(path)
    assert info.truncated is not None
    assert 0 < info.frames < 20
    assert info.declared_frames == 795


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile 'other.mp4'\n", "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"],
    ids=["list", "playlist"],
)
def test_lists_that_name_other_files_are_no_videos(tmp_path: Path, text: str) -> None:
    for name in ("other.mp4", "other.ts"):
        write_video(tmp_path / name, numbered, 12)
    path = tmp_path / "list.mp4"
    path.write_text(text)
    with pytest.raises(BadInput, match="not-a-video"):
        probe_video(path)


def plain(height: int, width: int) -> Draw:
    return lambda number: np.full((height, width, 3), 20 * number, np.uint8)


def test_size_of_every_frame_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream can change its size at any keyframe."""
    large = write_video(tmp_path / "large.h264", plain(240, 320), 10)
    path = write_video(tmp_path / "a.h264", plain(48, 64), 10)
    path.write_bytes(path.read_bytes() + large.read_bytes())
    monkeypatch.setattr(probe, "MAX_PIXELS", 10_000)
    info = probe_video(path)
    frames, reader = read(path, info, whole(info), 100.0)
    assert (info.frames, len(frames), len(reader.failures)) == (20, 10, 10)
    with pytest.raises(BadInput, match=r"large\.h264: 320x240 pixels a frame"):
        probe_video(large)


def test_video_that_ends_in_its_header_is_truncated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", numbered, 12)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BadInput) as caught:
        probe_video(path)
    assert caught.value.reason == "truncated"
