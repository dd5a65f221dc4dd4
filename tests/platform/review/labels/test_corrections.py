"""Corrections on the screen: audit entries, replacement, and their use in labels and estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import PER_TRACKLET, SCHEMA, answer, fill, people
from vestigo.resolve import find_registered
from vestigo.review.estimates.review_sample import read_review_sample
from vestigo.review.labels.agreement import annotated_tasks, known_labels
from vestigo.review.labels.corrections import (
    CORRECTION_COLUMNS,
    PROJECT,
    correct_sighting,
    correction_task,
    corrections_project,
    find_corrections,
)
from vestigo.review.labels.files import CropLabels, import_labels
from vestigo.review.labels.sets import read_label_set, save_label_set
from vestigo.review.sampling.sample import SamplingRequest, sample_tasks, save_sample
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo_models.errors import UsageError

OTHER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    rows, _ = people(12)
    fill(tmp_path / "store", rows)
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def model(store: Store) -> Model:
    return find_registered(store, MODEL)


def crops(store: Store, tracklet: str = "t0003") -> list[dict[str, Any]]:
    rows = [row for batch in store.crops.scan(CORRECTION_COLUMNS) for row in batch.to_pylist()]
    return [row for row in rows if row["tracklet"] == tracklet]


def test_correction_is_recorded_with_audit_entry(store: Store, model: Model) -> None:
    rows = crops(store)
    before = store.annotations.version()
    task = correct_sighting(store, model, rows, {"hat": "yes", "colour": "cannot tell"}, user="ana", case="2026-17")
    (annotated,) = annotated_tasks(store, PROJECT)
    assert annotated.task == task
    assert (task.state, task.model, task.tracklet, len(task.crops)) == ("imported", MODEL, "t0003", PER_TRACKLET)
    means = [sum(row["attributes"][k] for row in rows) / PER_TRACKLET for k in range(SCHEMA.classes)]
    assert task.prediction == pytest.approx(means, abs=1e-6)
    assert annotated.annotations == {"ana": {"hat": "yes", "colour": "cannot tell"}}
    assert store.annotations.version() != before
    (entry,) = store.audit.entries(action="correct")
    assert (entry.user, entry.case) == ("ana", "2026-17")
    assert (entry.details["task"], entry.details["model"]) == (task.key, MODEL)
    assert entry.details["answers"] == {"hat": "yes", "colour": "cannot tell"}


def test_correction_replaces_only_the_users_own(store: Store, model: Model) -> None:
    rows = crops(store)
    correct_sighting(store, model, rows, {"hat": "yes"}, user="ana")
    correct_sighting(store, model, rows, {"hat": "no"}, user="ben")
    correct_sighting(store, model, rows, {"hat": "no", "colour": "red"}, user="ana")
    held = {correction.annotator: dict(correction.answers) for correction in find_corrections(store, model, rows)}
    assert held == {"ana": {"hat": "no", "colour": "red"}, "ben": {"hat": "no"}}
    correct_sighting(store, model, crops(store, "t0004"), {"hat": "yes"}, user="ben")
    assert len(store.review.samples(PROJECT)) == 1
    assert [len(page) for page in store.review.tasks(PROJECT)] == [2]
    assert len(store.audit.entries(action="correct")) == 4


def test_correction_is_a_label_but_not_in_precision(store: Store, model: Model) -> None:
    _, truth = people(12)
    store.review.ensure_project("p", SCHEMA)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=6)))
    answer(store, "p", truth)
    sample = read_review_sample(store, model)
    drawn = {task.tracklet for page in store.review.tasks("p") for task in page}
    outside = min(truth.keys() - drawn)
    correct_sighting(store, model, crops(store, outside), {"hat": "yes"}, user="ana")
    correct_sighting(store, model, crops(store, min(drawn)), {"hat": "cannot tell"}, user="ana")
    again = read_review_sample(store, model)
    assert again.crops.tolist() == sample.crops.tolist()
    assert again.reviewed.answer.tolist() == sample.reviewed.answer.tolist()
    assert again.reviewed.probability.tolist() == sample.reviewed.probability.tolist()
    rows = [row for row in read_label_set(store, save_label_set(store)) if row["project"] == PROJECT]
    assert {(row["tracklet"], row["value"]) for row in rows} == {(outside, "yes"), (min(drawn), "cannot tell")}
    assert all(row["reviewers"] == ["ana"] and row["model"] == MODEL for row in rows)
    assert known_labels(store, SCHEMA)[f"{crops(store, outside)[0]['crop_id']}"] == {"hat": "yes"}


def test_correction_does_not_change_other_projects(store: Store, model: Model) -> None:
    rows = crops(store)
    task = correct_sighting(store, model, rows, {"hat": "yes"}, user="ana")
    store.review.ensure_project("p", SCHEMA)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=12)))
    assert task.key in {each.key for page in store.review.tasks("p") for each in page}
    # What a pull does to tasks of a project whose server has nothing.
    store.annotations.replace("p", {task.key: []})
    store.review.mark_deleted("p", [task.key])
    assert [correction.annotator for correction in find_corrections(store, model, rows)] == ["ana"]


def test_correction_belongs_to_the_newest_model(store: Store, model: Model, tmp_path: Path) -> None:
    rows = crops(store)
    correct_sighting(store, model, rows, {"hat": "yes"}, user="ana")
    store.models.register(OTHER, name="other", location="nowhere", facts=model.facts)
    later = [{**row, "attributes": [0.1, 0.9, 0.2, 0.3, 0.5]} for row in rows]
    task = correct_sighting(store, find_registered(store, OTHER), later, {"hat": "no"}, user="ben")
    assert (task.model, task.prediction) == (OTHER, (0.1, 0.9, 0.2, 0.3, 0.5))
    (annotated,) = annotated_tasks(store, PROJECT)
    assert annotated.task == task
    assert annotated.annotations.keys() == {"ana", "ben"}


def test_still_is_a_task(store: Store) -> None:
    rows = [{**crops(store)[0], "tracklet": "", "pid": 4}]
    other = [{**crops(store)[1], "tracklet": "", "pid": 4}]
    assert correction_task(rows).key != correction_task(other).key
    assert correction_task(rows).crops == (rows[0]["crop_id"],)


def test_invalid_corrections_are_rejected(store: Store, model: Model) -> None:
    rows = crops(store)
    with pytest.raises(UsageError, match="no value is given"):
        correct_sighting(store, model, rows, {}, user="ana")
    with pytest.raises(UsageError, match="hat 'maybe' is not one of no, yes, cannot tell"):
        correct_sighting(store, model, rows, {"hat": "maybe"}, user="ana")
    assert store.review.projects() == []


def test_corrections_project_is_reserved(store: Store, model: Model) -> None:
    given = CropLabels(crops=("x",), values={"hat": "yes"}, annotators=("ana",), updated=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is reserved for corrections"):
        import_labels(store, PROJECT, model, [given], "file")
    # A server may have had one of this name before.
    store.review.ensure_project(PROJECT, SCHEMA)
    store.review.link_project(PROJECT, "http://studio.example", 3)
    assert corrections_project(store, SCHEMA) == "corrections 2"
    other = replace(SCHEMA, attributes=SCHEMA.attributes[:1])
    store.review.ensure_project("corrections 2", other)
    assert corrections_project(store, SCHEMA) == "corrections 3"
    assert corrections_project(store, other) == "corrections 2"
