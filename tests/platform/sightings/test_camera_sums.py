"""Sums of descriptors by camera: in steps as from scratch, after replaced inputs and kills, against loops."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.platform.sightings.test_refresh import FORKS, STEPS, step
from tests.support.fake_pipeline import MODEL
from tests.support.sightings_archive import OTHER, add, random_files
from vestigo.ranking.camera_bias import UNIT, CameraSums
from vestigo.sightings import refresh
from vestigo.sightings.camera_sums import read_camera_sums
from vestigo.sightings.database import IndexFile, index_path
from vestigo.store import faults
from vestigo.store.models.records import Model
from vestigo.store.open import Store

pytestmark = pytest.mark.slow

Sums = dict[object, tuple[list[int], list[int]]]


def model_of(store: Store, digest: str = MODEL) -> Model:
    return next(model for model in store.models.list() if model.digest == digest)


def sums(store: Store, digest: str = MODEL) -> dict[object, CameraSums]:
    index = IndexFile(index_path(store.ref))
    try:
        return dict(read_camera_sums(store.crops, index, model_of(store, digest), lambda *_: None))
    finally:
        index.close()


def plain(by_camera: dict[object, CameraSums]) -> Sums:
    return {camera: (part.weights.tolist(), part.vectors.tolist()) for camera, part in by_camera.items()}


def naive(store: Store, digest: str = MODEL) -> dict[str, tuple[float, np.ndarray]]:
    """Tracklets and summed mean descriptors of each camera, from a scan."""
    rows = store.crops(["camera", "tracklet", "embedding", "crop_id"], model=digest).to_dict("records")
    members = Counter(row["tracklet"] or row["crop_id"] for row in rows)
    total: dict[str, tuple[float, np.ndarray]] = {}
    for row in rows:
        weight = 1 / members[row["tracklet"] or row["crop_id"]]
        old = total.get(row["camera"], (0.0, np.zeros(len(row["embedding"]))))
        total[row["camera"]] = (old[0] + weight, old[1] + weight * np.asarray(row["embedding"], float))
    return total


def check(store: Store, digest: str = MODEL) -> Sums:
    got, wanted = sums(store, digest), naive(store, digest)
    assert got.keys() == wanted.keys()
    for camera, (weight, vector) in wanted.items():
        assert got[camera].weights * UNIT == pytest.approx([weight], abs=1e-6)
        np.testing.assert_allclose(got[camera].vectors * UNIT, vector, atol=1e-6)
    return plain(got)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        yield opened


def test_stepwise_equals_scratch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "BATCH_ROWS", 70)
    for number in range(STEPS):
        step(store, number)
        stepwise = check(store)
        index_path(store.ref).unlink()
        assert check(store) == stepwise


def test_models_have_sums_of_their_own(store: Store) -> None:
    add(store, random_files(1, prefix="a"))
    add(store, random_files(2, prefix="b"), model=OTHER, fingerprint="e" * 64)
    assert check(store, MODEL) != check(store, OTHER)


def test_reads_only_new_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    step(store, 0)
    read: list[int] = []
    index = IndexFile(index_path(store.ref))
    read_camera_sums(store.crops, index, model_of(store), lambda rows, _: read.append(rows))
    assert read[-1] == sum(file.rows for file in store.crops.files())
    read.clear()
    read_camera_sums(store.crops, index, model_of(store), lambda rows, _: read.append(rows))
    assert not read
    step(store, 1)
    read_camera_sums(store.crops, index, model_of(store), lambda rows, _: read.append(rows))
    assert read[-1] == sum(file.rows for file in store.crops.files()) // 2
    index.close()


def sum_and_die(ref: Path, point: int) -> None:
    refresh.BATCH_ROWS = 70
    with Store.open(ref) as store:
        faults.install(faults.die_at(point))
        sums(store)


def test_resumes_after_kill_at_any_fault_point(store: Store) -> None:
    for number in range(STEPS):
        step(store, number)
    wanted = check(store)
    index_path(store.ref).unlink()
    for point in count(1):
        process = FORKS.Process(target=sum_and_die, args=(Path(store.ref), point))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            break
        assert plain(sums(store)) == wanted
        index_path(store.ref).unlink()
    assert point > 4
