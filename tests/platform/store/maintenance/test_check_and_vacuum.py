"""Checking, digesting, vacuuming and exporting."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import delete, update

from tests.support.fake_pipeline import MODEL, begin, crop, crop_table, drive, images, index
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW, LABELS, QUERIES, RANKING, crop_schema
from vestigo.store.review.records import SamplingDesign
from vestigo.store.runs.records import InputOutcome, Owner
from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow
from vestigo_models.errors import LeaseLost, StoreError
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    index(tmp_path / "s")
    with Store.open(tmp_path / "s") as opened:
        yield opened


def commit_rows(store: Store, *shards: list[dict[str, Any]]) -> str:
    run = begin(store)
    store.shards.plan(run.id, [images(*(row["crop_id"] for row in rows)) for rows in shards])
    for task, rows in zip(store.shards.pending(run.id, limit=99), shards, strict=True):
        file = store.root.write("crops", run.id, task.id, crop_table(rows))
        store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(i, "done", rows=1) for i in range(len(rows))])
    return run.id


def naive_digest(rows: list[dict[str, Any]]) -> str:
    """The digest by its definition, a row and a column at a time."""
    total = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row["crop_id"]):
        parts = []
        for field in crop_schema(len(row["embedding"])):
            value = row[field.name]
            if field.name == "source":
                continue
            if str(field.type).startswith(("list", "fixed_size_list")):
                value = b"".join(struct.pack("<f", number) for number in value)
            if isinstance(value, str):
                value = value.encode()
            if isinstance(value, bytes):
                parts.append(struct.pack("<q", len(value)) + value)
                continue
            if field.name == "time" and value is not None:
                value = round(value.timestamp() * 1e6)
            kind = {"int32": "i", "int64": "q", "float": "f", "double": "d"}.get(str(field.type), "q")
            parts.append(struct.pack(f"<B{kind}", value is not None, value or 0))
        total.update(hashlib.sha256(b"".join(parts)).digest())
    return total.hexdigest()


def test_digest_is_that_of_the_rows_however_they_are_spread(tmp_path: Path) -> None:
    rows = [crop(f"{n}.jpg", pid=n if n % 2 else None, offset_s=None if n % 3 else n / 7) for n in range(40)]
    rows[5] |= {"time": None, "camera": "Überwachung", "image": b""}
    for n, row in enumerate(rows):
        row |= {"visible": n % 4, "attributes": [n / 40, 1 - n / 40], "regions": [0.5, 0.25, 0.25]}
    spread = {
        "one": [rows],
        "many": [rows[20:], *([row] for row in rows[:20])],
        "moved": [[row | {"source": "elsewhere"} for row in rows]],
    }
    digests = set()
    for name, shards in spread.items():
        with Store.open(tmp_path / name) as store:
            commit_rows(store, *shards)
            report = store.check()
            assert report.intact
            digests.add(report.digest)
    assert digests == {naive_digest(rows)}


@pytest.mark.parametrize(
    "change",
    [
        {"image": b"other"},
        {"x": 1.25},
        {"camera": "c9"},
        {"tracklet": "t"},
        {"pid": 0},
        {"embedding": np.float32([0, 0, 0, 1])},
        {"visible": 1},
        {"attributes": [0.5]},
        {"regions": [0.5]},
        {"offset_s": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_sees_every_change(tmp_path: Path, change: dict[str, Any]) -> None:
    digests = []
    for name, more in (("as-it-was", {}), ("changed", change)):
        with Store.open(tmp_path / name) as store:
            commit_rows(store, [crop("a.jpg", **more)])
            digests.append(store.check().digest)
    assert digests[0] != digests[1]


def crops_file(store: Store) -> Path:
    [run] = store.runs.list()
    return Path(store.data) / store.shards.file_paths(run.id, kind="crops")[0]


def sql(statement: Any) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        with store.database.write() as session:
            session.execute(statement)

    return change


def flip_a_byte(store: Store) -> None:
    path = crops_file(store)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def show_a_crop_twice(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [images("copy.jpg")])
    [task] = store.shards.pending(run.id, limit=1)
    file = store.root.write("crops", run.id, task.id, crop_table([crop("one.jpg", input="copy.jpg")]))
    store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(0, "done", rows=1)])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda store: crops_file(store).unlink(), r"file .*\.parquet is missing"),
        (lambda store: os.truncate(crops_file(store), 100), r"has other bytes than were written"),
        (flip_a_byte, r"has other bytes than were written"),
        (show_a_crop_twice, r"crop [0-9a-f]{20} of model a{64} is visible twice"),
        (sql(update(DataFileRow).where(DataFileRow.kind == "crops").values(rows=9)), r"rows, the catalogue lists 9"),
        (sql(update(DataFileRow).values(schema_version=9)), r"schema version 9, this Vestigo reads up to 2"),
        (sql(update(DataFileRow).where(DataFileRow.kind == "tracklets").values(kind="ranking")), r"column query is"),
        (sql(delete(InputRow).where(InputRow.name == "empty.jpg")), r"planned 7 inputs, holds 6"),
        (sql(update(RunRow).values(planned_inputs=8)), r"planned 8 inputs, holds 7: 4 done, 1 empty, 2 quarantined"),
        (sql(update(InputRow).where(InputRow.name == "one.jpg").values(state="pending")), r"input that is pending"),
        (sql(update(InputRow).where(InputRow.name == "one.jpg").values(state="lost")), r"input that is lost"),
        (sql(update(InputRow).where(InputRow.name == "one.jpg").values(rows=2)), r"has 2 rows of its inputs and 1 in"),
        (
            sql(update(InputRow).where(InputRow.name == "empty.jpg").values(rows=1)),
            r"empty\.jpg .* is empty with 1 rows",
        ),
        (sql(update(ShardRow).where(ShardRow.kind == "images").values(state="pending")), r"shard that is pending"),
    ],
)
def test_check_finds(store: Store, damage: Callable[[Store], None], complaint: str) -> None:
    assert store.check().intact
    damage(store)
    report = store.check()
    assert not report.intact
    assert any(re.search(complaint, problem) for problem in report.problems), report.problems


def test_check_tells_how_far_it_is(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    report = store.check(lambda done, total: seen.append((done, total)))
    assert seen == [(done, report.files) for done in range(report.files + 1)]


def stray(store: Store, path: str, age: float = 0.0) -> Path:
    file = Path(store.data) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 10)
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_vacuum_removes_unreferenced_files(store: Store) -> None:
    before = store.check()
    run = store.runs.list()[0]
    old = stray(store, f"{run.id}/crops/1-dead.parquet", age=7200)
    partial = stray(store, f"{run.id}/crops/1-dead.parquet.partial", age=7200)
    young = stray(store, f"{run.id}/crops/2-dead.parquet")
    foreign = stray(store, "notes/crops.txt", age=7200)
    assert store.check().unreferenced == 3
    assert store.vacuum(dry_run=True).paths == tuple(f"{run.id}/crops/{file.name}" for file in (old, partial))
    assert old.exists()
    assert (store.vacuum().bytes, old.exists(), partial.exists(), young.exists()) == (20, False, False, True)
    # The candidates were retired a moment ago: a reader may still have them open.
    removed = store.vacuum(now=True)
    assert (removed.files, young.exists(), foreign.exists()) == (3, False, True)
    assert [path for path in removed.paths if "/candidates/" in path]
    assert store.vacuum(now=True).files == 0
    after = store.check()
    assert (after.problems, after.digest, after.files) == ((), before.digest, before.files)


def test_vacuum_keeps_files_of_running_run(store: Store) -> None:
    run = begin(store, fingerprint="e" * 64)
    store.shards.plan(run.id, [images("new.jpg")])
    store.runs.take_lease(run.id)
    [task] = store.shards.pending(run.id, limit=1)
    file = store.root.write("crops", run.id, task.id, crop_table([crop("new.jpg")]))
    os.utime(Path(store.data) / file.path, (0, 0))
    assert file.path not in store.vacuum(now=True).paths
    store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(0, "done", rows=1)])
    store.runs.finish(run.id, "succeeded")
    assert store.check().intact


def test_driver_whose_files_vacuum_deletes_cannot_commit(store: Store) -> None:
    # The process was suspended for longer than its lease lasts, and no other one has taken the run.
    run = begin(store, fingerprint="e" * 64)
    store.shards.plan(run.id, [images("new.jpg")])
    owner = Owner("elsewhere.example.org", 1)
    store.runs.take_lease(run.id, owner)
    [task] = store.shards.pending(run.id, limit=1)
    file = store.root.write("crops", run.id, task.id, crop_table([crop("new.jpg")]))
    with store.database.write() as session:
        session.execute(update(RunRow).values(heartbeat=datetime.now(UTC) - timedelta(seconds=90)))
    assert file.path in store.vacuum(now=True, dry_run=True).paths
    store.runs.heartbeat(run.id, owner)
    with store.database.write() as session:
        session.execute(update(RunRow).values(heartbeat=datetime.now(UTC) - timedelta(seconds=90)))

    def commit_between_check_and_transaction(point: str) -> None:
        if point == "commit.before":
            assert file.path in store.vacuum(now=True).paths

    faults.install(commit_between_check_and_transaction)
    try:
        with pytest.raises(LeaseLost, match=r"driven by no process, no longer by process 1 on elsewhere"):
            store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(0, "done", rows=1)], owner=owner)
    finally:
        faults.install(None)
    assert store.check().intact


def save_ranking(store: Store) -> None:
    store.rankings.save("all", model=MODEL, rows=RANKING.empty_table(), queries=QUERIES.empty_table(), settings={})


def save_labels(store: Store) -> None:
    store.label_sets.save(LABELS.empty_table().to_batches(), digest="d" * 64, tasks=0, projects=())


def save_draw(store: Store) -> None:
    store.review.ensure_project("p", MARKET_1501)
    design = SamplingDesign(model=MODEL, strategy="random", unit="tracklet", budget=1, seed=0, population=0)
    store.review.save_sample("p", design, [], DRAW.empty_table().to_batches())


@pytest.mark.parametrize("save", [save_ranking, save_labels, save_draw])
def test_vacuum_keeps_files_that_are_about_to_be_committed(store: Store, save: Callable[[Store], None]) -> None:
    store.vacuum(now=True)
    kept: list[int] = []

    def vacuum(point: str) -> None:
        if point in ("ranking.before", "labels.before", "draw.before"):
            kept.append(store.vacuum(now=True).files)

    faults.install(vacuum)
    try:
        save(store)
    finally:
        faults.install(None)
    assert kept == [0]
    report = store.check()
    assert (report.problems, report.unreferenced) == ((), 0)


@pytest.mark.parametrize(
    ("host", "age", "is_kept"),
    [(None, 0, False), ("elsewhere.example.org", 60, True), ("elsewhere.example.org", 7200, False)],
)
def test_vacuum_removes_files_marked_by_dead_process(
    store: Store, monkeypatch: pytest.MonkeyPatch, host: str | None, age: float, is_kept: bool
) -> None:
    store.vacuum(now=True)
    monkeypatch.setattr("vestigo.store.maintenance.vacuum.is_alive", lambda pid: pid != 12345)
    name = f"{host or Owner.current().host}.12345.{'a' * 16}"
    marker = stray(store, f"rankings/pending/{name}", age=age)
    file = stray(store, "rankings/ranking/0-dead.parquet", age=age)
    assert store.vacuum(now=True).files == (0 if is_kept else 2)
    assert marker.exists() == file.exists() == is_kept


def test_export_in_the_market_layout(tmp_path: Path) -> None:
    rows = [crop(f"p{n}.jpg", pid=3, camera=f"cam{n % 2}", quality=n / 10) for n in range(5)]
    rows += [crop("junk.jpg", pid=-1), crop("d1.jpg", pid=0, camera="cam0"), crop("d2.jpg", pid=0, camera="cam0")]
    rows += [crop(f"t{n}.jpg", tracklet="t1", frame=10 * n, camera="cam1") for n in range(2)]
    rows += [crop("nobody.jpg")]
    out = tmp_path / "market"
    with Store.open(tmp_path / "s") as store:
        commit_rows(store, rows[:4], rows[4:])
        report = store.export_market(out)
        assert (report.crops, report.left_out, report.queries) == (10, 1, 3)
        with pytest.raises(StoreError, match="is not an empty folder"):
            store.export_market(out)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.jpg"))
    assert all(re.fullmatch(r"(query|bounding_box_test)/(-1|\d{4})_c\ds1_\d{6}_\d\d\.jpg", name) for name in names)
    assert len(names) == 10
    assert (out / "bounding_box_train").is_dir()
    with_people = [path for folder in (out, tmp_path / "s" / "data") for path in folder.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in with_people} == {0o600}
    with (out / "crops.csv").open(newline="") as stream:
        table = {row["crop_id"]: row for row in csv.DictReader(stream)}
    assert sorted(row["file"] for row in table.values()) == names
    by_name = {row["input"]: row for row in rows}
    files = {row["input"]: row["file"] for row in table.values()}
    for name, file in files.items():
        assert (out / file).read_bytes() == by_name[name]["image"]
    # The best view of a person and camera is the query; junk and distractors are never asked for.
    assert {name for name, file in files.items() if file.startswith("query/")} == {
        "p3.jpg",
        "p4.jpg",
        max(("t0.jpg", "t1.jpg"), key=lambda name: by_name[name]["quality"]),
    }
    assert files["junk.jpg"].startswith("bounding_box_test/-1_")
    assert "_000010_" in files["t1.jpg"]
    assert files["t0.jpg"].split("/")[1].startswith("0004_c")


def test_an_empty_store_has_nothing_to_export(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store, pytest.raises(StoreError, match="holds no crops yet"):
        store.export_market(tmp_path / "out")


def test_check_finds_numbers_that_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestigo.store.parquet.files.rows_problem", lambda kind, batch: None)
    with Store.open(tmp_path / "s") as store:
        commit_rows(store, [crop("a"), crop("b", embedding=[0, math.nan, 0, 0])])
        (problem,) = store.check().problems
    assert f"has 1 rows with numbers that are not finite, of model {MODEL}" in problem


def test_files_of_the_wrong_shape_are_not_written(store: Store) -> None:
    good = crop_table([crop("a")])
    for table, complaint in (
        (good.drop_columns(["dhash"]), "column dhash is missing, not int64"),
        (good.drop_columns(["embedding"]), "column embedding is not a fixed-size list"),
        (good.append_column("more", pa.array([1])), "column more does not belong to crops"),
        (crop_table([crop("a", camera=None)]), "column camera is null in 1 rows"),
        (crop_table([crop("a"), crop("b", embedding=[0, math.nan, 0, 0])]), "1 rows have numbers that are not finite"),
        (crop_table([crop("a", regions=[math.inf])]), "1 rows have numbers that are not finite"),
    ):
        with pytest.raises(StoreError, match=complaint):
            store.root.write("crops", "run", 1, table)
    with pytest.raises(StoreError, match="without rows needs a schema"):
        store.root.write("candidates", "run", 1, iter(()))
    assert store.check().unreferenced == 0


def test_run_without_shards_keeps_the_digest(store: Store) -> None:
    before = store.check()
    run = begin(store, fingerprint="e" * 64)
    store.shards.plan(run.id, [])
    drive(store, run.id)
    assert store.check().digest == before.digest
