"""Pixels of decoded frames as players show them."""

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

MAX_PIXEL_ASPECT = Fraction(4)  # a larger ratio of a pixel's sides is an error of the header
HD_HEIGHT = 720  # frames of this height and more have the colours of BT.709 where the file names none
UNSPECIFIED = 2
COMB_STEP = 10  # a line of a comb differs from both its neighbours by more than this, of 255
MIN_LINES = 3


def display_size(stream: VideoStream) -> tuple[int, int]:
    """Return width and height of a stream's frames with square pixels, before rotation; no side becomes shorter."""
    context = stream.codec_context
    width, height = context.width, context.height
    aspect = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1)
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def to_rgb(frame: VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return RGB uint8 pixels (height, width, 3), scaled to `size`, then turned and mirrored by the display matrix.

    Interlaced frames lose their comb lines. Grey of 16 bits is scaled by the bits that the frame uses. `size` is width
    and height before the frame is turned (`display_size`).

    Raises:
        av.error.FFmpegError: If the pixel format cannot be converted.
    """
    if frame.format.name.startswith("gray16"):
        image = _from_grey(np.asarray(frame.to_ndarray(format="gray16le"), dtype=np.uint16))
    else:
        hd = frame.colorspace == UNSPECIFIED and frame.height >= HD_HEIGHT
        # Lines are scaled after the comb is removed.
        width, height = (frame.width, frame.height) if frame.interlaced_frame else size
        colorspace = Colorspace.ITU709 if hd else None
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=colorspace)
        image = np.asarray(pixels, dtype=np.uint8)
    if frame.interlaced_frame and image.shape[0] > MIN_LINES:
        image = _deinterlace(image)
    if image.shape[:2] != size[::-1]:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return np.ascontiguousarray(_orient(image, frame), dtype=np.uint8)


def _from_grey(grey: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return RGB pixels of grey ones; recorders store 10 or 12 bits in 16."""
    bits = max(8, int(grey.max()).bit_length())
    return np.repeat((grey >> (bits - 8)).astype(np.uint8)[:, :, None], 3, axis=2)


def _deinterlace(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Interpolate the pixels of every second line that lie outside the range of the lines above and below.

    Such pixels are the comb of something that moved between the two fields; still parts keep all their lines.
    """
    lines = image.astype(np.int16)
    above, line, below = lines[:-2:2], lines[1:-1:2], lines[2::2]
    is_comb = np.minimum(np.abs(line - above), np.abs(line - below)) > COMB_STEP
    is_comb &= (line > above) == (line > below)
    result = image.copy()
    result[1:-1:2] = np.where(is_comb.any(axis=2, keepdims=True), (above + below) // 2, line)
    return result


def _orient(image: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """Turn and mirror pixels by the frame's display matrix (ISO/IEC 14496-12, 8.3.2), to the nearest quarter turn."""
    side: Any = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return image
    # Pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(memoryview(side), dtype=np.int32)[:5].astype(np.int64).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
