"""Killed with SIGKILL at every fault point of a retry and begun again, a run has every row exactly once."""

from __future__ import annotations

import shutil
import signal
from itertools import count
from pathlib import Path

import pytest

from tests.platform.store.test_crashes import FORKS
from tests.support import fake_pipeline
from vestigo.store.maintenance.check import CheckReport
from vestigo.store.open import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ref = tmp_path_factory.mktemp("gapped") / "store"
    fake_pipeline.index_a_gap(ref)
    return ref


def checked(ref: Path) -> CheckReport:
    with Store.open(ref) as store:
        report = store.check()
        assert report.problems == ()
        return report


def killed(ref: Path, point: int) -> bool:
    process = FORKS.Process(target=fake_pipeline.retry_and_die, args=(ref, point))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def copied(gapped: Path, to: Path) -> Path:
    return Path(shutil.copytree(gapped, to))


def test_killed_once_at_every_fault_point(gapped: Path, tmp_path: Path) -> None:
    calm = copied(gapped, tmp_path / "calm")
    fake_pipeline.retry(calm)
    expected = checked(calm)
    assert (checked(gapped).crops, expected.crops) == (5, 7)
    for point in count(1):
        ref = copied(gapped, tmp_path / str(point))
        if not killed(ref, point):
            break
        # Readers see a video as it was or as it is, never without its rows.
        assert 5 <= checked(ref).crops <= 7
        fake_pipeline.retry(ref)
        report = checked(ref)
        assert (report.digest, report.crops, report.runs) == (expected.digest, expected.crops, 1)
        with Store.open(ref) as store:
            totals = store.runs.totals(store.runs.list()[0].id)
            assert (totals.done, totals.empty, totals.quarantined, totals.pending) == (7, 1, 0, 0)
            assert (totals.crops, totals.tracklets, totals.frame_failures) == (7, 1, 3)
            store.vacuum(now=True)
        assert checked(ref).digest == expected.digest
        shutil.rmtree(ref)
    assert point > 30


def test_killed_again_and_again_until_the_retry_completes(gapped: Path, tmp_path: Path) -> None:
    ref = copied(gapped, tmp_path / "store")
    deaths = 0
    while killed(ref, deaths + 1):
        deaths += 1
        checked(ref)
    assert deaths > 5
    assert checked(ref).crops == 7
