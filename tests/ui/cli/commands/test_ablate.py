"""`vestigo ablate` on a handful of rendered people, its trainings in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from vestigo_benchmarks.ablation import run as ablation
from vestigo_benchmarks.ablation.cell import AblationCell, run_cell
from vestigo_benchmarks.ablation.processes import CellEvent, CellFailure
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]
SMALL = ("input_size=[64,32]", "batch_identities=4", "images_per_identity=2", "network.channels=64")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The requested numbers of parallel trainings; they run one after another in this process."""
    requested: list[int] = []

    def run_here(cells: Sequence[AblationCell], jobs: int) -> Iterator[CellEvent]:
        requested.append(jobs)
        for cell in cells:
            epochs: list[int] = []
            run_cell(cell, epochs.append)
            yield from (CellEvent(cell=cell, epoch=epoch) for epoch in epochs)
            yield CellEvent(cell=cell)

    monkeypatch.setattr(ablation, "run_cells", run_here)
    return requested


def arguments(people: Path, out: Path, *more: str) -> list[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    options = ["--out", str(out), "--epochs", "1", "--seeds", "2", "--device", "cpu", *changes]
    return ["ablate", str(people), *options, "--configs", "baseline, control", *more]


def test_table_is_written_and_printed(people: Path, tmp_path: Path, jobs: list[int], capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run(arguments(people, out, "--jobs", "3", "--json")) == 0
    output = capsys.readouterr()
    result: dict[str, Any] = json.loads(output.out)
    assert jobs == [3]
    assert (result["cells"], result["trained"], result["failed"]) == (4, 4, [])
    assert "control, seed 2: done (4 of 4 trainings)" in " ".join(output.err.split())
    (row,) = result["table"]["table4"]
    assert (row["config"], row["seeds"], row["mAP"]["n"]) == ("baseline", [1, 2], 2)
    assert result["table"]["control"]["over_baseline"]["n"] == 2
    remembered = json.loads((out / "ablation.json").read_text())
    assert remembered["table"] == result["table"]
    page = (out / "ablation.md").read_text()
    assert str(tmp_path) not in page
    assert "vestigo ablate people --out out --seeds 2 --epochs 1 --backbone tiny --recipe rendered" in page
    assert "--configs baseline,control" in page
    assert "one CPU thread a training, 3 side by side" in page

    # An ablation of an earlier version, which named no recipe, is continued.
    del remembered["recipe"]["recipe"]
    (out / "ablation.json").write_text(json.dumps(remembered))
    assert run(arguments(people, out)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "table 4 Baseline mAP" in shown
    assert "4 trainings have results" in shown
    assert run(arguments(people, out, "--epochs", "2")) == 2
    assert "epochs 1 there, 2 now" in " ".join(capsys.readouterr().err.split())
    assert run(arguments(people, out, "--recipe", "real")) == 2
    assert "recipe 'rendered' there, 'real' now" in " ".join(capsys.readouterr().err.split())


def test_training_split_in_archive_is_judged_on_one_hold_out(
    people: Path, tmp_path: Path, jobs: list[int], capsys: Captured
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "people"), "tar", people, "bounding_box_train"))
    shutil.copy(people / "market_attribute.mat", tmp_path)
    out = tmp_path / "out"
    assert run(arguments(archive, out, "--hold-out", "2", "--configs", "baseline,global-attr", "--json")) == 0
    output = capsys.readouterr()
    assert "2 of 6 training identities are held out and judged" in " ".join(output.err.split())
    assert json.loads(output.out)["cells"] == 4
    queries = {json.loads(path.read_text())["metrics"]["queries"] for path in out.glob("cells/*/result.json")}
    assert queries == {4}
    page = (out / "ablation.md").read_text()
    assert "people.tar, 24 training images of 4 people, 4 queries, 8 gallery images of 2 people held out" in page
    assert "vestigo ablate people.tar" in page
    assert "--hold-out 2" in page
    assert run(arguments(archive, out, "--hold-out", "3", "--configs", "baseline")) == 2
    assert "with other images or labels" in " ".join(capsys.readouterr().err.split())


def test_failed_training_is_reported_with_status_1(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def fail(cells: Sequence[AblationCell], jobs: int) -> Iterator[CellEvent]:
        for cell in cells:
            failure = CellFailure(config=cell.config, seed=cell.seed, reason="no memory")
            yield CellEvent(cell=cell, failure=failure)

    monkeypatch.setattr(ablation, "run_cells", fail)
    start = ("--backbone", "small", "--weights", "imagenet")
    assert run(arguments(people, tmp_path / "out", *start, "--json")) == 1
    output = capsys.readouterr()
    page = (tmp_path / "out" / "ablation.md").read_text("utf-8")
    assert "--backbone small --recipe rendered-pretrained --weights imagenet" in page
    assert json.loads(output.out)["failed"][0] == {"config": "baseline", "seed": 1, "reason": "no memory"}
    line = "4 trainings failed, the first is baseline with seed 1: no memory; the same command tries them again"
    assert line in " ".join(output.err.split())


def test_interruption_prints_how_to_continue(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "run_cells", interrupted)
    assert run(arguments(people, tmp_path / "out")) == 130
    assert "the same command continues" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--configs", "ful"], "no configuration 'ful' in the ablation; choose of baseline"),
        (["--backbone", "large"], "unknown backbone 'large'"),
        (["--set", "epochs"], "--set epochs: give KEY=VALUE"),
        (["--set", "colour=1"], "colour: no such key"),
    ],
)
def test_usage_errors_are_one_line(people: Path, tmp_path: Path, capsys: Captured, more: list[str], line: str) -> None:
    assert run(arguments(people, tmp_path / "out", *more)) == 2
    assert line in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
