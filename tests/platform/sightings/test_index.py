"""Results of the browse index against loops over a scan of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.fake_pipeline import MODEL, START, crop
from tests.support.review_archive import SCHEMA
from tests.support.sightings_archive import CAMERAS, OTHER, add, chosen, random_files, sightings
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS, SightingFilter
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, StoreError, UsageError

CHOICES = (
    ALL_SIGHTINGS,
    SightingFilter(cameras=("yard", "gate")),
    SightingFilter(since=START + timedelta(minutes=20)),
    SightingFilter(since=START + timedelta(minutes=20), until=START + timedelta(minutes=50)),
    SightingFilter(where="hat=yes"),
    SightingFilter(where="colour=blue,hat=no"),
    SightingFilter(pid=2),
    SightingFilter(pid=77),
    SightingFilter(cameras=("hall",), until=START + timedelta(minutes=90), where="hat=no", pid=3),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("browsed") / "s") as opened:
        add(opened, random_files(1))
        # The same crops as another model sees them.
        add(opened, random_files(1, files=1), model=OTHER, fingerprint="e" * 64)
        opened.cameras.set_clock_offset("hall", 90.5)
        yield opened


@pytest.fixture(scope="module")
def index(store: Store) -> Iterator[BrowseIndex]:
    with BrowseIndex.open(store) as opened:
        assert opened.refresh()
        yield opened


def test_page_without_filter_has_all_sightings(store: Store, index: BrowseIndex) -> None:
    wanted = sightings(store)
    page = index.page(MODEL, ALL_SIGHTINGS, offset=0, limit=1000)
    assert len(page) == len(wanted) > 60
    for sighting, expected in zip(page, wanted, strict=True):
        plain = vars(sighting)
        actual = {name: plain[name] for name in expected.keys() - {"rows", "sure"}}
        assert actual == {name: expected[name] for name in actual}
        assert sighting.confidences == pytest.approx(expected["sure"], abs=2e-3)
        ids = [row["crop_id"] for row in expected["rows"]]
        assert (index.crops(sighting.id), sighting.crops) == (ids, len(ids))
        assert all(vars(index.find(crop_id, MODEL) or sighting) == plain for crop_id in ids)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_filters_equal_loops(store: Store, index: BrowseIndex, choice: SightingFilter) -> None:
    wanted = chosen(sightings(store), choice)
    crops = [sighting["crop"] for sighting in wanted]
    assert index.count(MODEL, choice) == len(wanted)
    for limit in (1, 7, 1000):
        pages = (index.page(MODEL, choice, offset=at, limit=limit) for at in range(0, len(wanted) + 1, limit))
        assert [sighting.crop for page in pages for sighting in page] == crops
    counts = {
        attribute.name: {
            value: sum(sighting["attributes"][attribute.name] == value for sighting in wanted) for value in values
        }
        for attribute, values in ((attribute, attribute.values) for attribute in SCHEMA.attributes)
    }
    assert index.attribute_counts(MODEL, choice) == counts


def test_sightings_are_those_of_one_model(store: Store, index: BrowseIndex) -> None:
    other = sightings(store, OTHER)
    assert [sighting.crop for sighting in index.page(OTHER, ALL_SIGHTINGS, offset=0, limit=1000)] == [
        sighting["crop"] for sighting in other
    ]
    seen = {row["crop_id"] for sighting in other for row in sighting["rows"]}
    for sighting in sightings(store):
        sighting_of_other = index.find(sighting["crop"], OTHER)
        assert (sighting_of_other is not None) == (sighting["crop"] in seen)
    assert index.count(OTHER) < index.count(MODEL)


def test_camera_summaries_equal_loops(store: Store, index: BrowseIndex) -> None:
    wanted = sightings(store)
    cameras = {camera.name: camera for camera in index.cameras(MODEL)}
    assert list(cameras) == sorted(CAMERAS)
    for name, camera in cameras.items():
        own = [sighting for sighting in wanted if sighting["camera"] == name]
        times = [row["time"] for sighting in own for row in sighting["rows"] if row["time"] is not None]
        assert camera.crops == sum(len(sighting["rows"]) for sighting in own)
        assert camera.sightings == len(own)
        assert (camera.first, camera.last) == (min(times), max(times))
        known = {sighting["crop"]: sighting["time"] for sighting in own}
        shown = [known[sample] for sample in camera.samples]
        assert len(shown) > 3
        assert shown == sorted(shown)


@pytest.mark.parametrize(
    ("bucket_s", "cameras", "since", "until"),
    [
        (60, None, None, None),
        (3600, ("hall",), None, None),
        (7, None, START + timedelta(seconds=601), START + timedelta(minutes=70)),
        (900, ("gate", "hall"), START + timedelta(minutes=20, seconds=90.5), None),
    ],
)
def test_presence_counts_crops(
    store: Store,
    index: BrowseIndex,
    bucket_s: int,
    cameras: tuple[str, ...] | None,
    since: datetime | None,
    until: datetime | None,
) -> None:
    batches = store.crops.scan(["camera", "time"], model=MODEL, cameras=cameras, since=since, until=until)
    wanted: Counter[tuple[str, float]] = Counter()
    for batch in batches:
        for row in batch.to_pylist():
            if row["time"] is not None:
                wanted[row["camera"], row["time"].timestamp() // bucket_s * bucket_s] += 1
    presence = index.presence(MODEL, bucket_s, cameras, since, until).to_pylist()
    keys = [(row["camera"], row["start"].timestamp()) for row in presence]
    assert keys == sorted(wanted)
    assert [row["crops"] for row in presence] == [wanted[key] for key in keys]


def test_neighbours_share_the_frame_or_the_tracklet(store: Store, index: BrowseIndex) -> None:
    wanted = sightings(store)
    rows = [row for sighting in wanted for row in sighting["rows"]]
    for sighting in wanted:
        for row in sighting["rows"]:
            place = (row["source"], row["input"], row["frame"])
            frame = sorted(r["crop_id"] for r in rows if (r["source"], r["input"], r["frame"]) == place)
            near = [crop_id for crop_id in frame if crop_id != row["crop_id"]]
            tracklet = [r["crop_id"] for r in sighting["rows"] if r["crop_id"] not in frame]
            assert index.neighbours(row["crop_id"], MODEL) == near + tracklet


def test_rows_are_those_of_the_store(store: Store, index: BrowseIndex) -> None:
    ids = [row["crop_id"] for sighting in sightings(store)[::3] for row in sighting["rows"]]
    columns = ["time", "camera", "image", "embedding", "run", "attributes"]
    assert index.rows([*ids, ids[0]], columns, model=MODEL) == store.crops.get([*ids, ids[0]], columns, model=MODEL)
    assert index.rows([], columns, model=MODEL) == []
    with pytest.raises(StoreError, match=r"crop 0{20} is not in the store"):
        index.rows([ids[0], "0" * 20], columns, model=MODEL)
    with pytest.raises(StoreError, match="crops have no column colour"):
        index.rows(ids, ["colour"], model=MODEL)


def test_pids_are_those_of_the_store(store: Store, index: BrowseIndex) -> None:
    rows = [row for sighting in sightings(store) for row in sighting["rows"]]
    known = {row["crop_id"]: row["pid"] for row in rows if row["pid"] is not None}
    assert index.pids([*(row["crop_id"] for row in rows), "f" * 20], MODEL) == known


def test_unknown_crops_and_sightings_give_empty_results(index: BrowseIndex) -> None:
    for crop_id in ("0" * 20, "not hexadecimal", "ab", ""):
        assert index.find(crop_id, MODEL) is None
        assert index.neighbours(crop_id, MODEL) == []
    assert index.crops(10**6) == []
    assert index.page(MODEL, ALL_SIGHTINGS, offset=10**6, limit=5) == []
    with pytest.raises(StoreError, match="no crops of model cccccccccccc"):
        index.count("c" * 64)
    with pytest.raises(UsageError, match="has no zone"):
        index.count(MODEL, SightingFilter(since=datetime(2026, 5, 1)))
    with pytest.raises(UsageError, match="0 seconds is too short"):
        index.presence(MODEL, 0)
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        index.count(MODEL, SightingFilter(where="shoes=red"))


@pytest.mark.parametrize("first", ["least", "most"])
def test_cameras_and_crops_exceed_query_limit(
    store: Store, index: BrowseIndex, monkeypatch: pytest.MonkeyPatch, first: Literal["least", "most"]
) -> None:
    ids = [row["crop_id"] for sighting in sightings(store) for row in sighting["rows"]]
    wanted = index.by_confidence(MODEL, ALL_SIGHTINGS, "colour", first=first, offset=0, limit=1000)
    pids = index.pids(ids, MODEL)
    monkeypatch.setattr("vestigo.store.sql.database.KEYS_PER_QUERY", 1)
    assert index.by_confidence(MODEL, ALL_SIGHTINGS, "colour", first=first, offset=5, limit=30) == wanted[5:35]
    assert index.pids(ids, MODEL) == pids


def test_model_without_attributes_has_empty_counts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [crop(f"{number}.jpg", time=None) for number in range(5)]
    with Store.open(tmp_path / "s") as store:
        add(store, [rows], model=OTHER)
        store.models.register(OTHER, name="plain", location="nowhere", facts=ModelFacts(blocks=(4,)))
        with BrowseIndex.open(store) as index:
            index.refresh()
            page = index.page(OTHER, ALL_SIGHTINGS, offset=0, limit=9)
            assert sorted(sighting.crop for sighting in page) == sorted(row["crop_id"] for row in rows)
            assert {(sighting.time, str(sighting.attributes), str(sighting.confidences)) for sighting in page} == {
                (None, "{}", "{}")
            }
            assert index.attribute_counts(OTHER) == {}
            assert len(index.presence(OTHER, 60)) == 0
            assert {(sighting.first, len(sighting.samples) > 0) for sighting in index.cameras(OTHER)} == {(None, True)}
            with pytest.raises(UsageError, match="predicts no attributes"):
                index.count(OTHER, SightingFilter(where="hat=yes"))
