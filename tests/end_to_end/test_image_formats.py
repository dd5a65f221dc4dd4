"""Still images of every format: each command reads the same files, and hostile ones end as named inputs."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from vestigo_models.inference.images import IMAGE_SUFFIXES
from vestigo_ui.app.pages.find.upload import FILE_TYPES
from vestigo_ui.cli.main import run

FORMATS = {".jpg": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP", ".gif": "GIF"}
FORMATS |= {".bmp": "BMP", ".avif": "AVIF", ".jp2": "JPEG2000", ".unknown": "PNG"}


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image in every format, stored on its side; formats without EXIF hold it upright."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for suffix, name in FORMATS.items():
        if name in ("GIF", "BMP", "JPEG2000"):
            upright.save(folder / f"a{suffix}", name)
        else:
            upright.rotate(90, expand=True).save(folder / f"a{suffix}", name, exif=exif.tobytes(), quality=95)
    return folder


def test_every_command_reads_every_format(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    indexed = run_json(capsys, "index", folder, "--store", store, "--detector", "none", "--executor", "inline")
    assert (indexed["inputs"], indexed["done"], indexed["crops"]) == (len(FORMATS),) * 3
    # Upright in every format, the crops look alike.
    results = run_json(capsys, "search", folder / "a.gif", "--store", store)["results"]
    assert len(results) == len(FORMATS)
    assert max(result["distance"] for result in results) < 0.1
    (folder / "a.unknown").unlink()
    regions = run_json(capsys, "regions", folder / "a.webp", "--out", tmp_path / "one")
    assert (regions["images"], regions["quarantined"]) == (1, 0)
    for path in folder.iterdir():
        path.rename(folder / f"{path.suffix[1:]}{path.suffix}")
    regions = run_json(capsys, "regions", folder, "--out", tmp_path / "maps")
    assert (regions["images"], regions["quarantined"]) == (len(FORMATS) - 1, 0)
    assert {f".{ending}" for ending in FILE_TYPES} == IMAGE_SUFFIXES > FORMATS.keys() - {".unknown"}


def _chunk(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    declared = len(content) if length is None else length
    return struct.pack(">I", declared) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_hostile_images_are_quarantined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    header = struct.pack(">IIBBBBB", 32, 64, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(64 * 97))
    start = b"\x89PNG\r\n\x1a\n"
    (folder / "len.png").write_bytes(start + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels, length=0x7FFFFF00))
    wide = struct.pack(">IIBBBBB", 350_000, 110, 8, 0, 0, 0, 0)
    (folder / "wide.png").write_bytes(
        start + _chunk(b"IHDR", wide) + _chunk(b"IDAT", zlib.compress(bytes(350_001 * 110))) + _chunk(b"IEND", b"")
    )
    Image.new("F", (64, 128)).save(folder / "float.tif")
    Image.new("RGB", (64, 128)).save(folder / "lzma.tif", compression="lzma")
    result = run_json(capsys, "index", folder, "--store", tmp_path / "store", "--executor", "inline")
    reasons = {failure["input"]: failure["reason"] for failure in result["failures"]}
    assert reasons == {"len.png": "truncated", "wide.png": "too-large", "float.tif": "unsupported-format"}
    assert result["inputs"] == 4


def test_alias_bomb_as_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "alias.yaml"
    lines = ["a0: &a0 [lol, lol, lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    config.write_text("\n".join([*lines, "fps: *a8"]))
    assert run(["index", str(tmp_path), "--store", str(tmp_path / "store"), "--config", str(config)]) == 2
    line = " ".join(capsys.readouterr().err.split())
    assert "alias.yaml: not YAML: *a0 is an alias; write its value out" in line
