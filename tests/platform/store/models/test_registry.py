from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from tests.support import fake_pipeline
from tests.support.forkserver import preloaded_context
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo.store.runs.records import InputOutcome
from vestigo_models.errors import StoreError

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = "aaaaaa" + "1" * 58, "aaaaaa" + "2" * 58, "bbbbbb" + "3" * 58
FORKS = preloaded_context("tests.support.fake_pipeline")


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as store:
        for digest, name in ((FIRST, "base"), (SECOND, "challenger"), (THIRD, "other")):
            store.models.register(digest, name=name, location=f"models/{name}")
        yield store


def promote(store: Store, digest: str) -> None:
    store.models.promote(digest, by="ann", reasons=["better"], expected_before=store.models.serving())


def test_model_origin_is_stored_and_scores_are_merged(store: Store) -> None:
    store.models.record_training(SECOND, FIRST, {"label_set": 3, "config": {"epochs": 2}})
    store.models.record_scores(SECOND, {"market": {"mAP": 50.0}, "gate": {"promoted": False}})
    store.models.record_scores(SECOND, {"gate": {"promoted": True}})
    by_digest = {model.digest: model for model in store.models.list()}
    assert (by_digest[SECOND].parent, by_digest[SECOND].origin) == (FIRST, {"label_set": 3, "config": {"epochs": 2}})
    assert by_digest[SECOND].scores == {"market": {"mAP": 50.0}, "gate": {"promoted": True}}
    assert (by_digest[FIRST].parent, by_digest[FIRST].origin, by_digest[FIRST].scores) == (None, {}, {})
    store.models.register(SECOND, name="renamed", location="elsewhere")
    assert store.models.find("renamed") == store.models.find(SECOND)
    assert store.models.find(SECOND).scores["gate"] == {"promoted": True}  # type: ignore[union-attr]


def test_a_model_is_found_by_name_digest_and_beginning(store: Store) -> None:
    def digest(ref: str) -> str | None:
        model = store.models.find(ref)
        return None if model is None else model.digest

    assert [digest(ref) for ref in ("base", FIRST, FIRST[:7], "bbbbbb")] == [FIRST, FIRST, FIRST, THIRD]
    assert [digest(ref) for ref in ("bbbbb", "bas", "c" * 64, "", "BBBBBB", "b%", "b" * 65)] == [None] * 7
    with pytest.raises(StoreError, match=rf"2 models of the registry are called aaaaaa.*{FIRST[:12]}"):
        store.models.find("aaaaaa")
    store.models.register(THIRD, name="base", location="models/third")
    with pytest.raises(StoreError, match="called base: name one by its digest") as error:
        store.models.find("base")
    assert FIRST[:12] in str(error.value)
    assert THIRD[:12] in str(error.value)


def test_promotions_are_a_stack(store: Store) -> None:
    """Against a list that is pushed to and popped from."""
    stack: list[str | None] = [None]
    for digest in (FIRST, SECOND, None, THIRD, FIRST, None, None, SECOND, None, None):
        if digest is None:
            done = store.models.rollback(by="ben", reasons=["worse"])
            assert (done.kind, done.before, done.model) == ("rollback", stack.pop(), stack[-1])
        else:
            promote(store, digest)
            stack.append(digest)
        assert store.models.serving() == stack[-1]
    assert stack == [None]
    history = store.models.promotions()
    assert [made.kind for made in history].count("rollback") == 5
    assert (history[0].model, history[0].before, history[0].by, history[0].reasons) == (FIRST, None, "ann", ("better",))
    assert (history[2].model, history[2].before, history[2].by) == (FIRST, SECOND, "ben")
    assert all(before.at <= after.at for before, after in pairwise(history))
    with pytest.raises(StoreError, match="nothing to roll back"):
        store.models.rollback(by="ben", reasons=[])
    assert store.models.promotions() == history


def test_refused_promotion_is_reported_in_one_line(store: Store) -> None:
    with pytest.raises(StoreError, match="model cccccccccccc is not in the registry"):
        promote(store, "c" * 64)
    promote(store, FIRST)
    with pytest.raises(StoreError, match=r"base .* serves already"):
        promote(store, FIRST)
    with pytest.raises(StoreError, match=r"base .* serves by now, not no promoted model that challenger"):
        store.models.promote(SECOND, by="ann", reasons=[], expected_before=None)
    with pytest.raises(StoreError, match=r"base .* serves by now, not other"):
        store.models.promote(SECOND, by="ann", reasons=[], expected_before=THIRD)
    for record in (store.models.record_scores, lambda digest, facts: store.models.record_training(digest, None, facts)):
        with pytest.raises(StoreError, match="not in the registry"):
            record("c" * 64, {})
    assert [made.model for made in store.models.promotions()] == [FIRST]


def test_of_promotions_at_the_same_time_one_wins(store: Store) -> None:
    start = Barrier(2)
    lost: list[str] = []

    def run(digest: str) -> None:
        with Store.open(store.ref) as other:
            start.wait()
            try:
                other.models.promote(digest, by="ann", reasons=[], expected_before=None)
            except StoreError as error:
                lost.append(str(error))

    threads = [Thread(target=run, args=(digest,)) for digest in (FIRST, SECOND)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.models.promotions()) == 1
    assert len(lost) == 1
    assert "serves by now" in lost[0]


def test_visible_crops_are_counted_by_model(store: Store) -> None:
    """Against the rows themselves, with files that still hold rows of inputs which another model replaced."""

    def add(names: list[str], model: str, fingerprint: str, *, replaces: bool) -> None:
        run = fake_pipeline.begin(store, model=model, fingerprint=fingerprint, replaces=replaces)
        store.shards.plan(run.id, [fake_pipeline.images(*names)])
        store.runs.take_lease(run.id)
        (task,) = store.shards.pending(run.id, limit=1)
        rows = [fake_pipeline.crop(f"{name}{place}", input=name) for name in names for place in range(2)]
        file = store.root.write("crops", run.id, task.id, fake_pipeline.crop_table(rows))
        outcomes = [InputOutcome(place, "done", rows=2) for place in range(len(names))]
        store.shards.commit(task.id, files=[file], outcomes=outcomes)
        if replaces:
            assert store.models.crop_counts() == counted()
        store.runs.finish(run.id, "succeeded")
        assert store.models.crop_counts() == counted()

    def counted() -> dict[str, int]:
        counts: dict[str, int] = {}
        for batch in store.crops.scan(["model"]):
            for model in batch.column("model").to_pylist():
                counts[model] = counts.get(model, 0) + 1
        return counts

    assert store.models.crop_counts() == {}
    add(["a.jpg", "b.jpg", "c.jpg"], FIRST, "1" * 64, replaces=False)
    add(["b.jpg"], SECOND, "2" * 64, replaces=True)
    assert store.models.crop_counts() == {FIRST: 4, SECOND: 2}
    add(["a.jpg", "c.jpg"], SECOND, "2" * 64, replaces=True)
    assert store.models.crop_counts() == {SECOND: 6}


def test_the_crops_of_the_model_that_serves_are_exported_or_else_of_the_newest_with_any(
    store: Store, tmp_path: Path
) -> None:
    def index(count: int, model: str) -> None:
        run = fake_pipeline.begin(store, model=model, fingerprint=model)
        names = [f"{number}.jpg" for number in range(count)]
        store.shards.plan(run.id, [fake_pipeline.images(*names)])
        store.runs.take_lease(run.id)
        (task,) = store.shards.pending(run.id, limit=1)
        rows = [fake_pipeline.crop(name, pid=1, input=name) for name in names]
        file = store.root.write("crops", run.id, task.id, fake_pipeline.crop_table(rows))
        outcomes = [InputOutcome(place, "done", rows=1) for place in range(count)]
        store.shards.commit(task.id, files=[file], outcomes=outcomes)
        store.runs.finish(run.id, "succeeded")

    index(2, FIRST)
    index(3, SECOND)
    assert store.models.list()[0].digest == THIRD
    assert store.export_market(tmp_path / "newest").crops == 3
    promote(store, FIRST)
    assert store.export_market(tmp_path / "serving").crops == 2
    promote(store, THIRD)
    assert store.export_market(tmp_path / "without").crops == 3


def act_and_die(ref: Path, act: str, point: int) -> None:
    faults.install(faults.die_at(point))
    with Store.open(ref) as store:
        if act == "promotion":
            store.models.promote(SECOND, by="ann", reasons=["better"], expected_before=FIRST)
        else:
            store.models.rollback(by="ann", reasons=["worse"])


@pytest.mark.parametrize(("act", "after"), [("promotion", SECOND), ("rollback", None)])
def test_killed_at_every_fault_point_the_store_is_before_or_after(store: Store, act: str, after: str | None) -> None:
    promote(store, FIRST)
    before: Any = store.models.promotions()
    seen = []
    for point in count(1):
        process = FORKS.Process(target=act_and_die, args=(Path(store.ref), act, point))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        done = store.models.promotions()
        assert done[: len(before)] == before
        assert len(done) - len(before) in (0, 1)
        assert [(entry.user, entry.details["model"]) for entry in store.audit.entries()] == [
            (promotion.by, promotion.model) for promotion in done
        ]
        changed = len(done) > len(before)
        assert store.models.serving() == (after if changed else FIRST)
        seen.append(changed)
        if changed:
            undo: Callable[[], Any] = {
                "promotion": lambda: store.models.rollback(by="test", reasons=[]),
                "rollback": lambda: promote(store, FIRST),
            }[act]
            undo()
            before = store.models.promotions()
        if process.exitcode == 0:
            break
    # Before the transaction, twice inside it, after it, and a run that nobody killed.
    assert seen == [False, False, False, True, True]
