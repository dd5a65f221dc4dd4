"""Pixels compared with what is drawn, and display matrices with a loop over pixels."""

from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest

from tests.support.footage import numbered, write_video
from vestigo.ingest.video.decode import FrameReader, read_frame, split_video
from vestigo.ingest.video.pixels import to_rgb
from vestigo.ingest.video.probe import probe_video, video_stream

ONE = 1 << 16
IDENTITY = b"".join(value.to_bytes(4, "big", signed=True) for value in (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30))


def quarters(_: int) -> np.ndarray:
    """Four quarters of different grey, 96 x 64."""
    image = np.empty((64, 96, 3), dtype=np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48], image[32:, 48:] = 40, 90, 150, 210
    return image


def write_frames(path: Path, frames: list[av.VideoFrame], codec: str, **settings: object) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first_frame(path: Path) -> np.ndarray:
    return read_frame(path, probe_video(path), 0)


SIGNS = list(product((1, -1), (1, -1)))
MATRICES = [(a, 0, 0, d) for a, d in SIGNS] + [(0, b, c, 0) for b, c in SIGNS]


@pytest.mark.parametrize("matrix", MATRICES)
def test_display_matrix_turns_and_mirrors(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", quarters, 3, b_frames=0)
    a, b, c, d = matrix
    values = (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(IDENTITY, data.index(b"tkhd"))
    turned = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    plain = quarters(0)
    shown = {}
    for y, x in product(range(64), range(96)):
        shown[a * x + c * y, b * x + d * y] = plain[y, x]
    left, top = min(x for x, _ in shown), min(y for _, y in shown)
    width, height = max(x for x, _ in shown) - left + 1, max(y for _, y in shown) - top + 1
    image = first_frame(path)
    assert image.shape == (height, width, 3)
    for x, y in ((3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4)):
        assert abs(int(image[y, x, 0]) - int(shown[x + left, y + top][0])) < 12


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(1, 2), (128, 96)), (Fraction(2), (64, 192)), (Fraction(16, 15), (64, 102)),
                         (Fraction(1, 100), (64, 96))],
)  # fmt: skip
def test_pixels_become_square(aspect: Fraction, size: tuple[int, int], tmp_path: Path) -> None:
    frames = [av.VideoFrame.from_ndarray(quarters(0), format="rgb24").reformat(format="yuv420p") for _ in range(3)]
    path = write_frames(tmp_path / "a.mkv", frames, "libx264", sample_aspect_ratio=aspect)
    assert first_frame(path).shape == (*size, 3)
    info = probe_video(path)
    assert (info.height, info.width) == size


def test_full_and_limited_range_give_the_same_grey(tmp_path: Path) -> None:
    full = write_video(tmp_path / "full.avi", quarters, 3, codec="mjpeg")
    limited = write_video(tmp_path / "limited.mp4", quarters, 3)
    for path in (full, limited):
        np.testing.assert_allclose(first_frame(path)[8::40, 8::60, 0], [[40, 90], [150, 210]], atol=6)


def test_interlaced_frame_has_no_comb(tmp_path: Path) -> None:
    image = np.full((64, 96, 3), 30, dtype=np.uint8)
    image[::2, 20:40] = 220
    image[1::2, 44:64] = 220
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"x264-params": "tff=1", "crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = first_frame(tmp_path / "a.mkv").astype(int)
    steps = np.abs(np.diff(shown[8:56, 26:34, 0], axis=0))
    assert steps.max() < 40


def test_grey_of_twelve_bits_in_sixteen_is_not_dark(tmp_path: Path) -> None:
    grey = np.linspace(0, 4095, 64 * 96).reshape(64, 96).astype(np.uint16)
    frames = [av.VideoFrame.from_ndarray(grey, format="gray16le") for _ in range(2)]
    image = first_frame(write_frames(tmp_path / "a.mkv", frames, "ffv1"))
    np.testing.assert_allclose(image[..., 0], grey / 16, atol=1.5)


def test_cover_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        still, moving = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=10)
        still.width, still.height, still.pix_fmt = 32, 32, "yuvj420p"
        moving.width, moving.height, moving.pix_fmt = 96, 64, "yuv420p"
        cover = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
        container.mux(still.encode(cover))
        container.mux(still.encode(None))
        for _ in range(20):
            container.mux(moving.encode(av.VideoFrame.from_ndarray(quarters(0), format="rgb24")))
        container.mux(moving.encode(None))
    info = probe_video(path)
    assert (info.width, info.height, info.frames) == (96, 64, 20)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (av.stream.Disposition.default | av.stream.Disposition.attached_pic, 0),
        (av.stream.Disposition.default | av.stream.Disposition.timed_thumbnails, 0),
        (av.stream.Disposition.default | av.stream.Disposition.still_image, 0),
        (0, av.stream.Disposition.default),
    ],
    ids=["cover", "thumbnails", "still image", "default flag"],
)
def test_stream_is_the_one_that_players_choose(first: int, second: int) -> None:
    """Of two streams the second is chosen, although FFmpeg's own choice is the first."""
    streams = [
        SimpleNamespace(
            disposition=av.stream.Disposition(flags), codec_context=SimpleNamespace(width=96, height=64, options={})
        )
        for flags in (first, second)
    ]
    container = SimpleNamespace(name="a.mkv", streams=SimpleNamespace(video=streams, best=lambda _kind: streams[0]))
    assert video_stream(cast(av.container.InputContainer, container)) is streams[1]


def test_palette_is_known_in_every_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    palette = np.zeros((256, 4), dtype=np.uint8)
    palette[:, 0], palette[1, 1:] = 255, (200, 120, 40)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 48, "pal8"
        for number in range(40):
            indices = (numbered(number)[..., 0] > 127).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    info = probe_video(path)
    for part in split_video(info, 1.0, 0.5):
        for frame in FrameReader(path, info, part, 10.0):
            np.testing.assert_array_equal(frame.image[20, 120], [0, 0, 0])
            assert tuple(frame.image[20, 8]) in {(0, 0, 0), (200, 120, 40)}
            assert (frame.image[20, 8].any()) == frame.index % 2


def test_untagged_hd_frame_has_colours_of_bt709() -> None:
    red = np.full((720, 64, 3), (200, 30, 30), np.uint8)
    frame = av.VideoFrame.from_ndarray(red, format="rgb24").reformat(format="yuv444p", dst_colorspace="ITU709")
    frame.colorspace = 2  # not specified
    assert np.abs(to_rgb(frame, (64, 720)).astype(int) - red).max() <= 4
