"""The page Archive: every state of it, and what a viewer may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.app_pages import run_app, words
from tests.support.fake_pipeline import POISON, begin, drive, images, index, video, work_off
from tests.ui.conftest import Archive
from vestigo.sightings.presence import SCHEMA
from vestigo.sightings.records import CameraSummary
from vestigo.store.open import Store
from vestigo_ui.app.pages.archive import cameras as archive_cameras
from vestigo_ui.app.pages.archive import retry as archive_retry
from vestigo_ui.app.pages.archive import runs as archive_runs
from vestigo_ui.app.pages.archive.timeline import STEPS, Gap, gaps, lanes, length, span, step

T0 = datetime(2026, 5, 1, 8, tzinfo=UTC)


def camera(name: str, first: datetime | None = T0, seconds: float = 60.0, **more: Any) -> CameraSummary:
    last = None if first is None else first + timedelta(seconds=seconds)
    facts: dict[str, Any] = {"crops": 3, "sightings": 1, "samples": ()}
    return CameraSummary(name=name, first=first, last=last, **facts | more)


def counted(**starts: list[float]) -> pa.Table:
    """One crop a stretch, by camera and seconds after T0."""
    rows = [(name, T0 + timedelta(seconds=at), 1) for name, some in starts.items() for at in some]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


@pytest.fixture
def failed(tmp_path: Path) -> tuple[Path, str]:
    """A run that left out a whole page of inputs and more, for two reasons, and some frames."""
    ref = tmp_path / "store"
    names = [f"{number:03}.jpg" for number in range(70)]
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, [images(*names), images(POISON), *video("walk.avi", slices=2)])
        drive(store, run.id, {*names[:60], POISON})
    return ref, run.id


def test_steps_divide_each_other() -> None:
    assert all(longer % shorter == 0 for shorter, longer in pairwise(STEPS))
    assert (step(0.0, 300), step(299.0, 300), step(301.0, 300), step(1e12, 300)) == (1, 1, 5, STEPS[-1])


def test_lengths_are_written_in_two_units() -> None:
    written = {0.5: "0.5 s", 59: "59 s", 60: "1 min", 61: "1 min 1 s", 3600: "1 h", 7325: "2 h 2 min", 90061: "1 d 1 h"}
    assert {seconds: length(seconds) for seconds in written} == written


def test_gaps_are_those_that_a_look_at_every_stretch_finds() -> None:
    rng = np.random.default_rng(3)
    seen = {
        name: sorted(rng.choice(200, size, replace=False).tolist()) for name, size in (("a", 20), ("b", 60), ("c", 1))
    }
    found = gaps(counted(**{name: [10 * at for at in some] for name, some in seen.items()}), 10, 3)
    for name, some in seen.items():
        naive, since = [], None
        for at in range(some[0], some[-1] + 1):
            if at not in some and since is None:
                since = at
            if at in some and since is not None:
                naive.append((at - since, since))
                since = None
        best = sorted((size for size, _ in naive), reverse=True)[:3]
        mine = [gap for gap in found if gap.camera == name]
        assert [gap.seconds / 10 for gap in mine] == best
        places = [(gap.seconds / 10, (gap.since - T0).total_seconds() / 10) for gap in mine]
        assert set(places) <= set(naive)
    assert gaps(counted(a=[0, 10, 20]), 10, 3) == []
    (one,) = gaps(counted(a=[0, 10, 40]), 10, 3)
    assert one == Gap(camera="a", since=T0 + timedelta(seconds=20), until=T0 + timedelta(seconds=40))


def test_lanes_have_their_cameras_and_gaps() -> None:
    made = lanes(counted(a=[0, 1, 40], b=[20]), ["a", "b", "unseen"], 10)
    (heat,) = made.data
    assert list(heat.y) == ["a", "b", "unseen"]
    assert np.nan_to_num(np.array(heat.z, float)).tolist() == [[2, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0] * 5]
    assert heat.x[0] == T0 + timedelta(seconds=5)


def test_span_and_summary_without_times() -> None:
    assert span([camera("a", None)]) is None
    assert span([camera("a"), camera("b", T0 + timedelta(hours=1)), camera("c", None)]) == (
        T0,
        T0 + timedelta(hours=1, seconds=60),
    )
    assert archive_cameras.summary([camera("a", None)], "tiny") == "1 camera · 3 crops · 1 sighting · model tiny"
    frame = archive_cameras.camera_frame([camera("a", None), camera("b")], {"b": 2.5})
    assert frame["First seen (UTC)"].tolist() == ["–", "2026-05-01 08:00:00"]
    assert frame["Clock offset (s)"].tolist() == [0.0, 2.5]


def test_rates_are_those_of_the_last_minute() -> None:
    pace = [(float(at), 2 * at) for at in range(0, 200, 10)]
    kept = archive_runs.recent(pace)
    assert kept[0][0] == 120.0
    assert archive_runs.rate(kept, 380, 1000.0) == 2.0
    assert archive_runs.rate([(0.0, 5)], 5, 10.0) == 0.5
    assert archive_runs.rate([(0.0, 5)], 5, 0.0) == 0.0


def test_cameras(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(archive.store) as store:
        store.cameras.set_clock_offset("hall", 3600)
    app = run_app(monkeypatch, archive.store, page="archive", role="viewer")
    assert not app.exception
    said = words(app)
    assert f"2 cameras · {len(archive.crops):,} crops" in said
    assert "2026-05-01 08:00:00 to 2026-05-01 09:00:03 UTC" in said
    (cameras,) = (table.value for table in app.dataframe)
    assert cameras["Camera"].tolist() == ["gate", "hall"]
    assert cameras["First seen (UTC)"].tolist() == ["2026-05-01 08:00:00", "2026-05-01 09:00:00"]
    assert cameras["Clock offset (s)"].tolist() == [0.0, 3600.0]
    assert "Nowhere did a camera see nobody for 5 s or longer." in said
    with Store.open(archive.store) as store:
        (entry,) = store.audit.entries(action="view")
    assert entry.user == "the-viewer"
    assert set(entry.details["shown"]) <= {row["crop_id"] for row in archive.crops}


def test_one_camera(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    app = run_app(monkeypatch, archive.store, page="archive", camera="hall")
    assert not app.exception
    assert app.subheader[0].value == "hall"
    assert "Choose a picture" in words(app)
    assert {metric.label: metric.value for metric in app.metric}["Clock offset"] == "0 s"
    (back,) = [button for button in app.button if button.label == "All cameras"]
    app = back.click().run()
    assert "camera" not in app.query_params
    assert "2 cameras" in words(app)


def test_nonsense_in_the_address(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = {"show": "x", "camera": "nowhere", "frame": "zz", "cameras": "-7", "find": "x", "reason": "\0"}
    app = run_app(monkeypatch, archive.store, page="archive", **nonsense)
    assert not app.exception
    assert "2 cameras" in words(app)
    app = run_app(monkeypatch, archive.store, page="archive", run="nonsense", failures="1e9")
    assert not app.exception
    assert "no run of that name" in words(app)


def test_an_empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path / "s").close()
    app = run_app(monkeypatch, tmp_path / "s", page="archive")
    assert not app.exception
    assert "vestigo index SOURCE" in words(app)


def test_many_cameras_are_searched(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    everything = [camera(f"camera {number:04}") for number in range(1000)]
    monkeypatch.setattr(archive_cameras, "_summaries", lambda *key: everything)
    monkeypatch.setattr(archive_cameras, "_samples", lambda *a, **k: None)
    app = run_app(monkeypatch, archive.store, page="archive", cameras="3")
    assert not app.exception
    assert app.dataframe[0].value["Camera"].tolist() == [f"camera {number:04}" for number in range(24, 36)]
    app = app.text_input(key="find").set_value("099").run()
    assert app.dataframe[0].value["Camera"].tolist() == [f"camera {number:04}" for number in (99, *range(990, 1000))]
    assert "cameras" not in app.query_params
    app = app.text_input(key="find").set_value("nowhere").run()
    assert "No camera has that" in words(app)
    app.text_input(key="find").set_value("099").run()
    app.get("button_group")[0].set_value("runs").run()
    assert not app.exception
    assert "Choose a run" in words(app)
    assert dict(app.query_params) == {"show": "runs"}


def test_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(tmp_path / "s")
    app = run_app(monkeypatch, tmp_path / "s", page="archive", show="runs")
    assert not app.exception
    (row,) = app.dataframe[0].value.to_dict("records")
    assert (row["Status"], row["Inputs"], row["Done"], row["Quarantined"]) == ("succeeded with 4 failures", 7, 4, 2)


def test_failures_are_paged_and_filtered(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ref, run = failed
    app = run_app(monkeypatch, ref, page="archive", run=run, role="viewer")
    assert not app.exception
    reasons, shown = (table.value for table in app.dataframe)
    assert reasons.values.tolist() == [["not-an-image", 60, 0], ["undecodable", 0, 2], ["worker-died", 1, 0]]
    assert shown["Input"].tolist() == [f"{number:03}.jpg" for number in range(50)]
    app = run_app(monkeypatch, ref, page="archive", run=run, failures="2")
    rest = app.dataframe[1].value["Input"].tolist()
    assert rest == [*(f"{number:03}.jpg" for number in range(50, 60)), POISON, "walk.avi[0]", "walk.avi[1]"]
    app = app.selectbox(key="archive-reason").select("undecodable").run()
    assert app.query_params["reason"] == "undecodable"
    assert app.dataframe[1].value["Frame"].tolist() == ["7", "7"]


def test_only_admins_try_again(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ref, run = failed
    begun: list[list[str]] = []
    monkeypatch.setattr(
        archive_retry.RetryProcesses, "start", lambda self, run, arguments, log: begun.append(list(arguments))
    )
    for role in ("viewer", "reviewer"):
        app = run_app(monkeypatch, ref, page="archive", run=run, role=role)
        assert not [button for button in app.button if button.key == "archive-retry"]
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin", reason="worker-died")
    (button,) = [button for button in app.button if button.key == "archive-retry"]
    assert button.label == "Try 1 input again"
    button.click().run()
    (arguments,) = begun
    assert arguments[1:5] == ["-m", "vestigo_ui.cli.main", "runs", "retry"]
    assert {"--by=the-admin", f"--store={ref}", "--reason=worker-died"} <= set(arguments)
    assert arguments[-2:] == ["--", run]


def test_the_action_checks_again(failed: tuple[Path, str]) -> None:
    class Reviewer:
        def may(self, role: object) -> bool:
            return False

    with pytest.raises(archive_retry.UsageError, match="only an admin"):
        archive_retry.start(Reviewer(), failed[1])  # type: ignore[arg-type]


def test_a_driven_run_is_not_tried_again(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ref, run = failed
    monkeypatch.setattr(Store, "is_driven", lambda self, run: True)
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin")
    (button,) = [button for button in app.button if button.key == "archive-retry"]
    assert button.disabled
    assert "Somebody is driving this run" in words(app)


def test_a_run_in_progress_and_one_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = tmp_path / "s"
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, [images("one.jpg", "two.jpg"), images("three.jpg")])
        store.runs.take_lease(run.id)
        work_off(store, store.shards.pending(run.id, 1)[0])
        store.runs.heartbeat(run.id)
        app = run_app(monkeypatch, ref, page="archive", show="runs")
        assert not app.exception
        (bar,) = app.get("progress")
        assert f"Run {run.id} · 2 of 3 inputs · 2 crops" in bar.proto.text
        assert "left" in bar.proto.text
        store.runs.release_lease(run.id)
    app = run_app(monkeypatch, ref, page="archive", show="runs")
    assert f"vestigo runs resume {run.id}" in words(app)


def test_a_run_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = tmp_path / "s"
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, [images("one.jpg")])
        store.runs.take_lease(run.id)
        store.runs.finish(run.id, "failed", error="cannot write to /somewhere: no space left on device")
    app = run_app(monkeypatch, ref, page="archive", run=run.id, role="admin")
    said = words(app)
    assert "no space left on device" in said
    assert f"vestigo runs resume {run.id}" in said
    app = run_app(monkeypatch, ref, page="archive", run=run.id, role="viewer")
    assert "It failed. What it did is kept" in words(app)
    assert "/somewhere" not in words(app)
    app = run_app(monkeypatch, ref, page="archive", show="cameras")
    assert "No crop is stored yet" in words(app)


def test_a_retry_that_ends_early_says_why(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The run was made by no version of Vestigo that can be asked again: the command itself says so."""
    ref, run = failed
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin")
    (button,) = [button for button in app.button if button.key == "archive-retry"]
    app = button.click().run()
    children = archive_retry.retry_processes()
    assert children._begun[run].wait(300) == 2
    app.run()
    assert "was made by another version of Vestigo" in words(app)
    with Store.open(ref) as store:
        assert archive_retry.log_path(store, run).stat().st_mode & 0o077 == 0
        assert store.runs.totals(run).quarantined == 61
