from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.fake_pipeline import DIM, MODEL, START, begin, crop, crop_table, drive, images, video, work_off
from vestigo.store.open import Store
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.errors import StoreError

OTHER_MODEL = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        yield opened


def add(store: Store, *shards: list[dict[str, Any]], dim: int = DIM, **run: Any) -> None:
    """Index shards of the given rows, each row an input of its own."""
    begun = begin(store, **run)
    plans = [images(*(f"{row['input']}" for row in rows), source=f"{begun.id}-{i}") for i, rows in enumerate(shards)]
    store.shards.plan(begun.id, plans)
    for task, rows in zip(store.shards.pending(begun.id, limit=len(shards)), shards, strict=True):
        file = store.root.write("crops", begun.id, task.id, crop_table(rows, dim))
        store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(i, "done", rows=1) for i in range(len(rows))])
    store.runs.take_lease(begun.id)
    store.runs.finish(begun.id, "succeeded")


def rows_of(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


def numbered_crops(count: int, prefix: str = "", **more: Any) -> list[dict[str, Any]]:
    return [crop(f"{prefix}{number}.jpg", **more) for number in range(count)]


def test_scan_yields_every_row_in_full_batches(store: Store) -> None:
    rows = numbered_crops(23)
    add(store, rows[:5], rows[5:6], rows[6:])
    batches = list(store.crops.scan(["input", "crop_id"], batch_rows=4))
    assert [batch.num_rows for batch in batches] == [4, 4, 4, 4, 4, 3]
    assert batches[0].schema.names == ["input", "crop_id"]
    inputs = {row["crop_id"]: row["input"] for batch in batches for row in batch.to_pylist()}
    assert inputs == {row["crop_id"]: row["input"] for row in rows}
    [run] = store.runs.list()
    assert {(row["model"], row["run"]) for row in rows_of(store.crops.scan(["model", "run"]))} == {(MODEL, run.id)}


def test_row_round_trips(store: Store) -> None:
    rows = numbered_crops(3, pid=7, offset_s=1.25)
    add(store, rows)
    for stored, row in zip(store.crops.get([row["crop_id"] for row in rows]), rows, strict=True):
        assert np.array_equal(np.float32(stored.pop("embedding")), row["embedding"])
        assert stored.pop("model") == MODEL
        assert stored == {name: narrow(value) for name, value in row.items() if name != "embedding"}


def narrow(value: Any) -> Any:
    """What float32 makes of a number."""
    return float(np.float32(value)) if isinstance(value, float) else value


def test_embeddings_of_several_models_are_never_mixed(store: Store) -> None:
    add(store, numbered_crops(2))
    wide = [crop(f"{number}.jpg", embedding=np.ones(6, np.float32)) for number in range(3)]
    add(store, wide, dim=6, model=OTHER_MODEL, fingerprint="e" * 64)
    with pytest.raises(StoreError, match=rf"several models \({MODEL}, {OTHER_MODEL}\)"):
        store.crops.scan(["embedding"])
    assert len(rows_of(store.crops.scan(["embedding"], model=MODEL))) == 2
    assert len(rows_of(store.crops.scan(["crop_id", "model"]))) == 5
    assert [model.digest for model in store.models.list()] == [OTHER_MODEL, MODEL]
    shared = crop("1.jpg")["crop_id"]
    assert [row["model"] for row in store.crops.get([shared], ["frame"])] == [OTHER_MODEL]
    assert [row["model"] for row in store.crops.get([shared], ["frame"], model=MODEL)] == [MODEL]
    with pytest.raises(StoreError, match=r"no crops of model c+"):
        store.crops.scan(["crop_id"], model="c" * 64)
    assert store.check().problems == ()


def test_crops_are_found_among_many_files_and_row_groups(store: Store) -> None:
    rows = numbered_crops(2100)
    add(store, rows[:2050], *([row] for row in rows[2050:]))
    requests = [rows[i]["crop_id"] for i in (2099, 0, 1500, 2060, 0)]
    stored = store.crops.get(requests, ["input", "image"])
    assert [row["crop_id"] for row in stored] == requests
    assert [row["input"] for row in stored] == [f"{i}.jpg" for i in (2099, 0, 1500, 2060, 0)]
    assert set(stored[0]) == {"crop_id", "model", "input", "image"}
    assert store.crops.get([]) == []
    with pytest.raises(StoreError, match=r"crop 00ff is not in the store"):
        store.crops.get([requests[0], "00ff"])


def test_unknown_columns_are_named(store: Store) -> None:
    for read in (lambda: store.crops.scan(["colour"]), lambda: store.crops.get(["x"], ["colour"])):
        with pytest.raises(StoreError, match=r"no column colour; the columns are crop_id, source"):
            read()


def test_cameras_and_times_choose_rows(store: Store) -> None:
    rows = [crop(f"{n}.jpg", camera=f"c{n % 3}", time=START + timedelta(minutes=n)) for n in range(30)]
    rows.append(crop("timeless.jpg", camera="c0", time=None))
    add(store, rows[:10], rows[10:20], rows[20:])
    store.cameras.set_clock_offset("c1", 600.0)
    offsets = {"c1": timedelta(seconds=600)}
    instants = [None, *(START + timedelta(minutes=n) for n in (-5, 0, 10, 11, 25, 40))]
    for cameras in (None, ["c1"], ["c0", "c2"]):
        for since in instants:
            for until in instants:
                expected = {}
                for row in rows:
                    time = row["time"] and row["time"] + offsets.get(row["camera"], timedelta())
                    if cameras is not None and row["camera"] not in cameras:
                        continue
                    if (since and not (time and time >= since)) or (until and not (time and time < until)):
                        continue
                    expected[row["input"]] = time
                batches = store.crops.scan(["input", "time"], cameras=cameras, since=since, until=until)
                assert {row["input"]: row["time"] for row in rows_of(batches)} == expected


def test_clock_offsets_change_what_is_read_and_no_file(store: Store) -> None:
    add(store, numbered_crops(4))
    before = store.check()
    assert [(camera.name, camera.clock_offset_s) for camera in store.cameras.list()] == [("c1", 0.0), ("c2", 0.0)]
    store.cameras.set_clock_offset("c2", -1.5)
    assert [(camera.name, camera.clock_offset_s) for camera in store.cameras.list()] == [("c1", 0.0), ("c2", -1.5)]
    for row in numbered_crops(4):
        [stored] = store.crops.get([row["crop_id"]], ["time"])
        assert stored["time"] - row["time"] == timedelta(seconds=-1.5 if row["camera"] == "c2" else 0)
    assert store.check() == before
    with pytest.raises(StoreError, match=r'Unknown camera "c9"\. Cameras in this store: c1, c2\.'):
        store.cameras.set_clock_offset("c9", 1)
    with pytest.raises(StoreError, match="must be a number"):
        store.cameras.set_clock_offset("c1", float("nan"))


def index_again(
    store: Store, names: list[str], fingerprint: str, *, bad: tuple[str, ...] = (), end: bool = True
) -> str:
    """Replace what other fingerprints hold of some images; their crops now carry a quality of 1."""
    run = begin(store, fingerprint=fingerprint, replaces=True)
    store.shards.plan(run.id, [images(*names)])
    [task] = store.shards.pending(run.id, limit=9)
    good = [name for name in names if name not in bad]
    file = store.root.write("crops", run.id, task.id, crop_table([crop(name, quality=1.0) for name in good]))
    outcomes = [
        InputOutcome(i, "quarantined", reason="torn", detail="torn") if name in bad else InputOutcome(i, "done", rows=1)
        for i, name in enumerate(names)
    ]
    store.shards.commit(task.id, files=[file], outcomes=outcomes)
    if end:
        store.runs.take_lease(run.id)
        store.runs.finish(run.id, "succeeded")
    return run.id


def visible(store: Store) -> dict[str, float]:
    rows = rows_of(store.crops.scan(["input", "quality"]))
    assert len({row["input"] for row in rows}) == len(rows)
    return {row["input"]: row["quality"] for row in rows}


def first_index(store: Store, *groups: list[str]) -> str:
    run = begin(store)
    store.shards.plan(run.id, [images(*names) for names in groups])
    for task in store.shards.pending(run.id, limit=9):
        file = store.root.write("crops", run.id, task.id, crop_table([crop(name, quality=0.0) for name in task.inputs]))
        outcomes = [InputOutcome(i, "done", rows=1) for i in range(len(task.inputs))]
        store.shards.commit(task.id, files=[file], outcomes=outcomes)
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "succeeded")
    return run.id


def test_replacing_run_is_visible_atomically(store: Store) -> None:
    first_index(store, ["a", "b"], ["c", "d"])
    again = index_again(store, ["a", "b", "c"], "e" * 64, bad=("b",), end=False)
    assert visible(store) == {"a": 0, "b": 0, "c": 0, "d": 0}
    assert store.check().problems == ()
    store.runs.take_lease(again)
    store.runs.finish(again, "failed")
    assert visible(store) == {"a": 0, "b": 0, "c": 0, "d": 0}
    store.runs.take_lease(again)
    store.runs.finish(again, "succeeded")
    assert visible(store) == {"a": 1, "b": 0, "c": 1, "d": 0}
    assert store.crops.get([crop("a")["crop_id"]], ["quality"])[0]["quality"] == 1
    report = store.check()
    assert (report.problems, report.crops) == ((), 4)
    assert store.shards.unplanned("f" * 64, ["archive:a", "archive:b"]) == {"archive:a"}


def test_replaced_wholly_and_back_again(store: Store) -> None:
    first = first_index(store, ["a", "b"])
    before = store.check().digest
    index_again(store, ["a", "b"], "e" * 64)
    assert visible(store) == {"a": 1, "b": 1}
    assert store.vacuum(now=True).files == 1
    assert store.runs.totals(first).crops == 2
    assert first_index(store, ["a"]) != first
    assert store.shards.other_fingerprints("f" * 64, ["archive:a"]) == {"e" * 64}
    with pytest.raises(StoreError, match="planned already"):
        first_index(store, ["a"])
    assert store.check().digest != before


def test_video_is_replaced_as_a_whole_and_its_unfinished_run_stays_closed(store: Store) -> None:
    old = begin(store)
    store.shards.plan(old.id, video("walk.avi", slices=3))
    for task in store.shards.pending(old.id, limit=2):
        work_off(store, task)
    new = begin(store, fingerprint="e" * 64, replaces=True)
    inputs = (InputPlan("walk.avi[0]", "walk.avi:0"),)
    store.shards.plan(
        new.id,
        [ShardPlan("slice", "archive", "walk.avi", {}, inputs), ShardPlan("assembly", "archive", "walk.avi", {})],
    )
    drive(store, new.id)
    assert {row["run"] for row in rows_of(store.crops.scan(["run"]))} == {new.id}
    assert store.shards.pending(old.id, limit=9) == []
    drive(store, old.id)
    assert {row["run"] for row in rows_of(store.crops.scan(["run"]))} == {new.id}
    assert [failure.reason for failure in store.runs.failures(old.id) if failure.frame is None] == ["replaced"]
    assert store.check().problems == ()
