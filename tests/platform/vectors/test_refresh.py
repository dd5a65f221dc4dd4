"""The vector index: in steps as from scratch, after replaced inputs, kills and damage, against a scan of the store."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.platform.sightings.test_refresh import STEPS, step
from tests.support.fake_pipeline import MODEL
from tests.support.forkserver import preloaded_context
from tests.support.sightings_archive import OTHER, add, random_files
from vestigo.ranking.camera_bias import UNIT
from vestigo.store import faults
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.vectors import index as vectors
from vestigo.vectors import refresh
from vestigo.vectors.index import EPOCH, VectorIndex
from vestigo.vectors.pack import FACTS, UNKNOWN_TIME
from vestigo.vectors.refresh import camera_sums, open_packs, refresh_packs, vectors_folder
from vestigo_models.errors import StoreError

pytestmark = pytest.mark.slow

FORKS = preloaded_context("vestigo.vectors.index", "tests.support.sightings_archive")
SMALL = 100
"""Rows of a pack: two files of 40 rows, or a part of a long one."""

Row = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        yield opened


@pytest.fixture
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PACK_ROWS", SMALL)


def model_of(store: Store, digest: str = MODEL) -> Model:
    return next(model for model in store.models.list() if model.digest == digest)


def contents(store: Store, digest: str = MODEL) -> dict[str, Row]:
    """Crop -> all that the index says of it, descriptors as they are in the store."""
    index = VectorIndex.open(store.ref, store.crops, model_of(store, digest))
    rows = {}
    for pack in index.packs:
        ids = [name.decode() for name in pack.ids]
        assert sorted(pack.key_rows.tolist()) == list(range(len(pack)))
        vectors = pack.crops.crops.take(np.arange(len(pack))).vectors
        for row, fact in enumerate(pack.facts(np.arange(len(pack)), FACTS).to_pylist()):
            assert ids[row] not in rows
            place = (int(pack.files[row]), int(pack.places[row]))
            moment = int(pack.times[row])
            time = None if moment == UNKNOWN_TIME else EPOCH + timedelta(microseconds=moment)
            rows[ids[row]] = fact | {
                "time": time,
                "embedding": vectors[row].tolist(),
                "attributes": pack.probabilities[row].tolist(),
                "place": place,
            }
        for camera, segment in pack.crops.cameras:
            assert {rows[name]["camera"] for name in ids[segment]} == {camera}
    assert len(index) == len(rows)
    return rows


def scanned(store: Store, digest: str = MODEL) -> dict[str, Row]:
    columns = (*FACTS, "time", "embedding", "attributes", "crop_id")
    rows = {row["crop_id"]: row for batch in store.crops.scan(columns, model=digest) for row in batch.to_pylist()}
    return {crop: {name: row[name] for name in columns if name != "crop_id"} for crop, row in rows.items()}


def check(store: Store, digest: str = MODEL) -> dict[str, Row]:
    """The index has the visible crops, where they are, and sums of them by camera."""
    found = contents(store, digest)
    assert {crop: {name: row[name] for name in row if name != "place"} for crop, row in found.items()} == scanned(
        store, digest
    )
    for crop, row in found.items():
        file, place = row["place"]
        assert store.crops.get_at({file: [place]}, ["frame"]).keys() == {crop}
    check_sums(store, found, digest)
    return found


def check_sums(store: Store, rows: dict[str, Row], digest: str) -> None:
    index = open_packs(store.ref)
    packs = refresh_packs(store.crops, index, model_of(store, digest), lambda *_: None)
    sums = camera_sums(index, packs)
    index.close()
    members = Counter(row["tracklet"] or crop for crop, row in rows.items())
    assert sums.keys() == {row["camera"] for row in rows.values()}
    for camera, part in sums.items():
        of_camera = {crop: row for crop, row in rows.items() if row["camera"] == camera}
        weights = [1 / members[row["tracklet"] or crop] for crop, row in of_camera.items()]
        vectors = [np.array(row["embedding"]) for row in of_camera.values()]
        total = sum((weight * vector for weight, vector in zip(weights, vectors, strict=True)), np.zeros(4))
        assert part.weights * UNIT == pytest.approx([sum(weights)], abs=1e-6)
        np.testing.assert_allclose(part.vectors * UNIT, total, atol=1e-6)


@pytest.mark.usefixtures("_small_packs")
def test_stepwise_equals_scratch(store: Store) -> None:
    for number in range(STEPS):
        step(store, number)
        stepwise = check(store)
        shutil.rmtree(vectors_folder(store.ref))
        assert check(store) == stepwise


def test_long_files_are_cut_into_packs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PACK_ROWS", 16)
    add(store, random_files(1))
    check(store)
    packs = list(vectors_folder(store.ref).glob("*.arrow"))
    # Four files of 40 rows, each in parts of 16, 16 and 8, two of which share a pack.
    assert 10 <= len(packs) <= 12


def test_small_packs_become_larger_ones(store: Store) -> None:
    for number in range(6):
        add(store, random_files(number, files=1, prefix=f"run{number}-"), fingerprint="abcdef"[number] * 64)
        check(store)
        names = {path.name for path in vectors_folder(store.ref).glob("*.arrow")}
        assert len(names) <= number.bit_length() + 1


@pytest.mark.usefixtures("_small_packs")
def test_models_have_packs_of_their_own(store: Store) -> None:
    add(store, random_files(1, prefix="a"))
    add(store, random_files(2, prefix="b"), model=OTHER, fingerprint="e" * 64)
    assert check(store, MODEL).keys().isdisjoint(check(store, OTHER))
    # Neither has replaced those of the other.
    assert check(store, MODEL)


def test_reads_only_new_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "PACK_ROWS", 160)
    index = open_packs(store.ref)
    seen: list[int] = []
    for number in range(2):
        step(store, number)
        refresh_packs(store.crops, index, model_of(store), lambda rows, _: seen.append(rows))
        assert seen[-1] == 160
        seen.clear()
        refresh_packs(store.crops, index, model_of(store), lambda rows, _: seen.append(rows))
        assert not seen
    index.close()


def open_and_die(ref: Path, point: int) -> None:
    refresh.PACK_ROWS = SMALL
    with Store.open(ref) as store:
        faults.install(faults.die_at(point))
        VectorIndex.open(store.ref, store.crops, model_of(store))


@pytest.mark.usefixtures("_small_packs")
def test_resumes_after_kill_at_any_fault_point(store: Store) -> None:
    for number in range(STEPS):
        step(store, number)
    wanted = check(store)
    shutil.rmtree(vectors_folder(store.ref))
    for point in count(1):
        process = FORKS.Process(target=open_and_die, args=(Path(store.ref), point))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            break
        assert check(store) == wanted
        # Nothing that the killed process wrote is left over.
        assert len(list(vectors_folder(store.ref).glob("*.arrow*"))) == len(pack_names(store))
        shutil.rmtree(vectors_folder(store.ref))
    assert point > 6


def pack_names(store: Store) -> list[str]:
    index = open_packs(store.ref)
    with index.read() as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM pack WHERE bytes > 0")]
    index.close()
    return names


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_a_number(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write_nonsense(path: Path) -> None:
    path.write_bytes(b"no pack " * 1000)


@pytest.mark.usefixtures("_small_packs")
@pytest.mark.parametrize("damage", [Path.unlink, cut, change_a_number, write_nonsense])
def test_damaged_packs_are_made_again(store: Store, damage: Callable[[Path], None]) -> None:
    step(store, 0)
    wanted = check(store)
    damage(next(vectors_folder(store.ref).glob("*.arrow")))
    assert check(store) == wanted


def test_a_pack_that_this_version_does_not_read_is_made_again(store: Store) -> None:
    step(store, 0)
    wanted = check(store)
    (path,) = vectors_folder(store.ref).glob("*.arrow")
    state = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 0'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    # As in another process, which has not mapped the pack yet.
    vectors._opened.clear()
    assert check(store) == wanted
    assert not path.exists()


def test_damaged_and_other_lists_of_packs_are_made_again(store: Store) -> None:
    step(store, 0)
    wanted = check(store)
    path = vectors_folder(store.ref) / "packs.sqlite"
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    for wal in path.parent.glob("packs.sqlite-*"):
        wal.unlink()
    path.write_bytes(b"no database, " * 1000)
    assert check(store) == wanted
    index = open_packs(store.ref)
    with index.read() as connection:
        connection.execute("COMMIT")
        connection.execute("PRAGMA user_version = 99")
        connection.execute("BEGIN")
    index.close()
    assert check(store) == wanted
    assert len(list(path.parent.glob("*.arrow"))) == 1


@pytest.mark.usefixtures("_small_packs")
def test_processes_and_threads_share_the_work(store: Store) -> None:
    for number in range(STEPS):
        step(store, number)
    others = [FORKS.Process(target=open_and_die, args=(Path(store.ref), 10**6)) for _ in range(2)]
    for process in others:
        process.start()
    wanted = len(scanned(store))
    with ThreadPoolExecutor(2) as pool:
        opened = [pool.submit(VectorIndex.open, store.ref, store.crops, model_of(store)) for _ in range(4)]
        assert [len(task.result()) for task in opened] == [wanted] * 4
    for process in others:
        process.join()
        assert process.exitcode == 0
    check(store)


@pytest.mark.usefixtures("_small_packs")
def test_a_file_whose_inputs_are_all_replaced(store: Store) -> None:
    add(store, random_files(1, files=2))
    check(store)
    add(store, random_files(2, files=1), fingerprint="e" * 64, replaces=True)
    assert len(check(store)) == 80


def test_an_index_that_cannot_be_written_is_reported(store: Store) -> None:
    step(store, 0)
    vectors_folder(store.ref).write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be created"):
        contents(store)


def test_a_full_disk_is_reported_and_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    step(store, 0)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        contents(store)
    assert not list(vectors_folder(store.ref).glob("*.arrow*"))
    monkeypatch.undo()
    check(store)


def test_a_lost_file_of_the_store_is_reported(store: Store) -> None:
    step(store, 0)
    lost = store.crops.files()[0]
    (Path(store.data) / lost.path).unlink()
    with pytest.raises(StoreError, match="vestigo store check"):
        contents(store)
