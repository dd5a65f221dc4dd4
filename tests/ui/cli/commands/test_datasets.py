from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vestigo_ui.cli.main import run


def test_show_prints_counts_and_json(write_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(columns={})
    assert run(["datasets", "show", str(root), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["layout"] == "market-1501"
    assert result["splits"]["query"]["images"] == 2
    assert result["passed_over"] == {}
    assert run(["datasets", "show", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "market-1501: 4 identities, 11 images, 3 cameras, 12 attributes in 27 columns" in printed
    assert "male 2, female 0" in printed


def test_packed_dataset_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"PK")
    for command in (["datasets", "show"], ["evaluate"]):
        assert run([*command, str(archive)]) == 2
        assert "x.zip is an archive, not a folder; unpack it" in capsys.readouterr().err
