"""Stores of people whose attributes were reviewed, for the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.fake_pipeline import MODEL, START
from tests.support.review_archive import SCHEMA, fill, people
from vestigo.resolve import resolve_review_model
from vestigo.review.labels.agreement import CANNOT_TELL, predicted_value
from vestigo.review.sampling.sample import SamplingRequest, sample_tasks, save_sample
from vestigo.sightings.index import BrowseIndex
from vestigo.store.open import Store
from vestigo.store.review.records import Annotation, LabelTask

PEOPLE, DRAWN = 60, 40
SERVER = "http://studio.example"
DATASET = "Market-1501 0123456789ab"
SCORES = {
    "mAP": 50.0,
    "attributes": {"hat": 91.5, "colour": None},
    "attributes_labelled_only": {"hat": 93.25, "colour": 71.0},
}


def reviewed_store(ref: Path, *, draw: bool = True, hats_only: bool = False) -> Path:
    """Make a store: the model is judged on a dataset, `DRAWN` of `PEOPLE` were reviewed by somebody who is right."""
    rows, truth = people(PEOPLE)
    fill(ref, rows)
    with Store.open(ref) as store, BrowseIndex.open(store) as index:
        index.refresh()
        store.models.record_scores(MODEL, {DATASET: SCORES, "gate": {"promoted": True, "reasons": []}})
        if draw:
            first = None

            def says(task: LabelTask) -> dict[str, str]:
                nonlocal first
                first = first or task.key
                result = {name: truth[task.tracklet][name] for name in (("hat",) if hats_only else SCHEMA.names)}
                # One hat that nobody can see.
                return result | ({"hat": CANNOT_TELL} if task.key == first else {})

            review(store, says, DRAWN)
    return ref


def review_with_mistakes(ref: Path, *, right: float = 0.8, untold: float = 0.05, budget: int = 200) -> None:
    """Let somebody review a store, who agrees with the model as often as that, but for the last attribute."""
    rng = np.random.default_rng(0)
    with Store.open(ref) as store:
        schema = resolve_review_model(store).facts.attributes
        assert schema is not None

        def says(task: LabelTask) -> dict[str, str]:
            result = {}
            for attribute in schema.attributes[:-1]:
                predicted, _ = predicted_value(schema, attribute.name, task.prediction)
                others = [value for value in attribute.values if value != predicted]
                result[attribute.name] = predicted if rng.random() < right else str(rng.choice(others))
                if rng.random() < untold:
                    result[attribute.name] = CANNOT_TELL
            return result

        review(store, says, budget)


def review(store: Store, says: Callable[[LabelTask], dict[str, str]], budget: int) -> None:
    """Draw tasks and let `ana` answer them on a server."""
    model = resolve_review_model(store)
    assert model.facts.attributes is not None
    store.review.ensure_project("p", model.facts.attributes)
    store.review.link_project("p", SERVER, 7)
    save_sample(store, "p", sample_tasks(store, "p", model, SamplingRequest(strategy="random", budget=budget)))
    for page in store.review.tasks("p"):
        store.review.mark_pushed("p", {task.key: 100 + task.id for task in page})
        result = {task.key: [Annotation(task.id, "ana", START, says(task))] for task in page}
        store.annotations.replace("p", result)
