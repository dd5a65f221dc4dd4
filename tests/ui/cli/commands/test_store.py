from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.support.fake_pipeline import index
from vestigo.store.open import Store
from vestigo.store.sql.tables import SCHEMA_REVISION
from vestigo_models.errors import StoreError, UsageError
from vestigo_ui.cli.commands import cameras, store


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    index(tmp_path / "archive")
    return tmp_path / "archive"


def run(app: typer.Typer, *arguments: str | Path, status: int = 0) -> Any:
    """The JSON of a command, which also runs without --json."""
    runner = CliRunner()
    ended = runner.invoke(app, [*map(str, arguments), "--json"])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == status
    assert runner.invoke(app, [*map(str, arguments)]).exit_code in (status, 1)
    return json.loads(ended.stdout)


def test_check(archive: Path) -> None:
    report = run(store.app, "check", "--store", archive)
    assert (report["intact"], report["crops"], report["problems"]) == (True, 5, [])
    with Store.open(archive) as opened:
        assert report["digest"] == opened.check().digest
        path = Path(opened.data) / opened.shards.file_paths(opened.runs.list()[0].id, kind="crops")[0]
    os.truncate(path, 10)
    assert run(store.app, "check", "--store", archive, status=1)["intact"] is False


def test_vacuum(archive: Path) -> None:
    planned = run(store.app, "vacuum", "--store", archive, "--now", "--dry-run")
    assert (planned["files"], planned["dry_run"]) == (2, True)
    done = run(store.app, "vacuum", "--store", archive, "--now")
    assert done["paths"] == planned["paths"]
    assert run(store.app, "vacuum", "--store", archive, "--now")["files"] == 0


def test_migrate(archive: Path) -> None:
    assert run(store.app, "migrate", "--store", archive) == {"before": SCHEMA_REVISION, "after": SCHEMA_REVISION}


def test_export(archive: Path, tmp_path: Path) -> None:
    report = run(store.app, "export", tmp_path / "market", "--store", archive, "--cameras", "c1,c2")
    assert report["crops"] + report["left_out"] == 5
    assert len(list((tmp_path / "market").rglob("*.jpg"))) == report["crops"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "name one folder to write: --out FOLDER"),
        (("new", "--out", "other"), "name one folder to write"),
        (("--out", "new", "--format", "coco"), "--format coco is not written; choose one of market1501, mot"),
        (("--out", "new", "--format", "mot", "--from", "2026-05-01"), "mot writes whole videos: leave --from and --to"),
    ],
)
def test_wrong_export_is_refused_in_one_line(archive: Path, arguments: tuple[str, ...], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        run(store.app, "export", *arguments, "--store", archive)


def test_cameras(archive: Path) -> None:
    before = run(cameras.app, "list", "--store", archive)["cameras"]
    assert {camera["clock_offset_s"] for camera in before} == {0.0}
    name = before[0]["name"]
    after = run(cameras.app, "set", name, "--clock-offset", "-2.5", "--store", archive)["cameras"]
    assert after[0] == {"name": name, "clock_offset_s": -2.5}
    with pytest.raises(StoreError, match='Unknown camera "gate"'):
        run(cameras.app, "set", "gate", "--clock-offset", "1", "--store", archive)


def test_mistyped_store_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        run(store.app, "check", "--store", tmp_path / "archvie")
    assert not (tmp_path / "archvie").exists()
