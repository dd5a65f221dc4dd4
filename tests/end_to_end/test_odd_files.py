"""A folder of odd files is indexed to the end, and every file is in the ledger once."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from tests.support.app_pages import run_app, words
from tests.support.footage import add_sound, numbered, remux, write_sound, write_video
from vestigo.store.open import Store
from vestigo_ui.cli.main import run

CROP = np.random.default_rng(0).integers(0, 255, (128, 64, 3), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + b"".join(chunks)
    )


def write_upside_down(path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 3
    Image.fromarray(CROP).save(path, exif=orientation)


def write_raw_stream(path: Path) -> None:
    source = write_video(path.with_name("raw.h264"), numbered, 12)
    source.rename(path)


def write_cut_off(path: Path) -> None:
    data = write_video(path, numbered, 40).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def write_unknown_codec(path: Path) -> None:
    data = write_video(path, numbered, 12, codec="mpeg4").read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"QQZ1"))


def write_changed(path: Path, shift: Callable[[int], float]) -> None:
    source = write_video(path.with_name("source.mp4"), numbered, 30, b_frames=0)
    remux(source, path, shift)
    source.unlink()


def write_late(path: Path) -> None:
    source = write_video(path.with_name("source.mp4"), numbered, 12)
    add_sound(source, path, 0.5)
    source.unlink()


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def image(**settings: object) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(CROP).save(path, **settings)  # type: ignore[arg-type]


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "raw.mp4": ("empty", write_raw_stream),
    "dahua.dav": ("empty", write_raw_stream),
    "unknown.avi": ("quarantined", write_unknown_codec),
    "cut.mp4": ("quarantined", write_cut_off),
    "cut.mkv": ("empty", write_cut_off),
    "nothing.mkv": ("quarantined", content(b"")),
    "text.mov": ("quarantined", content(b"a text that calls itself a video" * 50)),
    "sound.mp4": ("quarantined", write_sound),
    "equal.mkv": ("empty", lambda path: write_changed(path, lambda position: -0.1 if position == 13 else 0.0)),
    "gap.ts": ("empty", lambda path: write_changed(path, lambda position: 4000.0 if position > 14 else 0.0)),
    "again.ts": ("empty", lambda path: write_changed(path, lambda position: 90.0 if position < 15 else 0.0)),
    "lapse.mp4": ("empty", lambda path: write_video(path, numbered, 4, b_frames=0, times=lambda n: 3_600_000 * n)),
    "late.mkv": ("empty", write_late),
    "stream.mjpeg": ("empty", lambda path: write_video(path, numbered, 12, codec="mjpeg", rate=25)),
    "other.ending": ("empty", lambda path: write_video(path.with_suffix(".mp4"), numbered, 12).rename(path)),
    "twelve.png": ("done", lambda path: Image.fromarray(CROP[..., 0].astype(np.uint16) << 4).save(path)),
    "turned.webp": ("done", write_upside_down),
    "packed.tif": ("done", image(compression="tiff_lzw")),
    "print.jpg": ("done", lambda path: Image.fromarray(CROP).convert("CMYK").save(path)),
    "palette.gif": ("done", lambda path: Image.fromarray(CROP).convert("P").save(path)),
    "browser.jfif": ("done", image(format="JPEG")),
    "no-ending": ("done", image(format="JPEG")),
    "length.png": ("quarantined", content(png(64, 128, struct.pack(">I", 2**31 - 256) + b"IDAT" + bytes(20)))),
    "wide.png": ("quarantined", content(png(350_000, 110, chunk(b"IDAT", zlib.compress(bytes(350_001 * 110)))))),
    "text.jpg": ("quarantined", content(b"a text")),
    "old.zip": ("quarantined", content(b"")),
    "._raw.mp4": ("passed_over", content(b"\0\5\x16\7")),
    "Thumbs.db": ("passed_over", content(b"thumbs")),
    "__MACOSX/raw.mp4": ("passed_over", content(b"\0\5\x16\7")),
    "notes.txt": ("passed_over", content(b"notes")),
    "list.csv": ("passed_over", content(b"a,b\n1,2\n")),
    "subtitles.srt": ("passed_over", content(b"1\n00:00:01,000 --> 00:00:02,000\nwords\n")),
    "random.bin": ("passed_over", content(np.random.default_rng(1).bytes(5000))),
}


def test_every_odd_file_is_in_the_ledger_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "odd"
    for name, (_, write) in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    store = tmp_path / "store"
    assert run(["index", str(folder), "--store", str(store), "--executor", "inline", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    with create_engine(f"sqlite:///{store}/catalogue.sqlite").connect() as connection:
        rows = connection.execute(text("SELECT name, state FROM input")).all()
    states: dict[str, set[str]] = {}
    for name, state in rows:
        states.setdefault(re.sub(r"\[\d+:\d+\]$", "", name), set()).add(state)
    assert states == {name: {state} for name, (state, _) in FILES.items()}
    counts = {state: sum(state == each for _, each in rows) for state in ("done", "empty", "quarantined")}
    assert {state: result[state] for state in counts} == counts
    assert result["inputs"] == sum(counts.values()) + sum(result["passed_over"].values()) == len(rows)
    assert result["videos_without_times"] == ["dahua.dav", "raw.mp4", "stream.mjpeg"]
    with Store.open(str(store)) as opened:
        assert opened.check().intact
    kinds = result["passed_over"]
    assert run(["runs", "show", result["run"], "--store", str(store)]) == 0
    shown = capsys.readouterr().out
    assert f"{sum(kinds.values())} files were passed over" in shown
    assert all(f"{kind} {count}" in shown for kind, count in kinds.items())
    assert all(f"quarantined: {name}" in shown for name, (state, _) in FILES.items() if state == "quarantined")
    app = run_app(monkeypatch, store, page="archive", run=result["run"])
    metrics = {metric.label: metric.value for metric in app.metric}
    titles = {"inputs": "Inputs", "passed_over": "Passed over"} | {state: state.capitalize() for state in counts}
    ledger = result | {"passed_over": sum(kinds.values())}
    assert {name: metrics[title] for name, title in titles.items()} == {name: str(ledger[name]) for name in titles}
    assert f"by kind: {', '.join(f'{kind} {count}' for kind, count in kinds.items())}" in words(app)
