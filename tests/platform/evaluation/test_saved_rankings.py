from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.fake_gallery import FakeArchive, people, view_of
from tests.support.fake_pipeline import MODEL
from tests.support.old_rankings import make_old
from vestigo.evaluation import saved_rankings as judged
from vestigo.evaluation.metrics.ranking import PROTOCOLS, ImageSet, Protocol, score_queries
from vestigo.evaluation.metrics.truncated import UNKNOWN
from vestigo.evaluation.saved_rankings import score_ranking
from vestigo.retrieval.bulk import BulkQueries, crop_queries, rank_gallery, tracklet_queries
from vestigo.retrieval.gallery import Scope
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import QUERIES, RANKING
from vestigo.store.rankings.repository import SavedRanking


class Kept:
    """What a fake archive kept, read as a store reads it, a few rows at a time."""

    def __init__(self, archive: FakeArchive, name: str) -> None:
        self.rows, self.queries = archive.kept[name][2], archive.asked[name]
        self.ranking = SavedRanking(name, None, "m", len(self.queries), len(self.rows), {}, "", "rows", "queries")

    def scan(self, ranking: SavedRanking, columns: Any = None) -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_pylist(self.rows, RANKING)
        yield from (table if columns is None else table.select(list(columns))).to_batches(max_chunksize=7)

    def scan_queries(self, ranking: SavedRanking, columns: Any = None) -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_pylist(self.queries, QUERIES)
        yield from (table if columns is None else table.select(list(columns))).to_batches(max_chunksize=3)


def labelled(count: int = 60) -> FakeArchive:
    """Every seventh crop has no known identity, and person 0 is a distractor."""
    archive = people(count, identities=6)
    for number, row in enumerate(archive.rows):
        row["pid"] = None if number % 7 == 3 else number % 6
        row["camera"] = f"cam{number // 6 % 3}"
    return archive


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_complete_ranking_scores_equal_benchmark(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "QUERIES_AT_ONCE", 5)
    archive = labelled()
    rank_gallery(archive, crop_queries(archive, [row["crop_id"] for row in archive.rows]), "all", top=99)
    kept, progress = Kept(archive, "all"), []
    scores = score_ranking(kept, kept.ranking, protocol, lambda done, _total: progress.append(done))
    assert progress == list(range(5, 61, 5))

    place = {row["crop_id"]: number for number, row in enumerate(archive.rows)}
    distances = np.full((60, 60), 99.0)
    for row in kept.rows:
        distances[place[row["query"]], place[row["crop"]]] = row["rank"]
    every = ImageSet(
        pids=np.array([-1 if row["pid"] is None else row["pid"] for row in archive.rows]),
        camids=np.array([int(row["camera"][3:]) for row in archive.rows]),
        ids=np.arange(60),
    )
    expected = score_queries(distances, every, every, protocol=protocol)
    np.testing.assert_allclose(scores.scores.ap, expected.ap, rtol=1e-12)
    np.testing.assert_array_equal(scores.scores.first, expected.first)
    unknown = every.pids == -1
    np.testing.assert_array_equal(scores.scores.status, np.where(unknown, UNKNOWN, expected.status))
    assert scores.names.to_pylist() == list(place)
    assert [scores.cameras[camid] for camid in scores.camids] == [row["camera"] for row in archive.rows]
    assert scores.starts[:3].tolist() == [0, 59, 118]
    assert scores.pairs.queries.sum() > 0


def test_saved_matches_follow_scope() -> None:
    archive = labelled()
    for number, row in enumerate(archive.rows):
        row["tracklet"] = f"t{number % 18}" if number % 3 else ""
    scope = Scope(cameras=("cam0", "cam1"))
    rank_gallery(archive, tracklet_queries(archive, archive.models.list()[0]), "some", top=4, scope=scope)
    inside = [row for row in archive.rows if row["camera"] in scope.cameras]
    for query in archive.asked["some"]:
        own = [row for row in archive.rows if row["tracklet"] == query["query"]]
        agreed = {(row["pid"], row["camera"]) for row in own}
        pid = next(iter(agreed))[0] if len(agreed) == 1 else None
        assert query["pid"] == pid
        assert query["crop"] in {row["crop_id"] for row in own}
        others = [row["camera"] for row in inside if row["pid"] == pid is not None and row not in own]
        assert {match["camera"]: match["crops"] for match in query["matches"]} == dict(Counter(others))
        assert query["own"] == (sum(row in inside for row in own) if pid is not None else 0)
    assert (
        archive.settings["some"].items()
        >= {
            "kind": "tracklets",
            "top": 4,
            "cameras": ["cam0", "cam1"],
            "where": "",
            "since": None,
            "filter": "off",
            "threshold": None,
            "compared": len(inside),
            "snapshot": "now",
        }.items()
    )


def images(archive: FakeArchive, stored: int, labels: list[tuple[int, str]]) -> BulkQueries:
    """Two images; the archive has the first `stored` of them as crops."""
    views = [view_of(row) for row in archive.rows[:2]]
    return BulkQueries(
        names=["one", "two"],
        features=type(views[0]).joined(views),
        own=[(archive.rows[number]["crop_id"] if number < stored else "f" * 20,) for number in range(2)],
        model=archive.rows[0]["model"],
        kind="images",
        labels=labels,
        thumbnail=lambda position: b"jpeg %d" % position,
    )


def test_stored_query_images_are_recognized() -> None:
    archive = labelled()
    rank_gallery(archive, images(archive, 1, [(5, "cam1"), (1, "cam0")]), "images", top=3)
    first, second = archive.asked["images"]
    assert (first["pid"], first["camera"], first["crop"], first["own"], first["image"]) == (
        0,
        "cam0",
        archive.rows[0]["crop_id"],
        1,
        None,
    )
    assert (second["pid"], second["camera"], second["crop"], second["own"], second["image"]) == (
        1,
        "cam0",
        None,
        0,
        b"jpeg 1",
    )
    named = Counter(row["camera"] for row in archive.rows if row["pid"] == 1)
    assert {match["camera"]: match["crops"] for match in second["matches"]} == dict(named)
    assert first["crop"] not in [row["crop"] for row in archive.kept["images"][2] if row["query"] == "one"]


def test_labels_of_unindexed_dataset_are_ignored() -> None:
    archive = labelled()
    rank_gallery(archive, images(archive, 0, [(0, "cam0"), (1, "cam0")]), "images", top=3)
    kept = Kept(archive, "images")
    assert [(row["pid"], row["camera"]) for row in kept.queries] == [(None, None)] * 2
    assert score_ranking(kept, kept.ranking, "cross-camera").scores.excluded == {"identity of the query unknown": 2}


def test_old_rankings_have_no_identities(tmp_path: Path) -> None:
    archive = labelled()
    rank_gallery(archive, crop_queries(archive, [row["crop_id"] for row in archive.rows[:9]]), "all", top=4)
    rows = pa.Table.from_pylist(archive.kept["all"][2], RANKING)
    with Store.open(tmp_path / "s") as store:
        store.models.register(MODEL, name="fake", location="nowhere")
        queries = pa.Table.from_pylist(archive.asked["all"], QUERIES)
        store.rankings.save("all", model=MODEL, rows=rows, queries=queries, settings={})
        new = score_ranking(store.rankings, store.rankings.get("all"), "all")
        make_old(store, "all")
        old = score_ranking(store.rankings, store.rankings.get("all"), "all")
    assert new.names.equals(old.names)
    np.testing.assert_array_equal(new.starts, old.starts)
    assert new.scores.scored.any()
    assert not old.scores.scored.any()


def test_ranking_without_queries_has_no_scores() -> None:
    archive = labelled()
    rank_gallery(archive, tracklet_queries(archive, archive.models.list()[0]), "none")
    kept = Kept(archive, "none")
    scores = score_ranking(kept, kept.ranking, "all")
    assert (len(scores), scores.starts.tolist(), scores.pairs.queries.shape) == (0, [0], (0, 0))
