from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fake_pipeline import index
from vestigo.store.location import CATALOGUE
from vestigo.store.open import Store
from vestigo.store.sql import database
from vestigo_models.errors import StoreError, StoreUnavailable


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the write lock of a store's catalogue, as another process does."""
    other = sqlite3.connect(folder / CATALOGUE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


def test_locked_store_names_the_lock_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(tmp_path / "s")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    with Store.open(tmp_path / "s") as store, locked(tmp_path / "s"):
        assert len(store.runs.list()) == 1
        with pytest.raises(StoreUnavailable, match=r"catalogue\.sqlite is locked by another process .*: wait until"):
            store.cameras.set_clock_offset("c1", 1.0)
        with pytest.raises(StoreError, match=r"log cannot be written \(database is locked\).* shown: wait until"):
            store.audit.record("me", "search", details={})


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store on a medium that cannot be written to, with two runs' worth of rows."""
    index(tmp_path / "s")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))
    return tmp_path / "s"


def test_store_on_read_only_medium_is_read(read_only: Path) -> None:
    with Store.open(read_only) as store:
        assert store.runs.list()[0].status == "succeeded"
        assert store.check().intact
    assert sorted(path.name for path in read_only.iterdir()) == [CATALOGUE, "data"]


def test_log_of_read_only_catalogue_is_readable(read_only: Path) -> None:
    other = sqlite3.connect(read_only / CATALOGUE)
    other.execute("UPDATE camera SET clock_offset_s = 7 WHERE name = 'c1'")
    other.commit()
    assert (read_only / f"{CATALOGUE}-wal").stat().st_size
    with Store.open(read_only) as store:
        assert {camera.name: camera.clock_offset_s for camera in store.cameras.list()}["c1"] == 7
    other.close()


def test_change_of_read_only_store_is_refused_by_name(read_only: Path) -> None:
    with Store.open(read_only) as store:
        with pytest.raises(StoreUnavailable, match=r"catalogue\.sqlite is read-only .*: copy the store to a place"):
            store.cameras.set_clock_offset("c1", 1.0)
        with pytest.raises(StoreError, match=r"log cannot be written .*readonly.* shown: copy the store to a place"):
            store.audit.record("me", "search", details={})


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("cifs", "delete")])
def test_network_file_systems_have_no_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    monkeypatch.setattr(database, "file_system", lambda path: kind)
    index(tmp_path / "s")
    with Store.open(tmp_path / "s") as store, store.database.read() as session:
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == mode


def test_file_system_is_that_of_the_nearest_mount() -> None:
    assert database.file_system("/proc/self/status") == "proc"
    assert database.file_system("/") == database.file_system("/no/such/folder")
