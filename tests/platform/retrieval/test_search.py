from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_gallery import NEWER, OLDER, START, FakeArchive, crop, number, people, recorder, view_of
from tests.support.fake_pipeline import MODEL
from tests.support.sightings_archive import add, random_files
from vestigo.ranking.camera_bias import CameraBias, sum_by_camera
from vestigo.resolve import resolve_search_model
from vestigo.retrieval.bulk import BulkQueries, crop_queries, rank_gallery, tracklet_queries
from vestigo.retrieval.gallery import Scope
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_query
from vestigo.store.open import Store
from vestigo_models.errors import StoreError, UsageError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures


def test_crop_finds_its_own_person_and_not_itself() -> None:
    archive = people()
    answer = search_query(archive, Query(crops=(archive.rows[3]["crop_id"],)), top=7)
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
    answer = search_query(archive, Query(crops=ids, views=view_of(archive.rows[11]), model=NEWER), top=6)
    assert {number(hit.crop) % 5 for hit in answer.hits} == {1}
    assert not {hit.crop for hit in answer.hits} & set(ids)
    # An embedding is no crop: the picture it came from may be found.
    assert archive.rows[11]["crop_id"] in {hit.crop for hit in answer.hits}


def test_scope_restricts_cameras_and_time() -> None:
    archive = people()
    scope = Scope(cameras=("cam1",), since=START + timedelta(seconds=10), until=START + timedelta(seconds=31))
    answer = search_query(archive, Query(crops=(archive.rows[0]["crop_id"],)), scope=scope)
    assert {number(hit.crop) for hit in answer.hits} == {10, 13, 16, 19, 22, 25, 28}
    assert answer.compared == 7
    with_until = Scope(until=START + timedelta(seconds=31))
    ids = {
        number(hit.crop) for hit in search_query(archive, Query(crops=(f"{39:020x}",)), top=99, scope=with_until).hits
    }
    assert ids == set(range(31))


def test_near_identical_frames_of_a_tracklet_are_shown_once() -> None:
    rng = np.random.default_rng(1)
    centre = rng.normal(size=16)

    def close() -> np.ndarray:
        return centre + 0.1 * rng.normal(size=16)

    repeated = [crop(i, close(), tracklet="one", dhash=(1 << (i % 3)) - 1) for i in range(300)]
    different = [crop(1000, close(), tracklet="two", dhash=0), crop(1001, close(), tracklet="two", dhash=-1)]
    stills = [crop(2000 + i, close(), dhash=0) for i in range(3)]
    answer = search_query(
        FakeArchive([*repeated, *different, *stills]), Query(views=view_of(repeated[0]), model=NEWER), top=6
    )
    shown = [number(hit.crop) for hit in answer.hits]
    assert sum(i < 300 for i in shown) == 1
    assert {1000, 1001, 2000, 2001, 2002} <= set(shown)


def test_reranking_reorders_but_keeps_to_the_rules() -> None:
    archive = people(60)
    query = Query(crops=(archive.rows[2]["crop_id"],))
    plain, reranked = (search_query(archive, query, top=11, rerank=rerank) for rerank in (False, True))
    assert {number(hit.crop) % 5 for hit in reranked.hits} == {2}
    assert {hit.crop for hit in reranked.hits} == {hit.crop for hit in plain.hits}
    assert [hit.distance for hit in reranked.hits] != [hit.distance for hit in plain.hits]
    assert [hit.distance for hit in reranked.hits] == sorted(hit.distance for hit in reranked.hits)


def test_models_are_never_mixed() -> None:
    archive = FakeArchive([*people(20).rows, *people(30, model=OLDER).rows[20:]])
    newer, older = archive.rows[0]["crop_id"], archive.rows[-1]["crop_id"]
    assert search_query(archive, Query(crops=(newer,), model=NEWER), top=99).compared == 20
    assert search_query(archive, Query(crops=(older,), model=OLDER), top=99).compared == 10
    with pytest.raises(StoreError, match=f"crop {older} is not in the store"):
        search_query(archive, Query(crops=(newer, older), model=NEWER))
    with pytest.raises(StoreError, match="no crops of model cccccccccccc; it holds newer"):
        search_query(archive, Query(views=view_of(archive.rows[0]), model="c" * 64))


def test_without_a_model_a_mixed_archive_is_refused() -> None:
    archive = FakeArchive([*people(20).rows, *people(30, model=OLDER).rows[20:]])
    newer, older = archive.rows[0]["crop_id"], archive.rows[-1]["crop_id"]
    for query in (newer, older):
        with pytest.raises(StoreError, match=r"20 crops of newer \(b+\), the newest, and 10 of older \(a+\)"):
            search_query(archive, Query(crops=(query,)))
    archive.promoted = OLDER
    for call in (resolve_search_model, lambda archive: crop_queries(archive, [older])):
        with pytest.raises(
            StoreError, match=r"10 crops of older .*, the serving .*, and 20 of newer .*--reindex-stale"
        ):
            call(archive)
    archive.rows = archive.rows[20:]
    assert resolve_search_model(archive).digest == OLDER
    assert crop_queries(archive, [older]).model == OLDER


def test_a_crop_that_two_models_saw() -> None:
    archive = FakeArchive([*people(20).rows, *people(20, model=OLDER).rows])
    query = archive.rows[0]["crop_id"]
    assert search_query(archive, Query(crops=(query,), model=NEWER)).model == NEWER
    assert search_query(archive, Query(crops=(query,), model=OLDER)).model == OLDER


def test_empty_queries_and_scopes() -> None:
    archive = people()
    with pytest.raises(UsageError, match="needs a crop"):
        search_query(archive, Query())
    with pytest.raises(UsageError, match="digest of the model"):
        search_query(archive, Query(views=view_of(archive.rows[0])))
    with pytest.raises(StoreError, match="is not in the store"):
        search_query(archive, Query(crops=("f" * 20,)))
    for rerank in (False, True):
        answer = search_query(archive, Query(crops=(f"{0:020x}",)), scope=Scope(cameras=("nowhere",)), rerank=rerank)
        assert answer.hits == ()
        assert answer.compared == 0


def test_bulk_ranking_equals_single_searches() -> None:
    archive = people()
    ids = [row["crop_id"] for row in archive.rows[::4]]
    ranked = rank_gallery(archive, crop_queries(archive, ids), "all", top=5)
    model, queries, kept = archive.kept["all"]
    assert (model, queries, ranked.rows, ranked.compared, ranked.kept_fraction) == (NEWER, 10, 50, 40, 1.0)
    for query in ids:
        hits = search_query(archive, Query(crops=(query,)), top=5).hits
        hits_of_query = [(row["rank"], row["crop"]) for row in kept if row["query"] == query]
        assert hits_of_query == [(hit.rank, hit.crop) for hit in hits]
    assert [row["query"] for row in kept] == [query for query in ids for _ in range(5)]


def test_tracklets_as_queries_leave_out_their_own_crops() -> None:
    archive = people()
    for row in archive.rows:
        row["tracklet"] = f"t{number(row['crop_id']) % 10}" if row["camera"] != "cam0" else ""
    queries = tracklet_queries(archive, archive.models.list()[0])
    assert list(queries.names) == [f"t{i}" for i in range(10)]
    rank_gallery(archive, queries, "each", top=3)
    tracklets = {row["crop_id"]: row["tracklet"] for row in archive.rows}
    kept = archive.kept["each"][2]
    assert len(kept) == 30
    assert all(tracklets[row["crop"]] != row["query"] for row in kept)
    assert all(number(row["crop"]) % 5 == int(row["query"][1:]) % 5 for row in kept)


def test_ranking_of_no_query_is_empty() -> None:
    archive = people()
    assert rank_gallery(archive, tracklet_queries(archive, archive.models.list()[0]), "none").rows == 0
    assert archive.kept["none"] == (NEWER, 0, [])


def test_a_search_tells_how_far_each_pass_is() -> None:
    archive = people()
    steps: list[tuple[str, int]] = []
    query = Query(crops=(archive.rows[0]["crop_id"],))
    search_query(archive, query, top=3, scope=Scope(cameras=("cam1",)), progress=recorder(steps))
    # Files of 7 rows are read for the index first.
    assert steps == [("index", 40), ("crops", 40)]


def test_progress_callback_may_stop_search() -> None:
    def cancel(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    archive = people()
    with pytest.raises(KeyboardInterrupt):
        search_query(archive, Query(crops=(archive.rows[0]["crop_id"],)), progress=lambda stage: cancel)


@pytest.mark.slow
def test_descriptors_are_compared_without_the_bias_of_cameras(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        files = [random_files(0, prefix="a"), random_files(1, prefix="b")]
        add(store, [rows for part in files for rows in part])
        crops = store.crops(["crop_id", "camera", "tracklet", "embedding"], model=MODEL)
        lengths = crops.groupby("tracklet")["crop_id"].transform("size").where(crops["tracklet"] != "", 1)
        vectors = np.stack(crops["embedding"]).astype(np.float32)
        descriptors = Descriptors(vectors=vectors, visible=np.empty((len(crops), 0), np.bool_), always=1)
        cameras = crops["camera"].to_numpy()
        bias = CameraBias.of(sum_by_camera(descriptors, 1 / lengths.to_numpy(float), cameras), ())
        moved = bias.remove(descriptors, cameras).vectors.astype(float)
        assert np.abs(moved - vectors).max() > 0.01
        query = 5
        wanted = {crop: 1 - moved[query] @ moved[row] for row, crop in enumerate(crops["crop_id"]) if row != query}
        result = search_query(store, Query(crops=(crops["crop_id"][query],)), top=1000)
        assert result.compared == len(crops)
        assert len(result.hits) > 100
        for hit in result.hits:
            assert hit.distance == pytest.approx(wanted[hit.crop], abs=1e-5)


@pytest.mark.slow
def test_image_queries_rank_like_the_crops_that_they_show(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        add(store, [rows for part in (random_files(0, prefix="a"), random_files(1, prefix="b")) for rows in part])
        crops = store.crops(["crop_id", "camera", "embedding"], model=MODEL)
        ids, cameras = crops["crop_id"].tolist()[:6], crops["camera"].tolist()[:6]
        rank_gallery(store, crop_queries(store, ids), "crops", top=20)
        wanted = store.rankings("crops")
        vectors = np.stack(crops["embedding"][:6]).astype(np.float32)
        descriptors = Descriptors(vectors=vectors, visible=np.empty((6, 0), np.bool_), always=1)
        features = CropFeatures(
            descriptors=descriptors, probabilities=np.empty((6, 0), np.float32), areas=np.empty((6, 0), np.float32)
        )
        # The first five are stored, with their cameras; the dataset names the camera of the last one.
        own = [*((crop,) for crop in ids[:5]), ("f" * 20,)]
        labels = [*[(0, "elsewhere")] * 5, (0, cameras[5])]
        images = BulkQueries(names=ids, features=features, own=own, model=MODEL, kind="images", labels=labels)
        rank_gallery(store, images, "images", top=21)
        found = store.rankings("images")
        found = found[found["query"] != found["crop"]]
        for query in ids:
            expected, actual = (rows[rows["query"] == query].head(20) for rows in (wanted, found))
            assert expected["crop"].tolist() == actual["crop"].tolist()
            np.testing.assert_allclose(actual["distance"], expected["distance"], atol=1e-5)
