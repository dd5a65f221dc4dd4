"""Small videos for tests, drawn and encoded on the spot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.packet import Packet

from vestigo_models.detection.base import Detections
from vestigo_models.inference.distance import Descriptors

Draw = Callable[[int], np.ndarray]


def write_video(
    path: Path,
    draw: Draw,
    frames: int,
    *,
    rate: int = 10,
    codec: str = "libx264",
    keyframe_every: int = 10,
    b_frames: int = 2,
    open_gop: bool = False,
    times: Callable[[int], int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `frames` pictures; `times` gives presentation times in milliseconds for a variable frame rate."""
    height, width = draw(0).shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.max_b_frames = 0 if codec == "mjpeg" else b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            cuts = f"keyint={keyframe_every}:min-keyint={keyframe_every}:scenecut=0:open-gop={int(open_gop)}"
            stream.options = {"preset": "ultrafast", "bf": str(b_frames), "x264-params": cuts}
        elif codec == "libx265":
            cuts = f"keyint={keyframe_every}:min-keyint={keyframe_every}:scenecut=0:log-level=none"
            stream.options = {"preset": "ultrafast", "x265-params": cuts}
        if options:
            stream.options = stream.options | options
        container.start_encoding()
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts = number if times is None else times(number)
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


Shift = Callable[[int], float]
"""Seconds to add to the stamps of a packet, by its position in decoding order."""


def remux(path: Path, target: Path, shift: Shift) -> Path:
    """Copy a video's packets with other stamps, without encoding.

    Where stamps go back, a transport stream is written in pieces, because no muxer writes such stamps.
    """
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        pieces: list[list[Packet]] = [[]]
        for position, packet in enumerate(packets):
            ticks = round(shift(position) / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            if pieces[-1] and packet.dts < pieces[-1][-1].dts:
                pieces.append([])
            pieces[-1].append(packet)
        data = b""
        for piece in pieces:
            with av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as copy:
                copied = copy.add_stream_from_template(stream)
                for packet in piece:
                    packet.stream = copied
                    copy.mux(packet)
            data += target.read_bytes()
        target.write_bytes(data)
    return target


def write_sound(path: Path) -> None:
    """Write a file with sound and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def add_sound(path: Path, target: Path, video_delay_s: float) -> Path:
    """Copy a video into a file with sound that begins before it."""
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        stream = source.streams.video[0]
        video, sound = copy.add_stream_from_template(stream), copy.add_stream("pcm_s16le", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.int16), format="s16", layout="mono")
        frame.rate, frame.pts = 16000, 0
        packets = [*sound.encode(frame), *sound.encode(None)]
        for packet in source.demux(stream):
            if packet.size:
                ticks = round(video_delay_s / packet.time_base)
                packet.pts = packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
                packet.stream = video
                packets.append(packet)
        for packet in sorted(packets, key=lambda each: (each.dts if each.dts is not None else 0) * each.time_base):
            copy.mux(packet)
    return target


def numbered(number: int) -> np.ndarray:
    """A picture from which its number can be read off again, even after compression: eight black or white bars."""
    image = np.zeros((48, 128, 3), dtype=np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, 16 * bit : 16 * bit + 16] = 255
    return image


def number_of(image: np.ndarray) -> int:
    """Read off what `numbered` drew."""
    return sum(1 << bit for bit in range(8) if image[8:40, 16 * bit + 4 : 16 * bit + 12].mean() > 127)


@dataclass(frozen=True)
class Walker:
    """A block of one colour that walks through the picture during some frames."""

    colour: tuple[int, int, int]
    first: int
    last: int
    x: float
    speed: float
    y: int = 30


WALKERS = (
    Walker((200, 40, 40), 0, 80, 5, 3.0),
    Walker((40, 200, 40), 10, 70, 280, -4.0, 40),
    Walker((40, 40, 220), 30, 119, 20, 2.2, 34),
    Walker((220, 220, 30), 85, 110, 250, 1.5, 50),
)


def street(number: int) -> np.ndarray:
    """Walkers before a grey wall."""
    image = np.full((128, 320, 3), 110, dtype=np.uint8)
    image[:, ::16] = 130
    for walker in WALKERS:
        if walker.first <= number <= walker.last:
            x = int(walker.x + walker.speed * (number - walker.first))
            image[walker.y : walker.y + 60, max(0, x) : max(0, x + 24)] = walker.colour
            image[walker.y + 20 : walker.y + 24, max(0, x) : max(0, x + 24)] = 10
    return image


class ColourDetector:
    """Finds `street`'s walkers by their colour, as jittery and forgetful as a real detector, but from pixels alone."""

    name = "colour"
    digest = "0" * 64

    def detect(self, image: np.ndarray) -> Detections:
        boxes, scores = [], []
        for walker in WALKERS:
            # Twice through YUV, a colour comes back changed, though never into another walker's.
            low, high = np.subtract(walker.colour, 75).clip(0), np.add(walker.colour, 75).clip(0, 255)
            near = cv2.inRange(image, low.astype(float), high.astype(float)) > 0
            rows, columns = np.flatnonzero(near.sum(axis=1) > 4), np.flatnonzero(near.sum(axis=0) > 10)
            if not len(rows) or not len(columns):
                continue
            noise = int(near.sum() + 3 * columns[0] + 5 * rows[0]) % 7
            if noise == 0:
                continue
            x, y = columns[0] + noise / 3, rows[0] - noise / 4
            boxes.append([x, y, columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1])
            scores.append(0.7 + noise / 30)
        return Detections.ordered(np.array(boxes).reshape(-1, 4), np.array(scores))


def embed_colours(crops: Sequence[np.ndarray]) -> Descriptors:
    """Return the coarse colours of crops as descriptors, which take no network."""
    counts = [cv2.calcHist([crop], [0, 1, 2], None, [4] * 3, [0, 256] * 3).ravel() for crop in crops]
    vectors = np.array(counts, dtype=np.float32).reshape(-1, 64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Descriptors(vectors=vectors / lengths, visible=np.empty((len(crops), 0), dtype=np.bool_), always=1)
