"""Page Archive in every state, and the permissions of roles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.app_pages import context_of, run_app, words
from tests.support.fake_pipeline import POISON, begin, drive, images, index, video, work_off
from tests.ui.conftest import Archive
from vestigo.sightings.presence import SCHEMA
from vestigo.sightings.records import CameraSummary
from vestigo.store.open import Store
from vestigo.store.runs.repository import RunRepository
from vestigo_models.errors import UsageError
from vestigo_ui.app.components.processes import ServerProcesses, log_path, shared_processes
from vestigo_ui.app.pages.archive import cameras, runs
from vestigo_ui.app.pages.archive.cameras import STEPS, choose_step, find_gaps, presence_figure, time_span
from vestigo_ui.app.text import format_span

pytestmark = pytest.mark.slow

T0 = datetime(2026, 5, 1, 8, tzinfo=UTC)


def camera(name: str, first: datetime | None = T0, seconds: float = 60.0, **more: Any) -> CameraSummary:
    last = None if first is None else first + timedelta(seconds=seconds)
    facts: dict[str, Any] = {"crops": 3, "sightings": 1, "samples": ()}
    return CameraSummary(name=name, first=first, last=last, **facts | more)


def presence(**starts: list[float]) -> pa.Table:
    """Return one crop in each interval, by camera and seconds after T0."""
    rows = [(name, T0 + timedelta(seconds=at), 1) for name, times in starts.items() for at in times]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


@pytest.fixture
def failed(tmp_path: Path) -> tuple[Path, str]:
    """Return a run with more than a page of quarantined inputs, for two reasons, and failed frames."""
    ref = tmp_path / "store"
    names = [f"{number:03}.jpg" for number in range(70)]
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, [images(*names), images(POISON), *video("walk.avi", slices=2)])
        drive(store, run.id, {*names[:60], POISON})
    return ref, run.id


def test_steps_divide_each_other() -> None:
    assert all(longer % shorter == 0 for shorter, longer in pairwise(STEPS))
    assert tuple(choose_step(seconds, 300) for seconds in (0.0, 299.0, 301.0, 1e12)) == (1, 1, 5, STEPS[-1])


def test_span_has_two_units() -> None:
    written = {0.5: "0.5 s", 59: "59 s", 60: "1 min", 61: "1 min 1 s", 3600: "1 h", 7325: "2 h 2 min", 90061: "1 d 1 h"}
    assert {seconds: format_span(seconds) for seconds in written} == written


def test_gaps_equal_naive_search() -> None:
    rng = np.random.default_rng(3)
    seen = {
        name: sorted(rng.choice(200, size, replace=False).tolist()) for name, size in (("a", 20), ("b", 60), ("c", 1))
    }
    gaps = find_gaps(presence(**{name: [10 * at for at in times] for name, times in seen.items()}), 10, 3)
    for name, times in seen.items():
        naive, since = [], None
        for at in range(times[0], times[-1] + 1):
            if at not in times and since is None:
                since = at
            if at in times and since is not None:
                naive.append((at - since, since))
                since = None
        longest = sorted((size for size, _ in naive), reverse=True)[:3]
        rows = gaps[gaps["Camera"] == name]
        assert (rows["Seconds"] / 10).tolist() == longest
        starts = [(datetime.fromisoformat(f"{text}Z") - T0).total_seconds() / 10 for text in rows["From (UTC)"]]
        assert set(zip(longest, starts, strict=True)) <= set(naive)
    assert find_gaps(presence(a=[0, 10, 20]), 10, 3).empty
    (row,) = find_gaps(presence(a=[0, 10, 40]), 10, 3).to_dict("records")
    assert row == {
        "Camera": "a",
        "From (UTC)": "2026-05-01 08:00:20",
        "To (UTC)": "2026-05-01 08:00:40",
        "Length": "20 s",
        "Seconds": 20,
    }


def test_lanes_show_cameras_and_gaps() -> None:
    figure = presence_figure(presence(a=[0, 1, 40], b=[20]), ["a", "b", "unseen"], 10)
    (heat,) = figure.data
    assert list(heat.y) == ["a", "b", "unseen"]
    assert np.nan_to_num(np.array(heat.z, float)).tolist() == [[2, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0] * 5]
    assert heat.x[0] == T0 + timedelta(seconds=5)


def test_span_and_summary_without_times() -> None:
    assert time_span([camera("a", None)]) is None
    assert time_span([camera("a"), camera("b", T0 + timedelta(hours=1)), camera("c", None)]) == (
        T0,
        T0 + timedelta(hours=1, seconds=60),
    )
    assert cameras.summarize([camera("a", None)], "tiny") == "1 camera · 3 crops · 1 sighting · model tiny"
    frame = cameras.camera_table([camera("a", None), camera("b")], {"b": 2.5})
    assert frame["First seen (UTC)"].tolist() == ["–", "2026-05-01 08:00:00"]
    assert frame["Clock offset (s)"].tolist() == [0.0, 2.5]


def test_rate_is_that_of_last_minute() -> None:
    samples = [(float(at), 2 * at) for at in range(0, 200, 10)]
    kept = runs.recent_samples(samples)
    assert kept[0][0] == 120.0
    assert runs.input_rate(kept, 380, 1000.0) == 2.0
    assert runs.input_rate([(0.0, 5)], 5, 10.0) == 0.5
    assert runs.input_rate([(0.0, 5)], 5, 0.0) == 0.0


def test_cameras_are_listed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(archive.store) as store:
        store.cameras.set_clock_offset("hall", 3600)
    app = run_app(monkeypatch, archive.store, page="archive", role="viewer")
    assert not app.exception
    text = words(app)
    assert f"2 cameras · {len(archive.crops):,} crops" in text
    assert "2026-05-01 08:00:00 to 2026-05-01 09:00:03 UTC" in text
    (table,) = (table.value for table in app.dataframe)
    assert table["Camera"].tolist() == ["gate", "hall"]
    assert table["First seen (UTC)"].tolist() == ["2026-05-01 08:00:00", "2026-05-01 09:00:00"]
    assert table["Clock offset (s)"].tolist() == [0.0, 3600.0]
    assert "No camera has a gap of 5 s or longer." in text
    with Store.open(archive.store) as store:
        (entry,) = store.audit.entries(action="view")
    assert entry.user == "the-viewer"
    assert set(entry.details["shown"]) <= {row["crop_id"] for row in archive.crops}


def test_camera_is_opened(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    app = run_app(monkeypatch, archive.store, page="archive", camera="hall")
    assert not app.exception
    assert app.subheader[0].value == "hall"
    assert "Click a crop" in words(app)
    assert {metric.label: metric.value for metric in app.metric}["Clock offset"] == "0 s"
    (back,) = [button for button in app.button if button.label == "All cameras"]
    app = back.click().run()
    assert "camera" not in app.query_params
    assert "2 cameras" in words(app)


def test_invalid_address_is_reported(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    invalid = {"show": "x", "camera": "nowhere", "frame": "zz", "cameras": "-7", "find": "x", "reason": "\0"}
    app = run_app(monkeypatch, archive.store, page="archive", **invalid)
    assert not app.exception
    assert "2 cameras" in words(app)
    assert 'Unknown camera "nowhere". Choose one of: gate, hall.' in words(app)
    app = run_app(monkeypatch, archive.store, page="archive", run="invalid", failures="1e9")
    assert not app.exception
    assert "no run with this id" in words(app)


def test_empty_store_names_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path / "s").close()
    app = run_app(monkeypatch, tmp_path / "s", page="archive")
    assert not app.exception
    assert "vestigo index SOURCE" in words(app)


def test_cameras_are_searched_by_name(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    everything = [camera(f"camera {number:04}") for number in range(1000)]
    monkeypatch.setattr(cameras, "_load_cameras", lambda *key: everything)
    monkeypatch.setattr(cameras, "_show_samples", lambda *a, **k: None)
    app = run_app(monkeypatch, archive.store, page="archive", cameras="3")
    assert not app.exception
    assert app.dataframe[0].value["Camera"].tolist() == [f"camera {number:04}" for number in range(24, 36)]
    app = app.text_input(key="find").set_value("099").run()
    assert app.dataframe[0].value["Camera"].tolist() == [f"camera {number:04}" for number in (99, *range(990, 1000))]
    assert "cameras" not in app.query_params
    app = app.text_input(key="find").set_value("nowhere").run()
    assert "No camera has a matching name" in words(app)
    app.text_input(key="find").set_value("099").run()
    app.get("button_group")[0].set_value("runs").run()
    assert not app.exception
    assert "Select a run" in words(app)
    assert dict(app.query_params) == {"show": "runs"}


def test_runs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_only_admin_retries(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ref, run = failed
    started: list[list[str]] = []
    monkeypatch.setattr(ServerProcesses, "start", lambda self, run, command, log: started.append(list(command)))
    for role in ("viewer", "reviewer"):
        app = run_app(monkeypatch, ref, page="archive", run=run, role=role)
        assert not [button for button in app.button if str(button.key).startswith("queued-retry")]
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin", reason="worker-died")
    (button,) = [button for button in app.button if str(button.key).startswith("queued-retry")]
    assert button.label == "Retry 1 input"
    button.click().run()
    (arguments,) = started
    assert arguments[1:5] == ["-m", "vestigo_ui.cli.main", "runs", "retry"]
    assert {"--by=the-admin", f"--store={ref}", "--reason=worker-died"} <= set(arguments)
    assert arguments[-2:] == ["--", run]


def test_retry_requires_admin(failed: tuple[Path, str]) -> None:
    ref, run = failed
    with Store.open(ref) as store, pytest.raises(UsageError, match="requires the role admin"):
        runs.start_retry(context_of(store, "reviewer"), run)


def test_active_run_is_not_retried(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ref, run = failed
    monkeypatch.setattr(RunRepository, "is_driven", lambda self, run: True)
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin")
    (button,) = [button for button in app.button if str(button.key).startswith("queued-retry")]
    assert button.disabled
    assert "Another process drives this run" in words(app)


def test_progress_of_active_and_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_failed_run_shows_error_to_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = tmp_path / "s"
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, [images("one.jpg")])
        store.runs.take_lease(run.id)
        store.runs.finish(run.id, "failed", error="cannot write to /somewhere: no space left on device")
    app = run_app(monkeypatch, ref, page="archive", run=run.id, role="admin")
    text = words(app)
    assert "no space left on device" in text
    assert f"vestigo runs resume {run.id}" in text
    app = run_app(monkeypatch, ref, page="archive", run=run.id, role="viewer")
    assert "The run failed. Committed inputs remain" in words(app)
    assert "/somewhere" not in words(app)
    app = run_app(monkeypatch, ref, page="archive", show="cameras")
    assert "The store has no crops yet" in words(app)


def test_failed_retry_shows_its_error(failed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command refuses to retry a run of another version."""
    ref, run = failed
    app = run_app(monkeypatch, ref, page="archive", run=run, role="admin")
    (button,) = [button for button in app.button if str(button.key).startswith("queued-retry")]
    app = button.click().run()
    assert shared_processes()._processes[run].wait(300) == 2
    app.run()
    assert "was made by another version of Vestigo" in words(app)
    with Store.open(ref) as store:
        assert log_path(store, run).stat().st_mode & 0o077 == 0
        assert store.runs.totals(run).quarantined == 61
