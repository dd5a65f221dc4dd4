"""What a search selects in the vector index, against loops over rows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_pipeline import MODEL, START
from tests.support.sightings_archive import SCHEMA, add, random_files
from vestigo.store.crops.visible import CropFilter
from vestigo.store.open import Store
from vestigo.vectors import index as vectors
from vestigo.vectors import refresh
from vestigo.vectors.index import VectorIndex
from vestigo_models.errors import StoreError

COLUMNS = ("crop_id", "camera", "time", "attributes", "embedding", "tracklet")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(refresh, "PACK_ROWS", 100)
    with Store.open(tmp_path / "s") as opened:
        add(opened, random_files(1))
        opened.cameras.set_clock_offset("hall", 1800)
        return opened


def opened(store: Store) -> VectorIndex:
    model = next(model for model in store.models.list() if model.digest == MODEL)
    return VectorIndex.open(store.ref, store.crops, model)


def rows_of(store: Store) -> list[dict]:
    return [row for batch in store.crops.scan(COLUMNS, model=MODEL) for row in batch.to_pylist()]


@pytest.mark.parametrize("cameras", [None, ("gate",), ("hall", "yard")])
@pytest.mark.parametrize("hours", [(None, None), (0.5, None), (None, 1.0), (0.5, 1.0), (9.0, None)])
@pytest.mark.parametrize("where", ["", "hat=yes", "hat=no,colour=green"])
def test_selects_what_a_loop_selects(
    store: Store, cameras: tuple[str, ...] | None, hours: tuple[float | None, float | None], where: str
) -> None:
    since, until = (None if hour is None else START + timedelta(hours=hour) for hour in hours)
    conditions = SCHEMA.parse(where) if where else {}
    wanted = set()
    for row in rows_of(store):
        inside = cameras is None or row["camera"] in cameras
        for bound, is_met in ((since, lambda a, b: a >= b), (until, lambda a, b: a < b)):
            inside = inside and (bound is None or (row["time"] is not None and is_met(row["time"], bound)))
        for name, value in conditions.items():
            group = row["attributes"][SCHEMA.slice(name)]
            inside = inside and SCHEMA[name].values[group.index(max(group))] == value
        if inside:
            wanted.add(row["crop_id"])
    index = opened(store)
    selections = list(index.select(CropFilter(cameras, since, until), conditions))
    assert len(selections) == len(index.packs) > 1
    assert {name.decode() for selection in selections for name in selection.ids} == wanted
    assert sum(map(len, selections)) == len(wanted)


def test_finds_crops_and_their_rows(store: Store) -> None:
    index, rows = opened(store), rows_of(store)
    wanted = [rows[at] for at in (150, 3, 77, 3)]
    ids = [row["crop_id"] for row in wanted]
    found = index.rows(ids, ("tracklet",))
    for row, expected in zip(found, wanted, strict=True):
        assert row == {name: expected[name] for name in ("crop_id", "time", "tracklet", "camera", "attributes")}
    assert index.probabilities(ids).tolist() == [row["attributes"] for row in wanted]
    places = index.positions(ids)
    assert store.crops.get_at(places, ["camera"]).keys() == set(ids)
    for unknown in ("0" * 20, "short", "g" * 20):
        with pytest.raises(StoreError):
            index.find([ids[0], unknown])


def test_descriptors_are_without_the_bias_of_their_cameras(store: Store) -> None:
    index, rows = opened(store), rows_of(store)
    ids = [row["crop_id"] for row in rows]
    moved = [np.array(row["embedding"]) - index.bias.offsets[row["camera"]] for row in rows]
    expected = np.stack([vector / np.linalg.norm(vector) for vector in moved])
    np.testing.assert_allclose(index.descriptors(ids).vectors, expected, atol=1e-6)


def test_counts_crops_without_time(store: Store) -> None:
    index, rows = opened(store), rows_of(store)
    for cameras in (None, ("gate",), ("gate", "hall")):
        expected = sum(row["time"] is None for row in rows if cameras is None or row["camera"] in cameras)
        assert index.count_without_time(cameras) == expected > 0


def test_packs_are_mapped_once_and_released(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "RESIDENT", 0)
    first, second = opened(store), opened(store)
    assert [id(pack) for pack in first.packs] == [id(pack) for pack in second.packs]
    pack = first.packs[0]
    before = pack.crops.crops.lower.copy()
    first.release(pack)
    assert (pack.crops.crops.lower == before).all()
