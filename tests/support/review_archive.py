"""A store with people whose attributes are known, and what a mistaken model says of them; and reviewers who answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.fake_pipeline import MODEL, START, crop, crop_table
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.review.records import Annotation
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.inference.images import encode_jpeg
from vestigo_models.schemas.attributes import Attribute, AttributeSchema

SCHEMA = AttributeSchema(
    name="two",
    attributes=(
        Attribute(name="hat", title="Hat", values=("no", "yes"), fields=("hat",)),
        Attribute(name="colour", title="Colour", values=("red", "green", "blue"), fields=("red", "green", "blue")),
    ),
)
PER_TRACKLET = 3


def fill(ref: Path, rows: list[dict[str, Any]], *, model: str = MODEL, name: str = "fake") -> None:
    """Put crops into a store as if a run of `model` had seen them."""
    with Store.open(ref) as store:
        store.models.register(model, name=name, location="nowhere", facts=ModelFacts(attributes=SCHEMA, blocks=(4,)))
        run = store.runs.create(
            fingerprint=model, config={"model": model}, model=model, command="index", replaces=False
        )
        store.shards.plan(run.id, [ShardPlan("images", "gate", None, {}, (InputPlan("all", f"all {model}"),))])
        store.runs.take_lease(run.id)
        (task,) = store.shards.pending(run.id, limit=1)
        file = DataRoot(store.data).write("crops", run.id, task.id, crop_table(rows))
        store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(0, "done", rows=len(rows))])
        store.runs.finish(run.id, "succeeded")


def people(count: int, *, wrong: float = 0.2, seed: int = 0) -> tuple[list[dict[str, Any]], dict[str, dict[str, str]]]:
    """Crops of `count` tracklets of `PER_TRACKLET` each, half of them also known by pid; the truth by tracklet.

    The model is wrong about a share of all tracklets, and about single crops besides.
    """
    rng = np.random.default_rng(seed)
    rows, truth = [], {}
    for person in range(count):
        classes = [int(rng.integers(len(attribute.values))) for attribute in SCHEMA.attributes]
        tracklet = f"t{person:04d}"
        named = zip(SCHEMA.attributes, classes, strict=True)
        truth[tracklet] = {attribute.name: attribute.values[value] for attribute, value in named}
        mistaken = rng.random(2) < wrong
        for number in range(PER_TRACKLET):
            shares: list[float] = []
            for attribute, value, always in zip(SCHEMA.attributes, classes, mistaken, strict=True):
                predicted = (value + 1) % len(attribute.values) if always or rng.random() < 0.05 else value
                sure = rng.uniform(0.5, 0.7) if always else rng.uniform(0.6, 0.99)
                shares += [
                    sure if k == predicted else (1 - sure) / (len(attribute.values) - 1)
                    for k in range(len(attribute.values))
                ]
            image = encode_jpeg(np.full((128, 64, 3), 40 + 30 * classes[1] + number, dtype=np.uint8))
            more = {
                "source": "gate",
                "tracklet": tracklet,
                "frame": number,
                "time": START + timedelta(seconds=60 * person + number),
                "camera": f"c{1 + person % 2}",
                "attributes": shares,
                "image": image,
                "pid": person + 1 if person % 2 else None,
            }
            rows.append(crop(f"{tracklet}-{number}", **more))
    return rows, truth


def answer(store: Store, project: str, truth: Mapping[str, Mapping[str, str]], *, reviewer: str = "ana") -> int:
    """Let a reviewer who is never wrong answer every drawn task; returns how many."""
    count = 0
    for page in store.review.tasks(project):
        result = {
            task.key: [Annotation(task.id, reviewer, START + timedelta(days=1), dict(truth[task.tracklet]))]
            for task in page
        }
        store.annotations.replace(project, result)
        count += len(result)
    return count
