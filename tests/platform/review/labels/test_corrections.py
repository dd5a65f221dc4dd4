"""Corrections in place: whose they are, what they replace and what not, and where they count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import PER_TRACKLET, SCHEMA, answer, fill, people
from vestigo.resolve import find_registered
from vestigo.review.estimates.sample import review_sample
from vestigo.review.labels.agreement import known_labels, reviewed_tasks
from vestigo.review.labels.corrections import NEEDED, correct, correction_task, corrections_of
from vestigo.review.labels.importing import IN_PLACE, GivenLabels, import_labels, in_place_project
from vestigo.review.labels.rows import freeze, kept_labels
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
    rows = [row for batch in store.crops.scan(NEEDED) for row in batch.to_pylist()]
    return [row for row in rows if row["tracklet"] == tracklet]


def test_a_correction_is_kept_with_who_when_and_what_it_corrects(store: Store, model: Model) -> None:
    rows = crops(store)
    before = store.annotations.version()
    task = correct(store, model, rows, {"hat": "yes", "colour": "cannot tell"}, user="ana", case="2026-17")
    (found,) = reviewed_tasks(store, IN_PLACE)
    assert found.task == task
    assert (task.state, task.model, task.tracklet, len(task.crops)) == ("imported", MODEL, "t0003", PER_TRACKLET)
    means = [sum(row["attributes"][k] for row in rows) / PER_TRACKLET for k in range(SCHEMA.classes)]
    assert task.prediction == pytest.approx(means, abs=1e-6)
    assert found.said == {"ana": {"hat": "yes", "colour": "cannot tell"}}
    assert store.annotations.version() != before
    (entry,) = store.audit.entries(action="correct")
    assert (entry.user, entry.case) == ("ana", "2026-17")
    assert (entry.details["task"], entry.details["model"]) == (task.key, MODEL)
    assert entry.details["answers"] == {"hat": "yes", "colour": "cannot tell"}


def test_the_same_person_replaces_and_another_one_stands_beside(store: Store, model: Model) -> None:
    rows = crops(store)
    correct(store, model, rows, {"hat": "yes"}, user="ana")
    correct(store, model, rows, {"hat": "no"}, user="ben")
    correct(store, model, rows, {"hat": "no", "colour": "red"}, user="ana")
    held = {one.reviewer: dict(one.answers) for one in corrections_of(store, model, rows)}
    assert held == {"ana": {"hat": "no", "colour": "red"}, "ben": {"hat": "no"}}
    correct(store, model, crops(store, "t0004"), {"hat": "yes"}, user="ben")
    assert len(store.review.batches(IN_PLACE)) == 1
    assert [len(page) for page in store.review.tasks(IN_PLACE)] == [2]
    assert len(store.audit.entries(action="correct")) == 4


def test_it_is_learnt_from_and_takes_no_part_in_precision(store: Store, model: Model) -> None:
    _, truth = people(12)
    store.review.ensure_project("p", SCHEMA)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=6)))
    answer(store, "p", truth)
    sample = review_sample(store, model)
    drawn = {task.tracklet for page in store.review.tasks("p") for task in page}
    outside = min(truth.keys() - drawn)
    correct(store, model, crops(store, outside), {"hat": "yes"}, user="ana")
    correct(store, model, crops(store, min(drawn)), {"hat": "cannot tell"}, user="ana")
    again = review_sample(store, model)
    assert again.crops.tolist() == sample.crops.tolist()
    assert again.reviewed.answer.tolist() == sample.reviewed.answer.tolist()
    assert again.reviewed.probability.tolist() == sample.reviewed.probability.tolist()
    rows = [row for row in kept_labels(store, freeze(store)) if row["project"] == IN_PLACE]
    assert {(row["tracklet"], row["value"]) for row in rows} == {(outside, "yes"), (min(drawn), "cannot tell")}
    assert all(row["reviewers"] == ["ana"] and row["model"] == MODEL for row in rows)
    assert known_labels(store, SCHEMA)[f"{crops(store, outside)[0]['crop_id']}"] == {"hat": "yes"}


def test_another_project_of_the_same_tracklet_stays_apart(store: Store, model: Model) -> None:
    rows = crops(store)
    task = correct(store, model, rows, {"hat": "yes"}, user="ana")
    store.review.ensure_project("p", SCHEMA)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=12)))
    assert task.key in {one.key for page in store.review.tasks("p") for one in page}
    # What a pull does to tasks of a project whose server has nothing.
    store.annotations.replace("p", {task.key: []})
    store.review.mark_deleted("p", [task.key])
    assert [one.reviewer for one in corrections_of(store, model, rows)] == ["ana"]


def test_a_later_model_is_what_a_later_correction_corrects(store: Store, model: Model, tmp_path: Path) -> None:
    rows = crops(store)
    correct(store, model, rows, {"hat": "yes"}, user="ana")
    store.models.register(OTHER, name="other", location="nowhere", facts=model.facts)
    later = [{**row, "attributes": [0.1, 0.9, 0.2, 0.3, 0.5]} for row in rows]
    task = correct(store, find_registered(store, OTHER), later, {"hat": "no"}, user="ben")
    assert (task.model, task.prediction) == (OTHER, (0.1, 0.9, 0.2, 0.3, 0.5))
    (found,) = reviewed_tasks(store, IN_PLACE)
    assert found.task == task
    assert found.said.keys() == {"ana", "ben"}


def test_a_still_is_a_task_of_its_own(store: Store) -> None:
    rows = [{**crops(store)[0], "tracklet": "", "pid": 4}]
    other = [{**crops(store)[1], "tracklet": "", "pid": 4}]
    assert correction_task(rows).key != correction_task(other).key
    assert correction_task(rows).crops == (rows[0]["crop_id"],)


def test_what_cannot_be_understood_is_refused(store: Store, model: Model) -> None:
    rows = crops(store)
    with pytest.raises(UsageError, match="nothing was answered"):
        correct(store, model, rows, {}, user="ana")
    with pytest.raises(UsageError, match="hat 'maybe' is not one of no, yes, cannot tell"):
        correct(store, model, rows, {"hat": "maybe"}, user="ana")
    assert store.review.projects() == []


def test_nothing_else_goes_into_its_project(store: Store, model: Model) -> None:
    given = GivenLabels(crops=("x",), answers={"hat": "yes"}, reviewers=("ana",), answered=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="holds what people correct in place"):
        import_labels(store, IN_PLACE, model, [given], "file")
    # A server may have had one of this name before.
    store.review.ensure_project(IN_PLACE, SCHEMA)
    store.review.link_project(IN_PLACE, "http://studio.example", 3)
    assert in_place_project(store, SCHEMA) == "corrections 2"
    other = replace(SCHEMA, attributes=SCHEMA.attributes[:1])
    store.review.ensure_project("corrections 2", other)
    assert in_place_project(store, SCHEMA) == "corrections 3"
    assert in_place_project(store, other) == "corrections 2"
