"""What annotators were asked and answered, in the catalogue of both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW, LABELS
from vestigo.store.review.records import Annotation, NewTask, SamplingDesign
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow

MODEL = "a" * 64
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SCHEMA = AttributeSchema(
    name="two",
    attributes=(
        Attribute(name="hat", title="Hat", values=("no", "yes"), fields=("hat",)),
        Attribute(name="bag", title="Bag", values=("no", "yes"), fields=("bag",)),
    ),
)
DRAWN = SamplingDesign(model=MODEL, strategy="random", unit="tracklet", budget=3, seed=1, population=10)


def new_task(number: int) -> NewTask:
    return NewTask(
        key=f"{number:040x}",
        source="gate",
        tracklet=f"t{number}",
        camera="c1",
        time=NOON + timedelta(seconds=number),
        pid=None,
        crops=(f"{number:020x}", f"{number + 100:020x}"),
        prediction=(0.25, 0.75, 0.5, 0.5),
    )


TASKS = [new_task(number) for number in (7, 3, 5)]
KEYS = [task.key for task in TASKS]


def probabilities(*keys: str) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"task": list(keys), "probability": [0.3] * len(keys)}, DRAW)]


def annotation(remote_id: int, hat: str, *, annotator: str = "ana", minutes: int = 0) -> Annotation:
    return Annotation(remote_id, annotator, NOON + timedelta(minutes=minutes), {"hat": hat, "bag": "cannot tell"})


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as opened:
        opened.models.register(MODEL, name="m", location="default")
        yield opened


@pytest.fixture
def drawn(store: Store) -> Store:
    store.review.ensure_project("p", SCHEMA)
    store.review.save_sample("p", DRAWN, TASKS, probabilities(*KEYS, "f" * 40))
    return store


def test_a_draw_is_remembered_in_the_order_of_its_review(drawn: Store) -> None:
    (page,) = drawn.review.tasks("p")
    assert [task.key for task in page] == KEYS
    assert [task.position for task in page] == [0, 1, 2]
    assert {task.state for task in page} == {"drawn"}
    first = page[0]
    assert (first.crops, first.prediction, first.time, first.model) == (
        TASKS[0].crops,
        TASKS[0].prediction,
        TASKS[0].time,
        MODEL,
    )
    (batch,) = drawn.review.samples("p")
    assert (batch.design, batch.tasks, batch.imported) == (DRAWN, 3, False)
    assert drawn.review.inclusion_probabilities(batch.id, [KEYS[0], "f" * 40, "0" * 40]) == {
        KEYS[0]: 0.3,
        "f" * 40: 0.3,
    }
    assert drawn.check().intact


def test_pages_meet_without_a_gap(drawn: Store) -> None:
    more = [new_task(number) for number in range(20, 25)]
    drawn.review.save_sample("p", DRAWN, more, probabilities(*(task.key for task in more)))
    pages = list(drawn.review.tasks("p", rows=3))
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [task.key for page in pages for task in page] == KEYS + [task.key for task in more]


def test_no_task_is_drawn_twice(drawn: Store) -> None:
    with pytest.raises(StoreError, match="was sampled before"):
        drawn.review.save_sample("p", DRAWN, [new_task(9), TASKS[1]], probabilities())
    assert drawn.review.task_counts("p") == {"drawn": 3, "answered": 0}


def test_answers_are_replaced_not_added(drawn: Store) -> None:
    assert drawn.annotations.replace("p", {KEYS[0]: [annotation(1, "yes"), annotation(2, "no", annotator="ben")]}) == 2
    assert drawn.annotations.replace("p", {KEYS[0]: [annotation(1, "yes"), annotation(2, "no", annotator="ben")]}) == 0
    assert drawn.annotations.replace("p", {KEYS[0]: [annotation(1, "no", minutes=5)], KEYS[1]: []}) == 2
    assert drawn.annotations.get("p", KEYS) == {KEYS[0]: (annotation(1, "no", minutes=5),)}
    assert drawn.review.task_counts("p")["answered"] == 1


def test_annotations_follow_deleted_and_restored_task(drawn: Store) -> None:
    drawn.review.mark_pushed("p", {key: place for place, key in enumerate(KEYS)})
    drawn.annotations.replace("p", {key: [annotation(place, "yes")] for place, key in enumerate(KEYS)})
    assert drawn.review.mark_deleted("p", KEYS[:2]) == 2
    assert drawn.review.mark_deleted("p", KEYS[:2]) == 0
    assert set(drawn.annotations.get("p", KEYS)) == {KEYS[2]}
    assert drawn.review.task_counts("p") == {"deleted": 2, "pushed": 1, "answered": 1}
    drawn.review.mark_pushed("p", {KEYS[0]: 77})
    back = next(drawn.review.tasks("p", states=("pushed",)))
    assert [(task.key, task.remote_id) for task in back] == [(KEYS[0], 77), (KEYS[2], 2)]


def test_tasks_exceed_query_limit(store: Store) -> None:
    store.review.ensure_project("p", SCHEMA)
    many = [new_task(number) for number in range(1300)]
    keys = [task.key for task in many]
    store.review.save_sample("p", DRAWN, many, probabilities(*keys))
    store.review.mark_pushed("p", {key: place for place, key in enumerate(keys)})
    assert store.annotations.replace("p", {key: [annotation(place, "yes")] for place, key in enumerate(keys)}) == 1300
    assert store.review.task_counts("p") == {"pushed": 1300, "answered": 1300}
    assert store.review.mark_deleted("p", keys[:1200]) == 1200
    assert store.review.task_counts("p") == {"pushed": 100, "deleted": 1200, "answered": 100}


def test_a_project_keeps_its_schema(drawn: Store) -> None:
    assert drawn.review.ensure_project("p", SCHEMA) == drawn.review.find_project("p")
    renamed = AttributeSchema(
        name="two", attributes=(replace(SCHEMA.attributes[0], name="headgear"), SCHEMA.attributes[1])
    )
    with pytest.raises(
        StoreError, match=r"project p .*only the project has hat; only the model has headgear.*another name"
    ):
        drawn.review.ensure_project("p", renamed)
    drawn.review.link_project("p", "http://127.0.0.1:8080", 4)
    assert (drawn.review.get_project("p").server, drawn.review.get_project("p").remote_id) == (
        "http://127.0.0.1:8080",
        4,
    )


def test_missing_records_are_reported(drawn: Store) -> None:
    with pytest.raises(StoreError, match=r"project q is not in the store \(there are: p\)"):
        drawn.review.get_project("q")
    with pytest.raises(StoreError, match=r"model b.* is not registered"):
        drawn.review.save_sample("p", replace(DRAWN, model="b" * 64), [], probabilities())
    with pytest.raises(StoreError, match=r"task 0+9 is not one of project p"):
        drawn.annotations.replace("p", {new_task(9).key: [annotation(1, "yes")]})
    with pytest.raises(StoreError, match=r"label set 3 is not in the store; its versions are: none yet"):
        drawn.label_sets.load(3)


def test_imported_tasks_have_their_labels(store: Store) -> None:
    store.review.ensure_project("files", MARKET_1501)
    draw = replace(DRAWN, strategy="labels.csv", budget=3, population=0)
    batch = store.annotations.import_tasks("files", draw, TASKS, {KEYS[0]: [annotation(1, "yes")]})
    (recorded,) = store.review.samples("files")
    assert (recorded.id, recorded.imported) == (batch, True)
    assert store.review.inclusion_probabilities(batch, KEYS) == {}
    assert store.review.task_counts("files") == {"imported": 3, "answered": 1}


def test_label_sets_are_versions(store: Store) -> None:
    row = dict.fromkeys(LABELS.names) | {"project": "p", "task": KEYS[0], "attribute": "hat", "value": "yes"}
    rows = pa.RecordBatch.from_pylist([row], LABELS)
    first = store.label_sets.save([rows], digest="d1", tasks=1, projects=("p",))
    second = store.label_sets.save([], digest="d2", tasks=0, projects=())
    assert [label_set.version for label_set in store.label_sets.list()] == [first.version, second.version]
    loaded, batches = store.label_sets.load(first.version)
    assert (loaded.digest, loaded.labels, next(batches).to_pylist()[0]["value"]) == ("d1", 1, "yes")
    assert store.check().intact
    assert not store.vacuum(now=True).paths
