"""Small archives that tests make: crops on disk, a video of bright rectangles that walk."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def write_crops(folder: Path, count: int) -> Path:
    """Write `count` crops of 64x32 pixels, each another noise, and return the folder."""
    folder.mkdir(parents=True)
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 255, (64, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), cv2.GaussianBlur(noise, (0, 0), 3))
    return folder


def walkers_video(path: Path, *, seconds: float, rate: int = 10, gop: int = 10) -> Path:
    """Write an H.264 video in which two bright rectangles cross a dark scene, with a keyframe every `gop` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.options = {"x264-params": f"keyint={gop}:scenecut=0"}
        for i in range(round(seconds * rate)):
            image = np.full((120, 160, 3), 40, dtype=np.uint8)
            image[30:80, 5 + 2 * i % 130 : 25 + 2 * i % 130] = 230
            image[60:110, max(0, 120 - i) : max(0, 120 - i) + 18] = 245
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
