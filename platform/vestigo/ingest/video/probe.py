"""Probe a video by reading it through; headers are often wrong."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vestigo.ingest.inputs import Keyframe, VideoInfo
from vestigo.ingest.sources.containers import file_digest
from vestigo.ingest.video.pixels import display_size
from vestigo.ingest.video.timeline import Clock, FrameNumbering, declared_rate, decoding_stamp, file_stamp, is_shown
from vestigo.ingest.video.truncation import missing_bytes
from vestigo_models.errors import BadInput
from vestigo_models.inference.image_files import MAX_PIXELS

PROBED_FRAMES = 48  # frames that are decoded to check times and entry points; no codec reorders over so many
PROBED_PACKETS = 1000
"""Packets that are decoded at most until there are so many frames; recordings can begin long before a keyframe."""
MAX_LEAD_S = 10
"""Other streams of a file begin at most so long before the video; a longer time is an error of the header."""
MIN_RATE = Fraction(1, 86400)
MAX_INTERVALS = 4096  # different lengths of frames that are counted to find the usual one
DEMUXERS = (
    "asf,avi,cavsvideo,dhav,dirac,dv,evc,flv,gxf,h261,h263,h264,hevc,ivf,live_flv,m4v,matroska,mjpeg,mov,mpeg,mpegts,"
    "mpegvideo,mpjpeg,mxf,nut,obu,ogg,rm,smjpeg,vc1,vc1test,vvc,webm,wtv,yuv4mpegpipe"
)
"""FFmpeg's names of the formats that are opened; others are scripts, network streams, text and lists of files."""
COVERS = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails | av.stream.Disposition.still_image


def probe_video(path: Path) -> VideoInfo:
    """Read a video through once, decoding only its first frames.

    Raises:
        BadInput: `empty-file`, `unreadable`, `not-a-video`, `no-video`, `unknown-codec`, `no-frames`, `too-large`,
            `truncated`.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput("empty-file", f"{path.name} holds no byte")
        truncated = missing_bytes(path)
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    try:
        with open_video(path) as container:
            return _read_info(path, container, truncated)
    except BadInput as error:
        if truncated is not None and error.reason in ("not-a-video", "no-frames"):
            raise BadInput("truncated", f"{path.name}: {truncated}, and no frame can be read") from None
        raise


def open_video(path: Path) -> InputContainer:
    """Open a container; raise BadInput `not-a-video`, `truncated` or `unreadable`."""
    try:
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "correct_ts_overflow": "0"}
        return av.open(f"file:{path}", metadata_errors="replace", container_options=options)
    except (av.error.InvalidDataError, av.error.ArgumentError):
        raise BadInput("not-a-video", f"{path.name} is in no known video format") from None
    except av.error.EOFError:
        raise BadInput("truncated", f"{path.name} ends before its first frame") from None
    except (av.error.FFmpegError, OSError) as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None


def video_stream(container: InputContainer) -> VideoStream:
    """Return the video stream that players choose, decoded by one thread: no cover image, the default one, the best.

    Raises:
        BadInput: `no-video` without one, `unknown-codec` if nothing decodes it, `too-large`.
    """
    name = Path(container.name).name
    streams = [stream for stream in container.streams.video if not stream.disposition & COVERS]
    if not streams:
        raise BadInput("no-video", f"{name} holds no video stream")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        codec = _avi_codec(Path(container.name.removeprefix("file:")))
        raise BadInput("unknown-codec", f"{name}: codec {codec} is not known here; convert the video")
    best = container.streams.best("video")
    stream = max(decodable, key=lambda each: (bool(each.disposition & av.stream.Disposition.default), each == best))
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise BadInput("too-large", f"{name}: {context.width}x{context.height} pixels a frame")
    stream.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _avi_codec(path: Path) -> str:
    """Return the four letters of an AVI's codec from its stream header; FFmpeg names only codecs that it knows."""
    with path.open("rb") as handle:
        header = re.search(rb"vids([ -~]{4})", handle.read(1 << 16))
    return header[1].decode("ascii").strip() if header else "of this file"


@dataclass
class _Scan:
    """Facts from the packets of a stream; memory is that of the keyframes."""

    frames: int = 0  # packets with a frame that is shown
    stamps: int = 0  # packets with a presentation stamp
    origin: int | None = None  # smallest stamp of a shown frame
    end: int | None = None  # largest stamp of a shown frame
    broken: str | None = None
    # Keyframes as [number, stamp, position in decoding order, stamp in the file, shift of the clock].
    entries: list[list[int]] = field(default_factory=list)
    _intervals: Counter[int] = field(default_factory=Counter)
    _last: tuple[int, int] | None = None  # number and decoding stamp of the last packet that has one
    _is_leading: bool = False

    def read(self, packets: Iterable[Packet[Any]], clock: Clock) -> None:
        try:
            for packet, stamp in clock.read(packets):
                if is_shown(packet):
                    self._add(packet, stamp, clock.shift)
        except av.error.EOFError:
            pass
        except av.error.FFmpegError as error:
            self.broken = f"reading stops after {self.frames} frames: {error.strerror or error}"

    def _add(self, packet: Packet[Any], stamp: int | None, shift: int) -> None:
        if stamp is not None:
            self.stamps += 1
            self.origin = stamp if self.origin is None else min(self.origin, stamp)
            self.end = stamp if self.end is None else max(self.end, stamp)
        key = file_stamp(packet)
        if packet.is_keyframe and key is not None:
            self._is_leading = True
            self.entries.append([self.frames, key if stamp is None else stamp, self.frames, key, shift])
        elif self._is_leading and (at := packet.pts if stamp is None else stamp) is not None:
            # Frames that are presented before a keyframe and decoded after it are decoded before all others.
            self._is_leading = at < self.entries[-1][1]
            self.entries[-1][0] += self._is_leading
        decoding = decoding_stamp(packet)
        if decoding is not None:
            if self._last is not None and len(self._intervals) < MAX_INTERVALS:
                self._intervals[(decoding - self._last[1]) // (self.frames - self._last[0])] += 1
            self._last = (self.frames, decoding)
        self.frames += 1

    def interval(self) -> int | None:
        """Return the median time between frames in ticks, None if it is unknown."""
        lengths = sorted((length, count) for length, count in self._intervals.items() if length > 0)
        totals = list(accumulate(count for _, count in lengths))
        return lengths[bisect_right(totals, totals[-1] // 2)][0] if lengths else None


def _read_info(path: Path, container: InputContainer, truncated: str | None) -> VideoInfo:
    stream = video_stream(container)
    base = stream.time_base or Fraction(1, 1000)
    scan = _Scan()
    scan.read(container.demux(stream), Clock.of(stream))
    if not scan.frames:
        raise BadInput("no-frames", f"{path.name} holds a video stream without a frame")
    first = _first_frames(path, None)
    if not first.frames:
        raise BadInput("no-frames", f"{path.name}: none of the first {first.count} frames can be decoded")
    # Losses and jumps disturb some frames; stamps that are no presentation times rise in order of decoding.
    ordered = bool(scan.stamps) and _count_falls(first.presented) <= _count_falls(first.stamps)
    can_number = ordered and 2 * scan.stamps > scan.frames
    rate = declared_rate(stream)
    interval = scan.interval()
    if scan.stamps and interval is not None:
        # The declared rate is exact unless it is wrong, as in files of a variable rate.
        usual = 1 / (interval * base)
        rate = rate if abs(usual / rate - 1) < Fraction(1, 50) else usual.limit_denominator(1001) or usual
    rate = max(rate, MIN_RATE)
    origin = _origin(container, stream, scan.origin or 0, base) if scan.stamps else 0
    keyframes = [
        Keyframe(index, key, float((at - origin) * base if scan.stamps else Fraction(position) / rate), shift)
        for index, at, position, key, shift in _entry_points(scan, stream, can_number)
    ]
    if not can_number and len(keyframes) > 1 and not _is_closed(path, keyframes[1].key):
        keyframes = keyframes[:1]
    end = scan.end if scan.end is not None else origin
    context = stream.codec_context
    width, height = display_size(stream)
    return VideoInfo(
        digest=file_digest(path),
        size_bytes=path.stat().st_size,
        container=container.format.name,
        codec=context.name,
        width=width,
        height=height,
        rate=str(rate),
        time_base=str(base),
        origin=origin,
        frames=scan.frames,
        declared_frames=stream.frames,
        duration_s=float((end - origin) * base + 1 / rate if scan.stamps else scan.frames / rate),
        ordered=ordered,
        keyframes=tuple(keyframes),
        truncated=truncated or scan.broken,
    )


def _entry_points(scan: _Scan, stream: VideoStream, can_number: bool) -> list[list[int]]:
    """Return the keyframes at which decoding can begin.

    Seeking goes by the stamps in the file, so they end where these go back. A palette is in the first packet only.
    """
    if stream.codec_context.pix_fmt == "pal8":
        return scan.entries[:1]
    rising = [
        number
        for number, (earlier, later) in enumerate(pairwise(scan.entries), start=1)
        if later[3] <= earlier[3] or later[1] <= earlier[1] or later[4] != earlier[4]
    ]
    entries = scan.entries[: rising[0]] if rising else scan.entries
    return [entry for entry in entries if can_number or entry[0] == entry[2]]


def _origin(container: InputContainer, stream: VideoStream, first: int, base: Fraction) -> int:
    """Return the stamp at which players begin to count: where the first stream of the file begins."""
    if container.start_time is None or stream.start_time is None:
        return first
    lead_s = stream.start_time * base - Fraction(container.start_time, av.time_base)
    # Containers round the beginning to a millisecond at worst.
    return first - round(lead_s / base) if Fraction(1, 500) < lead_s <= MAX_LEAD_S else first


@dataclass(frozen=True)
class _FirstFrames:
    """The first frames as the decoder gives them, from the beginning or an entry point."""

    frames: list[VideoFrame]
    count: int  # frames, also those that cannot be decoded
    stamps: list[int]  # of their packets, in order of decoding

    @property
    def presented(self) -> list[int]:
        """Stamps of the packets of the frames, in order of presentation."""
        stamps = (cast("tuple[int, int | None, bool]", frame.opaque)[1] for frame in self.frames if frame.opaque)
        return [stamp for stamp in stamps if stamp is not None]


def _first_frames(path: Path, seek: int | None) -> _FirstFrames:
    with open_video(path) as container:
        stream = video_stream(container)
        if seek is not None:
            container.seek(seek, stream=stream)
        stamps: list[int] = []

        def packets() -> Iterator[tuple[Packet[Any], int | None]]:
            for packet, stamp in islice(Clock.of(stream).read(container.demux(stream)), PROBED_PACKETS):
                if stamp is not None:
                    stamps.append(stamp)
                yield packet, stamp

        frames: list[VideoFrame] = []
        count = 0
        for number in FrameNumbering(ordered=False, anchors={}).decode(packets(), stream.codec_context):
            count += 1
            if number.frame is not None:
                frames.append(number.frame)
                if len(frames) == PROBED_FRAMES:
                    break
        return _FirstFrames(frames, count, stamps)


def _count_falls(stamps: list[int]) -> int:
    return sum(later < earlier for earlier, later in pairwise(stamps))


def _is_closed(path: Path, key: int) -> bool:
    """Whether decoding can start at a keyframe of a file whose timestamps count frames in decoding order.

    It can if the keyframe is the first decoded frame and none of the next is missing. In an open group of pictures the
    frames that are presented before the keyframe are missing, and all later indices would be wrong.
    """
    timestamps = [at for frame in _first_frames(path, key).frames if (at := file_stamp(frame)) is not None]
    first_half = sorted(timestamps)[: len(timestamps) // 2]
    step = max(1, first_half[1] - first_half[0]) if len(first_half) > 1 else 1
    return timestamps[:1] == [key] and first_half == list(range(key, key + step * len(first_half), step))
