from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vestigo.retrieval import Appearance, Query, Scope, crop_queries, rank_archive, search, tracklet_queries
from vestigo.store import Model, ModelFacts
from vestigo_models.distance import Descriptors
from vestigo_models.errors import StoreError, UsageError

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
NEWER, OLDER = "b" * 64, "a" * 64


@dataclass
class FakeArchive:
    """The store's three reading methods over a list of rows."""

    rows: list[dict[str, Any]]
    batch_rows: int = 7
    facts: ModelFacts = field(default_factory=ModelFacts)
    kept: dict[str, tuple[str, int, list[dict[str, Any]]]] = field(default_factory=dict)
    read: list[tuple[str, ...]] = field(default_factory=list)

    def models(self) -> list[Model]:
        known = [Model(digest, name, "", START, self.facts) for digest, name in ((NEWER, "newer"), (OLDER, "older"))]
        return [model for model in known if any(row["model"] == model.digest for row in self.rows)]

    def crops(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        newest_first = sorted(self.rows, key=lambda row: row["model"])
        found = {row["crop_id"]: row for row in newest_first if model in (None, row["model"])}
        if missing := set(ids) - set(found):
            raise StoreError(f"crop {missing.pop()} is not in the store")
        return [found[crop] for crop in ids]

    def scan_crops(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = 16384,
    ) -> Iterator[pa.RecordBatch]:
        self.read.append(tuple(columns))
        rows = [
            row
            for row in self.rows
            if row["model"] == model
            and (cameras is None or row["camera"] in cameras)
            and (since is None or row["time"] >= since)
            and (until is None or row["time"] < until)
        ]
        for start in range(0, len(rows), self.batch_rows):
            part = rows[start : start + self.batch_rows]
            types = {"attributes": pa.list_(pa.float32()), "visible": pa.int32()}
            types["embedding"] = pa.list_(pa.float32(), len(part[0]["embedding"]))
            columns_ = {name: pa.array([row[name] for row in part], types.get(name)) for name in columns}
            yield pa.RecordBatch.from_pydict(columns_)

    def save_ranking(self, name: str, *, model: str, queries: int, rows: Any) -> int:
        kept = [row for batch in rows for row in batch.to_pylist()]
        self.kept[name] = (model, queries, kept)
        return len(kept)


def crop(number: int, embedding: np.ndarray, *, model: str = NEWER, tracklet: str = "", dhash: int = 0) -> dict:
    return {
        "crop_id": f"{number:020x}",
        "embedding": (embedding / np.linalg.norm(embedding)).astype(np.float32),
        "visible": 0,
        "attributes": [],
        "model": model,
        "camera": f"cam{number % 3}",
        "time": START + timedelta(seconds=number),
        "offset_s": float(number),
        "tracklet": tracklet,
        "dhash": dhash,
        "source": "s",
        "input": f"{number}.jpg",
        "frame": -1,
    }


def people(count: int = 40, identities: int = 5, **more: Any) -> FakeArchive:
    """Crop i shows person i % identities."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(identities, 16))
    rows = [crop(i, centres[i % identities] + 0.2 * rng.normal(size=16), **more) for i in range(count)]
    return FakeArchive(rows)


def view_of(row: dict[str, Any]) -> Appearance:
    """A new image that looks exactly like a crop."""
    descriptors = Descriptors(vectors=row["embedding"][None], visible=np.empty((1, 0), bool), always=1)
    return Appearance(descriptors=descriptors, probabilities=np.empty((1, 0), np.float32))


def number(crop_id: str) -> int:
    return int(crop_id, 16)


def test_crop_finds_its_own_person_and_not_itself() -> None:
    archive = people()
    answer = search(archive, Query(crops=(archive.rows[3]["crop_id"],)), top=7)
    assert [hit.rank for hit in answer.hits] == list(range(1, 8))
    assert {number(hit.crop) % 5 for hit in answer.hits} == {3}
    assert archive.rows[3]["crop_id"] not in {hit.crop for hit in answer.hits}
    assert answer.compared == 40
    assert answer.model == NEWER
    assert answer.kept_fraction == 1.0
    distances = [hit.distance for hit in answer.hits]
    assert distances == sorted(distances)
    first = answer.hits[0]
    assert (first.camera, first.time) == (f"cam{number(first.crop) % 3}", START + timedelta(seconds=number(first.crop)))
    assert first.attributes == {}


def test_several_views_are_one_query() -> None:
    archive = people()
    ids = tuple(archive.rows[i]["crop_id"] for i in (1, 6))
    answer = search(archive, Query(crops=ids, views=view_of(archive.rows[11]), model=NEWER), top=6)
    assert {number(hit.crop) % 5 for hit in answer.hits} == {1}
    assert not {hit.crop for hit in answer.hits} & set(ids)
    # An embedding is no crop: the picture it came from may be found.
    assert archive.rows[11]["crop_id"] in {hit.crop for hit in answer.hits}


def test_scope_restricts_cameras_and_time() -> None:
    archive = people()
    scope = Scope(cameras=("cam1",), since=START + timedelta(seconds=10), until=START + timedelta(seconds=31))
    answer = search(archive, Query(crops=(archive.rows[0]["crop_id"],)), scope=scope)
    assert {number(hit.crop) for hit in answer.hits} == {10, 13, 16, 19, 22, 25, 28}
    assert answer.compared == 7
    with_until = Scope(until=START + timedelta(seconds=31))
    ids = {number(hit.crop) for hit in search(archive, Query(crops=(f"{39:020x}",)), top=99, scope=with_until).hits}
    assert ids == set(range(31))


def test_near_identical_frames_of_a_tracklet_are_shown_once() -> None:
    rng = np.random.default_rng(1)
    centre = rng.normal(size=16)

    def close() -> np.ndarray:
        return centre + 0.1 * rng.normal(size=16)

    one = [crop(i, close(), tracklet="one", dhash=(1 << (i % 3)) - 1) for i in range(300)]
    other = [crop(1000, close(), tracklet="two", dhash=0), crop(1001, close(), tracklet="two", dhash=-1)]
    stills = [crop(2000 + i, close(), dhash=0) for i in range(3)]
    answer = search(FakeArchive([*one, *other, *stills]), Query(views=view_of(one[0]), model=NEWER), top=6)
    shown = [number(hit.crop) for hit in answer.hits]
    assert sum(i < 300 for i in shown) == 1
    assert {1000, 1001, 2000, 2001, 2002} <= set(shown)


def test_reranking_reorders_but_keeps_to_the_rules() -> None:
    archive = people(60)
    query = Query(crops=(archive.rows[2]["crop_id"],))
    plain, reranked = (search(archive, query, top=11, rerank=rerank) for rerank in (False, True))
    assert {number(hit.crop) % 5 for hit in reranked.hits} == {2}
    assert {hit.crop for hit in reranked.hits} == {hit.crop for hit in plain.hits}
    assert [hit.distance for hit in reranked.hits] != [hit.distance for hit in plain.hits]
    assert [hit.distance for hit in reranked.hits] == sorted(hit.distance for hit in reranked.hits)


def test_models_are_never_mixed() -> None:
    archive = FakeArchive([*people(20).rows, *people(30, model=OLDER).rows[20:]])
    newer, older = archive.rows[0]["crop_id"], archive.rows[-1]["crop_id"]
    assert search(archive, Query(crops=(newer,)), top=99).compared == 20
    assert search(archive, Query(crops=(older,)), top=99).compared == 10
    with pytest.raises(StoreError, match="of 2 models"):
        search(archive, Query(crops=(newer, older)))
    with pytest.raises(StoreError, match="no crop of model cccccccccccc; it holds newer"):
        search(archive, Query(views=view_of(archive.rows[0]), model="c" * 64))


def test_a_crop_that_two_models_saw() -> None:
    archive = FakeArchive([*people(20).rows, *people(20, model=OLDER).rows])
    query = archive.rows[0]["crop_id"]
    assert search(archive, Query(crops=(query,))).model == NEWER
    assert search(archive, Query(crops=(query,), model=OLDER)).model == OLDER


def test_empty_queries_and_scopes() -> None:
    archive = people()
    with pytest.raises(UsageError, match="needs a crop"):
        search(archive, Query())
    with pytest.raises(UsageError, match="digest of the model"):
        search(archive, Query(views=view_of(archive.rows[0])))
    with pytest.raises(StoreError, match="is not in the store"):
        search(archive, Query(crops=("f" * 20,)))
    for rerank in (False, True):
        answer = search(archive, Query(crops=(f"{0:020x}",)), scope=Scope(cameras=("nowhere",)), rerank=rerank)
        assert answer.hits == ()
        assert answer.compared == 0


def test_bulk_ranking_equals_single_searches() -> None:
    archive = people()
    ids = [row["crop_id"] for row in archive.rows[::4]]
    ranked = rank_archive(archive, crop_queries(archive, ids), "all", top=5)
    model, queries, kept = archive.kept["all"]
    assert (model, queries, ranked.rows, ranked.compared, ranked.kept_fraction) == (NEWER, 10, 50, 40, 1.0)
    for query in ids:
        hits = search(archive, Query(crops=(query,)), top=5).hits
        found = [(row["rank"], row["crop"]) for row in kept if row["query"] == query]
        assert found == [(hit.rank, hit.crop) for hit in hits]
    assert [row["query"] for row in kept] == [query for query in ids for _ in range(5)]


def test_tracklets_as_queries_leave_out_their_own_crops() -> None:
    archive = people()
    for row in archive.rows:
        row["tracklet"] = f"t{number(row['crop_id']) % 10}" if row["camera"] != "cam0" else ""
    queries = tracklet_queries(archive, archive.models()[0])
    assert list(queries.names) == [f"t{i}" for i in range(10)]
    rank_archive(archive, queries, "each", top=3)
    tracklets = {row["crop_id"]: row["tracklet"] for row in archive.rows}
    kept = archive.kept["each"][2]
    assert len(kept) == 30
    assert all(tracklets[row["crop"]] != row["query"] for row in kept)
    assert all(number(row["crop"]) % 5 == int(row["query"][1:]) % 5 for row in kept)


def test_ranking_nobody() -> None:
    archive = people()
    assert rank_archive(archive, tracklet_queries(archive, archive.models()[0]), "none").rows == 0
    assert archive.kept["none"] == (NEWER, 0, [])
