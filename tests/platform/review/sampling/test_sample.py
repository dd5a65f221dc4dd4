"""Samples, labels and their files in a store of made-up crops."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import PER_TRACKLET, SCHEMA, answer, fill, people
from vestigo.datasets.attributes_mat import read_annotations, write_annotations
from vestigo.retrieval.gallery import Scope
from vestigo.review.estimates.precision import estimate_precision
from vestigo.review.estimates.review_sample import read_review_sample
from vestigo.review.label_studio.images import GAP, HEIGHT, make_strip, render_task_images
from vestigo.review.labels import files
from vestigo.review.labels.sets import current_labels, save_label_set
from vestigo.review.sampling.candidates import collect_tasks, task_key
from vestigo.review.sampling.sample import SamplingRequest, find_open_batch, sample_tasks, save_sample
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.review.records import Annotation
from vestigo_models.errors import ConfigError, DatasetError, UsageError
from vestigo_models.inference.images import decode_image

COUNT = 60


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, dict[str, str]]]:
    ref = tmp_path_factory.mktemp("filled") / "store"
    rows, truth = people(COUNT)
    fill(ref, rows)
    return ref, rows, truth


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    rows, _ = people(COUNT)
    fill(tmp_path / "s", rows)
    with Store.open(tmp_path / "s") as opened:
        opened.review.ensure_project("p", SCHEMA)
        yield opened


def truth_of(count: int = COUNT) -> dict[str, dict[str, str]]:
    return people(count)[1]


def model_of(store: Store) -> Model:
    return next(model for model in store.models.list() if model.digest == MODEL)


@pytest.mark.parametrize("unit", ["tracklet", "crop"])
def test_collected_tasks_equal_a_loop(filled: Any, unit: Any) -> None:
    ref, rows, _ = filled
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["tracklet"] if unit == "tracklet" else row["crop_id"]].append(row)
    with Store.open(ref) as store:
        candidates = collect_tasks(store, model_of(store), unit=unit)
    assert len(candidates.tasks) == len(groups)
    assert [task.key for task in candidates.tasks] == sorted(task.key for task in candidates.tasks)
    for place, task in enumerate(candidates.tasks):
        members = groups[task.tracklet if unit == "tracklet" else task.crops[0]]
        assert list(task.crops) == [r["crop_id"] for r in sorted(members, key=lambda r: (-r["quality"], r["crop_id"]))]
        shares = np.mean([row["attributes"] for row in members], axis=0)
        np.testing.assert_allclose(candidates.features.probabilities[place], shares, atol=1e-6)
        np.testing.assert_allclose(task.prediction, shares, atol=1e-6)
        votes = [sum(np.argmax(r["attributes"][:2]) == k for r in members) / len(members) for k in range(2)]
        np.testing.assert_allclose(candidates.features.votes[place, :2], votes, atol=1e-6)
        mean = np.mean([row["embedding"] for row in members], axis=0)
        np.testing.assert_allclose(candidates.features.embeddings[place], mean / np.linalg.norm(mean), atol=1e-5)
        assert task.time == min(row["time"] for row in members)
        assert task.pid == members[0]["pid"]


def test_thinning_keeps_tasks_by_hash(filled: Any) -> None:
    with Store.open(filled[0]) as store:
        model = model_of(store)
        everything = collect_tasks(store, model)
        few = collect_tasks(store, model, max_tasks=20)
    assert few.thinned in (0.5, 0.25, 0.125)
    assert 0 < len(few.tasks) <= 20
    whole = {task.key: task for task in everything.tasks}
    kept = {key for key in whole if int(key[:12], 16) / 16**12 < few.thinned}
    assert {task.key for task in few.tasks} == kept
    assert all(whole[task.key] == task for task in few.tasks)
    rows = [[task.key for task in everything.tasks].index(task.key) for task in few.tasks]
    np.testing.assert_allclose(few.features.embeddings, everything.features.embeddings[rows], atol=1e-6)


def test_task_key_identifies_crops() -> None:
    row = {"source": "a", "tracklet": "t", "pid": 9, "camera": "c1", "crop_id": "x"}
    assert task_key("tracklet", row) == hashlib.sha256(b"tracklet\0a\0t").hexdigest()[:40]
    assert task_key("tracklet", row | {"tracklet": ""}) == hashlib.sha256(b"person\0a\x009\0c1").hexdigest()[:40]
    alone = hashlib.sha256(b"crop\0x").hexdigest()[:40]
    assert task_key("crop", row) == alone
    for pid in (None, 0, -1):
        assert task_key("tracklet", row | {"tracklet": "", "pid": pid}) == alone


def test_sample_is_saved_once_while_its_batch_is_open(store: Store) -> None:
    model, wanted = model_of(store), SamplingRequest(strategy="least-confident", budget=20)
    first = sample_tasks(store, "p", model, wanted)
    again = sample_tasks(store, "p", model, wanted)
    assert [task.key for task in first.tasks] == [task.key for task in again.tasks]
    assert len(first.tasks) == 20
    assert first.probabilities.sum() == pytest.approx(20)
    assert find_open_batch(store, "p", model, wanted) is None
    batch = save_sample(store, "p", first)
    (page,) = store.review.tasks("p")
    assert [task.key for task in page] == [task.key for task in first.tasks]
    probabilities = store.review.inclusion_probabilities(batch, [task.key for task in first.candidates.tasks])
    assert list(probabilities.values()) == pytest.approx(first.probabilities.tolist())
    open_ = find_open_batch(store, "p", model, wanted)
    assert open_ is not None
    assert open_.id == batch
    assert find_open_batch(store, "p", model, SamplingRequest(strategy="random", budget=20)) is None
    answer(store, "p", truth_of())
    assert find_open_batch(store, "p", model, wanted) is None
    second = sample_tasks(store, "p", model, wanted)
    assert not {task.key for task in second.tasks} & {task.key for task in first.tasks}
    assert second.design.seed == 1


def test_sample_by_one_attribute(store: Store) -> None:
    model = model_of(store)
    wanted = SamplingRequest(strategy="entropy", budget=10, about=("hat",))
    sample = sample_tasks(store, "p", model, wanted)
    assert sample.design.strategy == "entropy of hat"
    doubt = np.abs(sample.candidates.features.probabilities[:, 0] - 0.5)
    order = np.argsort(doubt, kind="stable")
    assert (np.diff(sample.probabilities[order]) <= 1e-12).all()
    save_sample(store, "p", sample)
    assert find_open_batch(store, "p", model, wanted) is not None
    assert find_open_batch(store, "p", model, SamplingRequest(strategy="entropy", budget=10)) is None
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        sample_tasks(store, "p", model, SamplingRequest(strategy="entropy", budget=10, about=("shoes",)))


def test_budget_is_limited_to_available_tasks(store: Store) -> None:
    model = model_of(store)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=50)))
    rest = sample_tasks(store, "p", model, SamplingRequest(strategy="diverse", budget=50))
    assert len(rest.tasks) == COUNT - 50
    save_sample(store, "p", rest)
    assert not sample_tasks(store, "p", model, SamplingRequest(strategy="mix", budget=5)).tasks


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (SamplingRequest(strategy="luck", budget=5), r"unknown strategy 'luck': use entropy, "),
        (SamplingRequest(strategy="random", budget=0), r"budget 0: give a number of tasks"),
        (SamplingRequest(strategy="random", budget=5, scope=Scope(cameras=("roof",))), 'Unknown camera "roof"'),
    ],
)
def test_invalid_requests_are_rejected(store: Store, wanted: SamplingRequest, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        sample_tasks(store, "p", model_of(store), wanted)


def test_strips_show_best_crops_by_time(store: Store) -> None:
    save_sample(store, "p", sample_tasks(store, "p", model_of(store), SamplingRequest(strategy="random", budget=3)))
    (page,) = store.review.tasks("p")
    pictures = render_task_images(store, page)
    assert len(pictures) == 3
    for picture in pictures:
        image = decode_image(picture)
        assert image.shape == (HEIGHT, GAP + PER_TRACKLET * (HEIGHT // 2 + GAP), 3)
        greys = [float(image[128, GAP + 64 + place * (HEIGHT // 2 + GAP)].mean()) for place in range(PER_TRACKLET)]
        assert greys == sorted(greys)
    wide = make_strip([np.zeros((512, 128, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)])
    assert wide.shape == (HEIGHT, 3 * GAP + 64 + 1024, 3)


def test_precision_of_a_complete_review_is_the_share(store: Store) -> None:
    rows, truth = people(COUNT)
    save_sample(store, "p", sample_tasks(store, "p", model_of(store), SamplingRequest(strategy="random", budget=COUNT)))
    answer(store, "p", truth)
    sample = read_review_sample(store, model_of(store))
    assert sample.missing == 0
    assert len(sample.reviewed.task) == len(rows)
    right = np.mean([("no", "yes")[int(np.argmax(r["attributes"][:2]))] == truth[r["tracklet"]]["hat"] for r in rows])
    np.testing.assert_array_equal(sample.reviewed.probability, 1.0)
    plain = estimate_precision(sample.reviewed).attributes["hat"].accuracy
    assert plain is not None
    assert plain.low - 0.03 <= right <= plain.high + 0.03
    assert {str(camera) for camera in sample.reviewed.camera} == {"c1", "c2"}


def test_probabilities_of_a_half_annotated_batch(store: Store) -> None:
    model = model_of(store)
    sample = sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=20))
    save_sample(store, "p", sample)
    (page,) = store.review.tasks("p")
    replaced = {task.key: [Annotation(task.id, "ana", task.time or task.id, {"hat": "no"})] for task in page[:10]}
    store.annotations.replace("p", replaced)
    sample = read_review_sample(store, model)
    np.testing.assert_allclose(sample.reviewed.probability, 20 / COUNT / 2)
    assert (sample.reviewed.answer[:, 1] == -1).all()


def test_precision_and_label_set_need_annotations(store: Store) -> None:
    with pytest.raises(UsageError, match="no sampled task is annotated yet"):
        read_review_sample(store, model_of(store))
    with pytest.raises(UsageError, match="no label is agreed on in p yet"):
        save_label_set(store)


def test_label_set_changes_with_agreed_labels_only(store: Store) -> None:
    save_sample(store, "p", sample_tasks(store, "p", model_of(store), SamplingRequest(strategy="random", budget=10)))
    answer(store, "p", truth_of())
    first = save_label_set(store)
    assert (first.version, first.tasks, first.labels) == (1, 10, 20)
    assert save_label_set(store) == first
    (page,) = store.review.tasks("p")
    store.annotations.replace("p", {page[0].key: [Annotation(1, "ana", page[0].time, {"hat": "yes"})]})
    second = save_label_set(store)
    assert (second.version, second.labels) == (2, 19)
    assert store.label_sets.load(1)[0] == first


def test_csv_labels_round_trip(store: Store, tmp_path: Path) -> None:
    save_sample(store, "p", sample_tasks(store, "p", model_of(store), SamplingRequest(strategy="random", budget=10)))
    answer(store, "p", truth_of())
    path = tmp_path / "labels.csv"
    assert files.write_csv(current_labels(store, ["p"]), path) == 20
    given = files.group_label_rows(files.read_csv(path, SCHEMA), "labels.csv")
    fill(tmp_path / "other", people(COUNT)[0])
    with Store.open(tmp_path / "other") as other:
        done = files.import_labels(other, "files", model_of(other), given, "labels.csv")
        assert (done.tasks, done.created, done.labels, done.unknown) == (10, 10, 20, 0)
        again = files.import_labels(other, "files", model_of(other), given, "labels.csv")
        assert (again.tasks, again.created) == (10, 0)
        ours, theirs = (
            sorted(
                (r["attribute"], tuple(sorted(r["crops"])), r["value"], r["reviewers"]) for r in current_labels(s, [p])
            )
            for s, p in ((store, "p"), (other, "files"))
        )
    assert ours == theirs


def test_mat_labels_round_trip(store: Store, tmp_path: Path) -> None:
    truth = truth_of()
    save_sample(store, "p", sample_tasks(store, "p", model_of(store), SamplingRequest(strategy="random", budget=COUNT)))
    answer(store, "p", truth)
    pids = {row["crop_id"]: row["pid"] for row in people(COUNT)[0] if row["pid"]}
    labels = files.identity_labels(current_labels(store, ["p"]), pids, SCHEMA)
    write_annotations(tmp_path / "labels.mat", {"train": labels, "test": labels})
    back = read_annotations(tmp_path / "labels.mat", SCHEMA, "train")
    assert len(back.pids) == COUNT // 2
    for pid, row in zip(back.pids.tolist(), back.labels.tolist(), strict=True):
        values = truth[f"t{pid - 1:04d}"]
        assert [a.values[k] for a, k in zip(SCHEMA.attributes, row, strict=True)] == [values["hat"], values["colour"]]
    fill(tmp_path / "other", people(COUNT)[0])
    with Store.open(tmp_path / "other") as other:
        given = list(files.match_identity_labels(other, model_of(other), [back], "labels.mat"))
        done = files.import_labels(other, "files", model_of(other), given, "labels.mat")
        assert (done.tasks, done.unknown) == (COUNT // 2, 0)
        for row in current_labels(other, ["files"]):
            assert row["value"] == truth[row["tracklet"]][row["attribute"]]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attribute": "shoe"}, r"line 2: 'shoe' is not an attribute of two: hat, colour"),
        ({"value": "maybe"}, r"line 2: hat cannot be 'maybe'; it is one of no, yes"),
        ({"answered": "noon"}, r"line 2: 'noon' is not a time"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    row = {"crops": "a;b", "attribute": "hat", "value": "no", "reviewers": "ana", "answered": ""} | change
    with (tmp_path / "l.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, row)
        table.writeheader()
        table.writerow(row)
    with pytest.raises(DatasetError, match=complaint):
        list(files.read_csv(tmp_path / "l.csv", SCHEMA))


def test_unreadable_csv_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("crop,attribute\n")
    with pytest.raises(DatasetError, match="column 'crops' is missing"):
        list(files.read_csv(tmp_path / "l.csv", SCHEMA))
    with pytest.raises(DatasetError, match="is no CSV file"):
        list(files.read_csv(tmp_path / "missing.csv", SCHEMA))


def test_import_needs_crops_and_a_project_of_its_own(store: Store) -> None:
    given = [files.CropLabels(crops=("0" * 20,), values={"hat": "no"}, annotators=("x",), updated=None)]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="none of its crops is in the store"):
        files.import_labels(store, "files", model_of(store), given, "l.csv")
    store.review.link_project("p", "http://127.0.0.1:8080", 1)
    with pytest.raises(UsageError, match="project p is one of Label Studio"):
        files.import_labels(store, "p", model_of(store), given, "l.csv")
