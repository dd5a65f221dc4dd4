"""Surveying sources: what is new, what is known, what cannot be read."""

from __future__ import annotations

from pathlib import Path

from tests.support.archives import walkers_video, write_crops
from vestigo.store.open import Store
from vestigo_workers.indexing.plan import pick_spec, shard_plans, survey
from vestigo_workers.indexing.request import IndexRequest

FINGERPRINT = "f" * 64


def plan(store: Store, *sources: Path, shard_size: int = 4) -> tuple[int, int]:
    request = IndexRequest(sources=tuple(map(str, sources)), shard_size=shard_size, slice_seconds=1.0)
    store.models.register("m" * 64, name="m", location="")
    with survey(store, request, FINGERPRINT, lambda done, total: None) as surveyed:
        run = store.runs.create(fingerprint=FINGERPRINT, config={}, model="m" * 64, command="{}")
        store.shards.plan(run.id, shard_plans(surveyed.items(), request))
        assert store.runs.totals(run.id).inputs == surveyed.new
        return surveyed.new, surveyed.skipped


def test_known_inputs_are_skipped(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", 6)
    with Store.open(tmp_path / "s") as store:
        assert plan(store, folder) == (6, 0)
        assert plan(store, folder) == (0, 6)
        extra = folder / "new.jpg"
        extra.write_bytes((folder / "000.jpg").read_bytes())
        assert plan(store, folder) == (1, 6)


def test_video_is_known_under_any_slice_length(tmp_path: Path) -> None:
    video = walkers_video(tmp_path / "v.mp4", seconds=4)
    with Store.open(tmp_path / "s") as store:
        new, _ = plan(store, video)
        assert new > 1
        assert plan(store, video) == (0, new)


def test_folder_given_twice_counts_once(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", 3)
    with Store.open(tmp_path / "s") as store:
        assert plan(store, folder, folder) == (3, 3)


def test_unreadable_inputs_get_a_shard(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", 2)
    (folder / "broken.mp4").write_bytes(b"not a video")
    with Store.open(tmp_path / "s") as store:
        assert plan(store, folder) == (3, 0)
        specs = [task.spec for task in store.shards.pending(store.runs.list()[-1].id, limit=10)]
        assert any("problems" in spec for spec in specs)


def test_pick_spec_keeps_inputs_at_positions() -> None:
    picked = pick_spec({"shard": {"kind": "images", "inputs": [1, 2, 3]}}, [0, 2])
    assert picked == {"shard": {"kind": "images", "inputs": [1, 3]}}
    assert pick_spec({"problems": [1, 2]}, [1]) == {"problems": [2]}
    assert pick_spec({"shard": {"kind": "slice", "part": 1}}, [0]) == {"shard": {"kind": "slice", "part": 1}}
