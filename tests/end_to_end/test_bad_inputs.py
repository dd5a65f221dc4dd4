"""Everything that lies about in real archives, in one run: each thing is named and none stops the others."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import av
import cv2
import numpy as np

from tests.support.archives import write_crops
from vestigo.store.open import Store

SIDE = 30_000


def huge_png(path: Path) -> None:
    """Write a valid black image of 30000 x 30000 pixels: 2.7 GB once decoded, 3 MB on disk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    line = bytes(3 * SIDE + 1)
    pixels = b"".join(packer.compress(line) for _ in range(SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def empty_street(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        noise = np.random.default_rng(0).integers(90, 130, (240, 320, 3), dtype=np.uint8)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.blur(noise, (9, 9)), format="rgb24")))
        container.mux(stream.encode(None))


def climbing_tar(path: Path, image: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("../climbed.jpg", "/rooted.jpg", "plain.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(image)
            archive.addfile(member, io.BytesIO(image))


def test_bad_inputs_are_quarantined_and_others_indexed(tmp_path: Path) -> None:
    site = tmp_path / "site"
    folder = write_crops(site / "folder", 3)
    (folder / "zero.jpg").touch()
    (folder / "text.jpg").write_text("this is no image")
    huge_png(folder / "huge.png")
    (site / "void").mkdir()
    climbing_tar(site / "climbing.tar", (folder / "000.jpg").read_bytes())
    empty_street(site / "empty.avi", 20)
    empty_street(site / "cut.avi", 40)
    whole = (site / "cut.avi").read_bytes()
    (site / "cut.avi").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.rglob("*"))

    names = ("folder", "void", "climbing.tar", "empty.avi", "cut.avi")
    sources = [str(site / name) for name in names]
    store = tmp_path / "store"
    command = [sys.executable, "-m", "vestigo_ui.cli.main", "index", *sources, "--store", str(store)]
    done = subprocess.run(
        [*command, "--executor", "inline", "--json"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {failure["input"]: failure["reason"] for failure in result["failures"] if failure["frame"] is None} == {
        "zero.jpg": "empty-file",
        "text.jpg": "not-an-image",
        "huge.png": "too-large",
        "void": "empty-source",
        "../climbed.jpg": "unsafe-name",
        "/rooted.jpg": "unsafe-name",
    }
    # Its one frame is there in part, and is looked at.
    of_frames = {failure["reason"] for failure in result["failures"] if failure["frame"] is not None}
    assert of_frames == {"damaged-frame", "truncated"}
    assert {name.split("[")[0] for name in result["empty_inputs"]} == {"empty.avi", "cut.avi"}
    assert (result["done"], result["crops"], result["pending"]) == (4, 4, 0)

    outside = [path for path in sorted(tmp_path.rglob("*")) if not path.is_relative_to(store)]
    assert outside == before
    with Store.open(store) as opened:
        assert opened.check().intact
