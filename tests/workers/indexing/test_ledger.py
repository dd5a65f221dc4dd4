"""Every file of a folder is in the ledger, whatever it is."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.support.footage import numbered, write_video
from vestigo.store.open import Store
from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.cli.main import run
from vestigo_ui.cli.output import program

BROKEN = tuple(f"broken{number:02d}.jpg" for number in range(12))
OTHERS = ("notes.txt", "list.csv", "a.bin", "b.bin", "README", "._one.jpg", "Thumbs.db", "__MACOSX/one.jpg")


@pytest.mark.slow
def test_files_passed_over_are_counted_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cams"
    (folder / "__MACOSX").mkdir(parents=True)
    for name in OTHERS:
        (folder / name).write_bytes(b"neither image nor video")
    crop = np.random.default_rng(0).integers(0, 255, (128, 64, 3), dtype=np.uint8)
    (folder / "crop.jpg").write_bytes(encode_jpeg(crop))
    for name in BROKEN:
        (folder / name).write_bytes(b"no image")
    write_video(folder / "empty.mp4", numbered, 12)
    store = str(tmp_path / "my store")
    assert run(["index", str(folder), "--store", store, "--executor", "inline", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed_over"] == {"system file": 3, ".bin": 2, ".csv": 1, ".txt": 1, "no ending": 1}
    counts = [result[name] for name in ("done", "empty", "quarantined", "pending")]
    assert counts == [1, 1, len(BROKEN), 0]
    assert result["inputs"] == sum(counts) + len(OTHERS)
    assert run(["runs", "show", result["run"], "--store", store]) == 0
    shown = capsys.readouterr().out
    assert "8 files were passed over, by kind: system file 3, .bin 2, .csv 1" in shown
    assert all(f"quarantined: {name}: not-an-image" in shown for name in BROKEN)
    assert run(["runs", "show", result["run"], "--store", store, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    ledger = ("status", "inputs", "done", "empty", "quarantined", "passed_over", "pending")
    assert [again[name] for name in ledger] == [result[name] for name in ledger]
    assert sorted(failure["input"] for failure in again["failures"]) == sorted(BROKEN)
    with Store.open(store) as opened:
        assert opened.check().intact
    assert run(["index", str(folder), "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == result["inputs"]
    assert run(["runs", "resume", result["run"], "--store", store]) == 0
    offered = capsys.readouterr().err.strip().removeprefix(f"and {len(BROKEN) - 10} more: {program()} ")
    assert shlex.split(offered) == ["runs", "show", result["run"], "--store", store]
