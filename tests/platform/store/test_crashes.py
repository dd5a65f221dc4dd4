"""Killed with SIGKILL at every fault point and resumed, a run ends with the rows of an undisturbed one."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.support import fake_pipeline
from tests.support.forkserver import preloaded_context
from vestigo.store.maintenance.check import CheckReport
from vestigo.store.open import Store

pytestmark = pytest.mark.slow

# Every child is forked from a process that has imported all of this, pytest (its main module) included.
FORKS = preloaded_context("tests.support.fake_pipeline")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> CheckReport:
    ref = tmp_path_factory.mktemp("undisturbed") / "store"
    fake_pipeline.index(ref)
    with Store.open(ref) as store:
        report = store.check()
    assert report.intact
    assert report.crops == 5
    return report


@pytest.fixture
def fresh(database_url: str, tmp_path: Path) -> Iterator[Iterator[Path]]:
    """TOML files of ever new stores on each kind of database: copies of an empty one, whose schema is created once."""

    def reference(url: str, name: str) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(f'database = "{url}"\ndata = "{name}"\n')
        return path

    def copies() -> Iterator[Path]:
        for number in count():
            name = f"store{number}"
            shutil.copytree(tmp_path / "empty", tmp_path / name)
            if database_url.startswith("sqlite"):
                database = tmp_path / f"{name}.sqlite"
                shutil.copy(tmp_path / "catalogue.sqlite", database)
                yield reference(f"sqlite:///{database}", name)
                continue
            server, _, template = database_url.rpartition("/")
            with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {template}_copy TEMPLATE {template}")
            yield reference(f"{database_url}_copy", name)
            with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {template}_copy WITH (FORCE)")

    with Store.open(reference(database_url, "empty"), create=True):
        pass
    with contextlib.closing(copies()) as references:
        yield references


def killed(ref: Path, point: int) -> bool:
    """Index in a process of its own; whether it was killed."""
    process = FORKS.Process(target=fake_pipeline.index_and_die, args=(ref, point))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def committed(ref: Path) -> set[str]:
    with Store.open(ref) as store:
        report = store.check()
        assert report.problems == ()
        kinds = ("crops", "candidates", "tracklets")
        return {
            path for run in store.runs.list() for kind in kinds for path in store.shards.file_paths(run.id, kind=kind)
        }


def test_killed_once_at_every_fault_point(fresh: Iterator[Path], undisturbed: CheckReport) -> None:
    for point in count(1):
        ref = next(fresh)
        if not killed(ref, point):
            break
        before = committed(ref)
        fake_pipeline.index(ref)
        with Store.open(ref) as store:
            report = store.check()
            assert report.problems == ()
            assert (report.digest, report.crops, report.runs) == (undisturbed.digest, undisturbed.crops, 1)
            totals = store.runs.totals(store.runs.list()[0].id)
            assert (totals.inputs, totals.done, totals.empty, totals.quarantined) == (7, 4, 1, 2)
            assert (totals.pending, totals.crops, totals.tracklets, totals.frame_failures) == (0, 5, 1, 2)
            after = committed(ref)
            # What was committed is kept and not done again; candidates go when their video is assembled.
            assert {path for path in before if "/candidates/" not in path} <= after
            assert store.vacuum(now=True, dry_run=True).files >= report.unreferenced
    assert point > 40


def test_killed_again_and_again_until_the_run_completes(fresh: Iterator[Path], undisturbed: CheckReport) -> None:
    ref = next(fresh)
    deaths = 0
    while killed(ref, deaths + 1):
        deaths += 1
        committed(ref)
    assert deaths > 5
    with Store.open(ref) as store:
        report = store.check()
        assert report.problems == ()
        assert report.digest == undisturbed.digest
        assert store.vacuum(now=True).files > 2
        assert (store.check().unreferenced, store.check().digest) == (0, undisturbed.digest)
        assert [run.status for run in store.runs.list()] == ["succeeded"]
