"""Label maps of an indexed archive: one suite for both executors, and what is refused, resumed, left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tests.support.drawn_people import drawn, image_of, write_maps, write_model
from tests.support.fake_workers import DIM, crop_row
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.errors import FingerprintMismatch, ModelError, StoreError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.inference.region_finder import NamedImage, RegionFinder, RegionMap, load_feature_model
from vestigo_models.parsing.registry import make_parser
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.indexing.plan import pick_spec
from vestigo_workers.regions.folder import encode_png
from vestigo_workers.regions.plan import CropGroup, FinderSettings, RegionsRequest, RunCrops, region_shards
from vestigo_workers.regions.run import draw_panels, label_run, prepare_resume
from vestigo_workers.regions.worker import load_groups
from vestigo_workers.runs.result import RunResult, summarize
from vestigo_workers.runs.resume import resume

pytestmark = pytest.mark.slow

TRACKLETS = {"t1": ("a0", "a1", "a2"), "t2": ("b0", "b1"), "t3": ("c0", "bad c1")}
PEOPLE = {7: ("0007_c1s1_000000_00.jpg", "0007_c2s1_000000_00.jpg"), 0: ("0000_c1s1_000000_00.jpg",)}
ALONE = ("still.jpg", "bad.jpg")
GOOD, GROUPS = 10, 7
SILENT: Any = lambda name: lambda done, total: None  # noqa: E731


def rows() -> list[dict[str, Any]]:
    """Crops of tracklets, of a dataset's identities and of unknown people; `bad` ones cannot be decoded."""
    made: list[dict[str, Any]] = []

    def add(name: str, **more: Any) -> None:
        shift = len(made) % 4
        image = b"no jpeg" if name.startswith("bad") else encode_jpeg(image_of(drawn(shift=shift)))
        made.append({**crop_row(name), "crop_id": f"{len(made):020x}", "image": image, **more})

    for tracklet, names in TRACKLETS.items():
        for frame, name in enumerate(names):
            add(name, input="walk.mp4", frame=frame, tracklet=tracklet)
    for pid, names in PEOPLE.items():
        for name in names:
            add(name, pid=pid)
    for name in ALONE:
        add(name)
    return made


def maps_of(folder: Path) -> Path:
    """Write the label map of every crop: of a still under its own name, of a crop of a video under its id."""
    truths: dict[str, NDArray[np.uint8]] = {}
    for place, row in enumerate(rows()):
        name = row["crop_id"] if row["frame"] >= 0 else Path(row["input"]).stem
        truths[name] = drawn(shift=place % 4)
    return write_maps(folder, truths)


def index(store: Store, *, finish: bool = True) -> str:
    """A finished index run whose crops lie in two files, the tracklet t2 in both."""
    store.models.register("m" * 64, name="fake", location="nowhere")
    run = store.runs.create(fingerprint="f" * 64, config={"a": 1}, model="m" * 64, command="{}")
    halves = (rows()[:4], rows()[4:])
    names = [[f"{half}-{place}" for place in range(len(half_of_names))] for half, half_of_names in enumerate(halves)]
    store.shards.plan(
        run.id,
        [
            ShardPlan("images", "fake", None, {}, tuple(InputPlan(name, name) for name in half_of_names))
            for half_of_names in names
        ],
    )
    for task, half_of_names in zip(store.shards.pending(run.id, limit=2), halves, strict=True):
        file = store.root.write("crops", run.id, task.id, pa.Table.from_pylist(half_of_names, schema=crop_schema(DIM)))
        store.shards.commit(
            task.id, files=[file], outcomes=[InputOutcome(i, "done", 1) for i in range(len(half_of_names))]
        )
    if finish:
        store.runs.take_lease(run.id)
        store.runs.finish(run.id, "succeeded")
    return run.id


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        yield opened


def ask(run: str, tmp_path: Path, model: Path | None, **more: Any) -> RegionsRequest:
    maps = tmp_path / "maps"
    if not maps.exists():
        maps_of(maps)
    given = {"run": run, "parser": f"labels:{maps}", "model": model and str(model), "executor": "inline", **more}
    return RegionsRequest.model_validate(given)


def stored(store: Store, run: str | None = None) -> dict[str, tuple[bytes, list[float], bool]]:
    batches = store.regions.scan(run=run)
    return {row["crop_id"]: (row["labels"], row["areas"], row["belongings"]) for b in batches for row in b.to_pylist()}


def naive(tmp_path: Path, model: Path) -> dict[str, tuple[bytes, list[float], bool]]:
    """The label maps of the archive, one identity after the other and without a store."""
    finder = RegionFinder(
        make_parser(f"labels:{tmp_path / 'maps'}"), Extractor(load_feature_model(str(model))), FlsConfig()
    )
    people: dict[str, list[dict[str, Any]]] = {}
    for row in rows():
        if row["input"] != "bad.jpg" and row["image"] != b"no jpeg":
            people.setdefault(row["tracklet"] or str(row["pid"] or row["crop_id"]), []).append(row)
    expected = {}
    for crops in people.values():
        names = [row["input"] if row["frame"] < 0 else row["crop_id"] for row in crops]
        images = [
            NamedImage(name=name, pixels=decode_image(row["image"])) for name, row in zip(names, crops, strict=True)
        ]
        [maps] = finder.find([images])
        for row, region_map in zip(crops, maps, strict=True):
            assert isinstance(region_map, RegionMap)
            expected[row["crop_id"]] = (
                encode_png(region_map.labels),
                region_map.areas.tolist(),
                region_map.has_belongings,
            )
    return expected


def test_every_crop_is_labelled_with_its_tracklet(store: Store, tmp_path: Path, model: Path, executor: str) -> None:
    run = index(store)
    actors = 2 if executor == "ray" else None
    done = label_run(store, ask(run, tmp_path, model, executor=executor, actors=actors, shard_size=3), SILENT)
    assert done.run.status == "succeeded"
    totals = done.totals
    assert (totals.inputs, totals.done, totals.quarantined, totals.pending) == (GROUPS, GROUPS - 1, 1, 0)
    assert (totals.regions, totals.crops, totals.frame_failures) == (GOOD, 0, 1)
    failures = {failure.input: failure for failure in store.runs.failures(done.run.id)}
    assert failures["bad.jpg"].reason == "not-an-image"
    assert (failures["tracklet t3"].frame, failures["tracklet t3"].reason) == (1, "not-an-image")
    assert stored(store) == naive(tmp_path, model)
    report = store.check()
    assert report.intact, report.problems
    assert report.crops == len(rows())


@pytest.mark.parametrize("shard_size", [1, 4, 256])
def test_maps_do_not_depend_on_shard_size(store: Store, tmp_path: Path, model: Path, shard_size: int) -> None:
    label_run(store, ask(index(store), tmp_path, model, shard_size=shard_size), SILENT)
    assert stored(store) == naive(tmp_path, model)


def test_second_run_skips_labelled_crops(store: Store, tmp_path: Path, model: Path) -> None:
    request = ask(index(store), tmp_path, model)
    first = label_run(store, request, SILENT)
    again = label_run(store, request, SILENT)
    assert (again.totals.inputs, again.skipped) == (0, GROUPS)
    summary = summarize(store, first)
    assert (summary["kind"], summary["images"], summary["quarantined"]) == ("regions", GOOD, 1)
    assert summary["with_belongings"] == sum(carrying for _, _, carrying in stored(store).values())
    assert summarize(store, again)["images"] == 0
    # The maps of the first are found through the second, which has the same fingerprint.
    assert stored(store, again.run.id) == stored(store, first.run.id)


def test_maps_of_different_settings_are_kept_apart(store: Store, tmp_path: Path, model: Path) -> None:
    run = index(store)
    fused = label_run(store, ask(run, tmp_path, model), SILENT).run.id
    parsed = label_run(store, ask(run, tmp_path, None), SILENT).run.id
    assert set(stored(store)) == set(stored(store, fused))
    assert stored(store) == stored(store, parsed)
    assert not any(carrying for _, _, carrying in stored(store, parsed).values())
    assert store.runs.get(fused).fingerprint != store.runs.get(parsed).fingerprint


def test_stored_areas_equal_those_of_maps(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no label maps"):
        list(store.regions.scan())
    label_run(store, ask(index(store), tmp_path, None), SILENT)
    wanted = [rows()[5]["crop_id"], "f" * 20, rows()[0]["crop_id"]]
    stored = store.regions.get(wanted)
    assert list(stored) == [wanted[0], wanted[2]]
    for row in stored.values():
        labels = make_parser(f"labels:{tmp_path / 'maps'}").parse(np.zeros((128, 64, 3), np.uint8), row["crop_id"])
        cells = labels.regions.argmax(axis=0)
        assert row["areas"] == pytest.approx([(cells == region).mean() for region in range(6)])
    [batch] = store.regions.scan(["areas"])
    assert batch.schema.names == ["areas"]
    with pytest.raises(StoreError, match="no column area"):
        list(store.regions.scan(["area"]))


def cancelled(store: Store, request: RegionsRequest) -> RunResult:
    """A run that is cancelled after its first shard."""

    def stage(name: str) -> Any:
        return lambda done, total: store.runs.request_cancel(store.runs.list()[-1].id)

    return label_run(store, request, stage)


def test_cancelled_run_resumes_at_next_shard(store: Store, tmp_path: Path, model: Path) -> None:
    request = ask(index(store), tmp_path, model, shard_size=2)
    first = cancelled(store, request)
    assert first.run.status == "cancelled"
    assert first.totals.pending > 0
    assert RegionsRequest.of_run(first.run) == request
    done = resume(store, first.run.id, SILENT)
    assert (done.run.id, done.run.status) == (first.run.id, "succeeded")
    assert stored(store) == naive(tmp_path, model)
    assert summarize(store, resume(store, first.run.id, SILENT))["images"] == GOOD


def test_same_command_resumes_unfinished_run(store: Store, tmp_path: Path, model: Path) -> None:
    request = ask(index(store), tmp_path, model, shard_size=2)
    first = cancelled(store, request)
    assert label_run(store, request, SILENT).run.id == first.run.id
    assert stored(store) == naive(tmp_path, model)


def test_resume_with_another_parser_is_refused(store: Store, tmp_path: Path, model: Path) -> None:
    first = cancelled(store, ask(index(store), tmp_path, model, shard_size=2))
    write_maps(tmp_path / "maps", {"other": drawn()})
    with pytest.raises(FingerprintMismatch, match="parser"):
        prepare_resume(store, first.run.id)


def test_unusable_requests_are_refused(store: Store, tmp_path: Path, model: Path) -> None:
    with pytest.raises(StoreError, match="run nowhere is not in the store"):
        label_run(store, ask("nowhere", tmp_path, None), SILENT)
    unfinished = index(store, finish=False)
    with pytest.raises(StoreError, match="finish it first"):
        label_run(store, ask(unfinished, tmp_path, None), SILENT)
    store.runs.take_lease(unfinished)
    store.runs.finish(unfinished, "succeeded")
    bot = write_model(tmp_path / "bot", neck="none")
    with pytest.raises(ModelError, match="no feature map"):
        label_run(store, ask(unfinished, tmp_path, bot), SILENT)
    maps = label_run(store, ask(unfinished, tmp_path, None), SILENT).run.id
    with pytest.raises(StoreError, match="made label maps, not crops"):
        label_run(store, ask(maps, tmp_path, None), SILENT)


def test_run_without_crops_gives_no_maps(store: Store, tmp_path: Path) -> None:
    store.models.register("m" * 64, name="fake", location="nowhere")
    run = store.runs.create(fingerprint="f" * 64, config={}, model="m" * 64, command="{}")
    store.shards.plan(run.id, [])
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "succeeded")
    done = label_run(store, ask(run.id, tmp_path, None), SILENT)
    assert (done.run.status, done.totals.inputs) == ("succeeded", 0)


def test_shards_hold_whole_tracklets(store: Store) -> None:
    run = index(store)
    with RunCrops(store, run) as crops:
        assert len(crops) == len(rows())
        groups = list(crops.groups())
    assert [len(group.crops) for group in groups] == [3, 2, 2, 2, 1, 1, 1]
    assert len(groups[1].files) == 2
    plans = list(region_shards(groups, run, 4))
    assert [[len(shard_input["crops"]) for shard_input in plan.spec["shard"]["inputs"]] for plan in plans] == [
        [3],
        [2, 2],
        [2, 1, 1],
        [1],
    ]
    assert [item.name for plan in plans for item in plan.inputs] == [group.name for group in groups]
    assert len({group.key for group in groups}) == GROUPS
    head, tail = (pick_spec(plans[2].spec, places) for places in ([0], [1, 2]))
    assert [CropGroup.from_json(data) for data in head["shard"]["inputs"]] == [groups[3]]
    assert [CropGroup.from_json(data) for data in tail["shard"]["inputs"]] == groups[4:6]


def test_large_identity_is_clustered_in_groups(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestigo_workers.regions.plan.MOST_IMAGES", 2)
    with RunCrops(store, index(store)) as crops:
        assert [len(group.crops) for group in crops.groups()] == [2, 1, 2, 2, 2, 1, 1, 1]


def test_crops_replaced_since_planning_are_failures(store: Store) -> None:
    with RunCrops(store, index(store)) as crops:
        groups = list(crops.groups())
    missing, *_ = dict.fromkeys(path for group in groups for path in group.files)
    (Path(store.data) / missing).unlink()
    from vestigo.store.parquet.files import DataRoot

    loaded = load_groups(DataRoot(store.data), groups[:2])
    reasons = [[getattr(crop.image, "reason", "") for crop in batch] for batch in loaded]
    assert reasons == [["gone", "gone", "gone"], ["gone", ""]]


def test_only_new_groups_are_planned(store: Store) -> None:
    with RunCrops(store, index(store)) as crops:
        assert len(list(crops.new_groups(store, "e" * 64))) == GROUPS
        assert crops.skipped == 0


def test_panels_of_a_run_are_written(store: Store, tmp_path: Path, model: Path) -> None:
    progress: list[int] = []
    request = ask(index(store), tmp_path, model)
    folder = tmp_path / "panels"
    assert draw_panels(store, request, folder, lambda done, total: progress.append(done)) == GOOD
    assert {path.stem for path in folder.glob("*.png")} == {
        row["crop_id"] for row in rows() if row["image"][:2] != b"no"
    }
    assert progress[-1] == GOOD
    assert not list(folder.glob("*.partial"))


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "schp.pth").touch()
    monkeypatch.chdir(tmp_path)
    assert RegionsRequest(run="r", parser="labels:maps").parser == f"labels:{tmp_path / 'maps'}"
    assert RegionsRequest(run="r", parser="schp:schp.pth:atr").parser == f"schp:{tmp_path / 'schp.pth'}:atr"
    assert RegionsRequest(run="r", parser="default").parser == "default"
    assert RegionsRequest(run="r", parser="hf:some/id", model="default").model == "default"


def test_every_setting_is_documented() -> None:
    documented = f"{RegionsRequest.__doc__} {FinderSettings.__doc__} {ExecutorSettings.__doc__}"
    assert [name for name in RegionsRequest.model_fields if f"{name}:" not in documented] == []
