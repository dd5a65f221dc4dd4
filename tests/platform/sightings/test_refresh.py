"""Bringing the browse index up to date: in steps as from scratch, after crashes, by several processes, after damage."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.forkserver import preloaded_context
from tests.support.sightings_archive import add, contents, random_files, refreshed, sightings
from vestigo.sightings import refresh
from vestigo.sightings.database import index_path
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo_models.errors import StoreError

pytestmark = pytest.mark.slow

FORKS = preloaded_context("vestigo.sightings.index", "tests.support.sightings_archive")
STEPS = 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        yield opened


def step(store: Store, number: int) -> None:
    """What happens to a store between two looks at it: more crops, and inputs of the first run indexed again."""
    if number < STEPS - 1:
        add(store, random_files(number, prefix=f"run{number}-"), fingerprint="abc"[number] * 64)
    else:
        again = random_files(9, files=2, prefix="run0-")
        remaining = [[row for row in rows if not row["input"].endswith("-2")] for rows in again]
        add(store, [*remaining, random_files(10, files=3, prefix="run0-")[2]], fingerprint="d" * 64, replaces=True)


def from_scratch(store: Store) -> list[object]:
    index_path(store.ref).unlink()
    return refreshed(Path(store.ref))


def shown(index: BrowseIndex) -> list[str]:
    return [sighting.crop for sighting in index.page(MODEL, ALL_SIGHTINGS, offset=0, limit=10_000)]


def test_stepwise_refresh_equals_new_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "BATCH_ROWS", 70)
    progress: list[tuple[int, int]] = []
    with BrowseIndex.open(store) as index:
        for number in range(STEPS):
            step(store, number)
            assert index.pending() > 0
            assert index.refresh(lambda done, total: progress.append((done, total)))
            assert progress[-1][0] == progress[-1][1]
            assert index.pending() == 0
            assert not index.refresh()
            assert shown(index) == [sighting["crop"] for sighting in sightings(store)]
            crops = [row["crop_id"] for sighting in sightings(store) for row in sighting["rows"]]
            assert index.rows(crops, ["input", "time"], model=MODEL) == store.crops.get(crops, ["input", "time"])
        assert sum(len(file.hidden) for file in store.crops.files()) > 0
        # Four files of forty crops, seventy crops at most a step.
        assert progress[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert contents(index) == from_scratch(store)
        assert store.check().problems == ()


def test_clock_offsets_need_no_refresh(store: Store) -> None:
    step(store, 0)
    with BrowseIndex.open(store) as index:
        index.refresh()
        before, name = index.page(MODEL, ALL_SIGHTINGS, offset=0, limit=999), index.snapshot
        store.cameras.set_clock_offset("hall", -4000)
        assert not index.refresh()
        assert index.snapshot == store.crops.snapshot() != name
        after = index.page(MODEL, ALL_SIGHTINGS, offset=0, limit=999)
        for sighting, then in zip(after, before, strict=True):
            moved = timedelta(seconds=-4000 if sighting.camera == "hall" else 0)
            assert sighting.time == (None if then.time is None else then.time + moved)


def test_crops_added_after_refresh_are_read_from_store(store: Store) -> None:
    step(store, 0)
    with BrowseIndex.open(store) as index:
        index.refresh()
        replaced = sightings(store)[0]["crop"]
        step(store, 1)
        late = next(sighting["crop"] for sighting in sightings(store) if index.find(sighting["crop"], MODEL) is None)
        assert index.rows([late, replaced], ["camera"], model=MODEL) == store.crops.get([late, replaced], ["camera"])


def test_replaced_crops_are_hidden_before_refresh(store: Store) -> None:
    step(store, 0)
    with BrowseIndex.open(store) as index:
        index.refresh()
        old = {row["crop_id"] for sighting in sightings(store) for row in sighting["rows"]}
        step(store, STEPS - 1)
        store.vacuum(now=True)
        replaced = old - {row["crop_id"] for sighting in sightings(store) for row in sighting["rows"]}
        assert replaced
        with pytest.raises(StoreError, match="is not in the store"):
            index.rows(sorted(replaced)[:1], ["image"], model=MODEL)


def refresh_and_die(ref: Path, point: int) -> None:
    """Refresh until fault point number `point`; ends with SIGKILL unless all is done before."""
    refresh.BATCH_ROWS = 70
    with Store.open(ref) as store, BrowseIndex.open(store) as index:
        faults.install(faults.die_at(point))
        index.refresh()


def test_refresh_resumes_after_kill_at_any_fault_point(store: Store) -> None:
    with BrowseIndex.open(store) as index:
        step(store, 0)
        index.refresh()
        for number in range(1, STEPS):
            step(store, number)
        good = index_path(store.ref).parent / "good"
        index.close()
        good.write_bytes(index_path(store.ref).read_bytes())
    wanted = from_scratch(store)
    for point in count(1):
        for path in index_path(store.ref).parent.glob("browse.sqlite*"):
            path.unlink()
        index_path(store.ref).write_bytes(good.read_bytes())
        process = FORKS.Process(target=refresh_and_die, args=(Path(store.ref), point))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        assert refreshed(Path(store.ref)) == wanted
        if process.exitcode == 0:
            break
    assert point > 8


def test_processes_and_threads_refresh_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(STEPS - 1):
        step(store, number)
    ref = Path(store.ref)
    others = [FORKS.Process(target=refresh_and_die, args=(ref, 10**6)) for _ in range(2)]
    for process in others:
        process.start()
    monkeypatch.setattr(refresh, "BATCH_ROWS", 70)
    with BrowseIndex.open(store) as index, ThreadPoolExecutor(2) as pool:
        refreshes = [pool.submit(index.refresh) for _ in range(2)]
        while not all(task.done() for task in refreshes):
            # Whole files at any time, never half of one.
            assert sum(camera.crops for camera in index.cameras(MODEL)) % 40 == 0
        for process in others:
            process.join()
            assert process.exitcode == 0
        assert index.pending() == 0
        assert contents(index) == from_scratch(store)


def test_index_file_is_private_and_can_be_deleted(store: Store) -> None:
    step(store, 0)
    path = index_path(store.ref)
    with BrowseIndex.open(store) as index, BrowseIndex.open(store) as other:
        index.refresh()
        wanted = contents(index)
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("browse.sqlite*")} == {0o600}
        path.unlink()
        assert index.count(MODEL) == 0
        assert index.refresh()
        assert contents(index) == contents(other) == wanted
    path.write_bytes(b"no database, " * 1000)
    assert refreshed(Path(store.ref)) == wanted


def test_index_of_other_version_is_replaced(store: Store) -> None:
    step(store, 0)
    wanted = refreshed(Path(store.ref))
    with BrowseIndex.open(store) as index:
        with index._file.write() as connection:
            connection.execute("ALTER TABLE crop RENAME TO other")
        with index._file.read() as connection:
            connection.execute("COMMIT")
            connection.execute("PRAGMA user_version = 99")
            connection.execute("BEGIN")
    assert refreshed(Path(store.ref)) == wanted


def test_index_of_toml_store_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ref = tmp_path / "store.toml"
    ref.write_text('database = "sqlite:///catalogue.sqlite"\ndata = "data"\n')
    with Store.open(ref) as store:
        step(store, 0)
        refreshed(ref)
        path = index_path(store.ref)
        assert path.parent.parent == tmp_path / "cache" / "vestigo"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with Store.open(ref) as store, pytest.raises(StoreError, match="cannot be created"):
        BrowseIndex.open(store)


def test_missing_store_file_is_reported(store: Store) -> None:
    step(store, 0)
    lost = store.crops.files()[0]
    (Path(store.data) / lost.path).unlink()
    with BrowseIndex.open(store) as index, pytest.raises(StoreError, match="vestigo store check"):
        index.refresh()
