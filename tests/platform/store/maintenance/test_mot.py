"""Export of tracklets in the form of the MOT Challenge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.fake_pipeline import begin, crop, crop_table
from vestigo.ingest.video.assembly import DETECTION_SCHEMA
from vestigo.store.open import Store
from vestigo.store.runs.records import InputOutcome, InputPlan, Owner, ShardPlan
from vestigo_models.errors import StoreError

Rows = Sequence[tuple[str, int, float]]
"""Tracklet, frame and left edge of detections."""


def index_videos(
    store: Store,
    videos: Mapping[str, Rows],
    *,
    with_detections: bool = True,
    replaces: bool = False,
    finish: bool = True,
) -> None:
    """Commit videos, by name inside their source, as an indexing run does."""
    run = begin(store, fingerprint=("e" if replaces else "f") * 64, replaces=replaces)
    plans = []
    for name in videos:
        shard = {"kind": "assembly", "video": {"name": name, "camera": Path(name).stem}}
        plans.append(ShardPlan("slice", "archive", name, {}, (InputPlan(name, f"key:{name}"),)))
        plans.append(ShardPlan("assembly", "archive", name, {"shard": shard}))
    store.shards.plan(run.id, plans)
    store.runs.take_lease(run.id)
    for _ in plans:
        (task,) = store.shards.pending(run.id, 1)
        rows = videos[str(task.after)]
        if task.kind == "slice":
            crops = crop_table([crop(f"{task.after}-{run.id}", input=task.after, frame=0)])
            files = [store.root.write("candidates", run.id, task.id, crops)]
            store.shards.commit(task.id, files=files, outcomes=[InputOutcome(0, "done", rows=1)], owner=Owner.current())
            continue
        files = []
        if rows:
            names = sorted({tracklet for tracklet, _, _ in rows})
            files.append(store.root.write("tracklets", run.id, task.id, pa.table({"tracklet": names})))
        if rows and with_detections:
            rows_of_video = [
                {"id": f"{tracklet}{frame}", "tracklet": tracklet, "predecessor": "", "frame": frame, "cell": frame,
                 "offset_s": frame / 10, "x": x, "y": 2.0, "w": 30.25, "h": 80.0, "score": 0.75, "motion": 1.0}
                for tracklet, frame, x in [*rows, ("", 1, 5.0)]
            ]  # fmt: skip
            files.append(
                store.root.write(
                    "detections", run.id, task.id, pa.Table.from_pylist(rows_of_video, schema=DETECTION_SCHEMA)
                )
            )
        store.shards.commit(task.id, files=files, outcomes=(), owner=Owner.current())
    if finish:
        store.runs.finish(run.id, "succeeded", owner=Owner.current())


def export(store: Store, out: Path, **options: Sequence[str]) -> dict[str, str]:
    files = store.export_mot(out, **options)
    assert sorted(path.name for path in out.iterdir()) == sorted(file.file for file in files)
    return {file.file: (out / file.file).read_text() for file in files}


def test_rows_are_those_of_mot_challenge(tmp_path: Path) -> None:
    rows = [("b", 0, 10.5), ("b", 2, 11.0), ("a", 2, 200.0), ("a", 4, 201.125), ("b", 4, 12.0)]
    with Store.open(tmp_path / "s") as store:
        index_videos(store, {"gate.mp4": rows, "empty.mp4": []})
        files = store.export_mot(tmp_path / "out")
        assert store.check().problems == ()
    assert [(file.file, file.video, file.camera, file.tracklets, file.rows) for file in files] == [
        ("gate.txt", "gate.mp4", "gate", 2, 5),
        ("empty.txt", "empty.mp4", "empty", 0, 0),
    ]
    assert (tmp_path / "out" / "gate.txt").read_text().splitlines() == [
        "1,1,10.50,2.00,30.25,80.00,0.7500,-1,-1,-1",
        "3,1,11.00,2.00,30.25,80.00,0.7500,-1,-1,-1",
        "3,2,200.00,2.00,30.25,80.00,0.7500,-1,-1,-1",
        "5,1,12.00,2.00,30.25,80.00,0.7500,-1,-1,-1",
        "5,2,201.12,2.00,30.25,80.00,0.7500,-1,-1,-1",
    ]
    assert (tmp_path / "out" / "empty.txt").read_text() == ""
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}


def test_files_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    names = ["a/clip.avi", "b/clip.avi", "b/clip.mp4", "hall.avi", "x/a_clip.avi"]
    with Store.open(tmp_path / "s") as store:
        index_videos(store, {name: [(name, 0, 1.0)] for name in names})
        files = {file.video: file.file for file in store.export_mot(tmp_path / "out")}
    assert files == {
        "a/clip.avi": "a_clip.txt",
        "b/clip.avi": "b_clip.txt",
        "b/clip.mp4": "b_clip.mp4.txt",
        "hall.avi": "hall.txt",
        "x/a_clip.avi": "x_a_clip.txt",
    }


def test_only_videos_of_cameras_are_written(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        index_videos(store, {"gate.mp4": [("a", 0, 1.0)], "hall.mp4": [("b", 0, 1.0)]})
        assert list(export(store, tmp_path / "out", cameras=["hall"])) == ["hall.txt"]
        with pytest.raises(StoreError, match="no video of these cameras"):
            store.export_mot(tmp_path / "none", cameras=["door"])
        with pytest.raises(StoreError, match="is not an empty folder"):
            store.export_mot(tmp_path / "out")


def test_replaced_video_is_written_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        index_videos(store, {"gate.mp4": [("a", 0, 1.0)]})
        index_videos(store, {"gate.mp4": [("a", 0, 7.0)]}, replaces=True, finish=False)
        assert export(store, tmp_path / "before")["gate.txt"].startswith("1,1,1.00,")
        (run,) = (run for run in store.runs.list() if run.status != "succeeded")
        store.runs.finish(run.id, "succeeded", owner=Owner.current())
        written = export(store, tmp_path / "after")
        assert list(written) == ["gate.txt"]
        assert written["gate.txt"].startswith("1,1,7.00,")
        assert store.check().problems == ()


def test_video_of_earlier_version_is_refused_in_one_line(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        index_videos(store, {"gate.mp4": [("a", 0, 1.0)]}, with_detections=False)
        with pytest.raises(StoreError, match=r"gate\.mp4 was indexed by an earlier version"):
            store.export_mot(tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_store_without_videos_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store, pytest.raises(StoreError, match="the store holds no video"):
        store.export_mot(tmp_path / "out")
