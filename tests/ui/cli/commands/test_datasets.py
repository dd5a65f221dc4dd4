from __future__ import annotations

import json
import shutil
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


def test_archive_with_training_split_only(
    write_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_dataset(columns={})
    archive = shutil.make_archive(str(tmp_path / "market"), "tar", root, "bounding_box_train")
    (root / "market_attribute.mat").rename(tmp_path / "market_attribute.mat")
    assert run(["datasets", "show", archive, "--hold-out", "1", "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert (result["held_out"], result["attributes"]) == (1, 12)
    assert [result["splits"][name]["identities"] for name in ("train", "query", "gallery")] == [1, 1, 1]
    errors = " ".join(output.err.split())
    assert "market.tar is unpacked into " in errors
    assert "1 of 2 training identities are held out and judged: 1 queries, 1 gallery images" in errors


def test_damaged_archive_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"PK")
    for command in (["datasets", "show"], ["evaluate"]):
        assert run([*command, str(archive)]) == 2
        assert "x.zip cannot be unpacked (File is not a zip file); get it again" in capsys.readouterr().err
