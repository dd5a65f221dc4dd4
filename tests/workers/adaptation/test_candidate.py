"""Adaptation of a store's model: what it learns from, what is recorded, what is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.random_models import random_model
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.promotion.gate import GATE, Margins
from vestigo.promotion.judge import PairEvaluation
from vestigo.promotion.splits import STORE_SPLIT
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo_models.adaptation import run as run_module
from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.errors import StoreError, UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_workers.adaptation import candidate as candidate_module
from vestigo_workers.adaptation.candidate import RENDERED, SHARES, AdaptRequest, AdaptResult, adapt_candidate
from vestigo_workers.adaptation.data import collect_crops
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index

pytestmark = pytest.mark.slow

CONFIG = AdaptationConfig(epochs=1, k1=8, k2=2, batch_clusters=4, learning_rate=1e-3, teacher_momentum=0.5)
ANY_LOSS = Margins(mAP=100, attributes=100)


def silent(_: str) -> Any:
    return lambda done, total: None


def request(base: str = "base", **settings: Any) -> AdaptRequest:
    return AdaptRequest(base=base, config=CONFIG, margins=ANY_LOSS, by="ana", **settings)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adaptation")
    write_rendered(root / "people", identities=16, cameras=2, images_per_camera=4, seed=5)
    random_model(root / "base", name="base")
    return root


def fill(store: Path, people: Path, source: Path) -> None:
    with Store.open(store) as opened:
        index(opened, IndexRequest(sources=(str(source),), model=str(people / "base"), executor="inline"), silent)


@pytest.fixture
def filled(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of rendered people; every epoch is better by the criterion, and the test of the gate is small."""
    small = {"identities": 4, "cameras": 2, "images_per_camera": 1, "seed": 977}
    monkeypatch.setattr(candidate_module, "RENDERED_TEST", small)
    criteria = iter(np.arange(0.1, 0.9, 0.01).tolist())
    monkeypatch.setattr(run_module, "cross_camera_silhouette", lambda *_: next(criteria))
    fill(tmp_path / "store", people, people / "people")
    return tmp_path / "store"


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with Store.open(filled) as opened:
        yield opened


def weights(result: AdaptResult) -> bytes:
    state = ModelPackage.from_pretrained(result.folder).network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def test_candidate_is_registered_judged_and_promoted(store: Store, filled: Path) -> None:
    result = adapt_candidate(store, request(), silent)
    assert result.folder == filled / "models" / "base-adapted"
    assert result.promoted
    assert store.models.serving() == result.digest
    assert [record.epoch for record in result.records] == [0, 1]
    assert result.tested_on == (STORE_SPLIT, RENDERED)
    registered = next(model for model in store.models.list() if model.digest == result.digest)
    assert (registered.name, registered.parent) == ("base-adapted", result.base)
    assert registered.origin["adapted"]["crops"] == result.crops
    assert registered.scores[GATE]["promoted"]
    assert registered.scores[STORE_SPLIT]["mAP"] == result.scores.after["mAP"]  # type: ignore[union-attr]
    assert f"{RENDERED}: mAP" in registered.scores[GATE]["differences"]
    assert "silhouette across cameras 0.100 before, 0.110 after epoch 1" in result.verdict.reasons
    entries = [entry for entry in store.audit.entries() if entry.action == "promote"]
    assert len(entries) == 1
    assert [path.name for path in result.folder.parent.iterdir()] == ["base-adapted"]


def test_identities_are_not_learned_from(store: Store, people: Path, tmp_path: Path) -> None:
    """The same crops, their names telling other identities, give the same weights."""
    rng = np.random.default_rng(0)
    source = tmp_path / "shuffled"
    for split in ("bounding_box_train", "query", "bounding_box_test"):
        (source / split).mkdir(parents=True)
        files = sorted((people / "people" / split).glob("0*.jpg"))
        pids = rng.permutation([path.name[:4] for path in files])
        for number, (path, pid) in enumerate(zip(files, pids, strict=True)):
            camera = path.name.split("_")[1]
            (source / split / f"{pid}_{camera}_{number:06d}_00.jpg").write_bytes(path.read_bytes())
    for junk in (people / "people").glob("*/-1*.jpg"):
        (source / junk.parent.name / junk.name).write_bytes(junk.read_bytes())
    fill(tmp_path / "other", people, source)
    first = adapt_candidate(store, request(promote=False), silent)
    with Store.open(tmp_path / "other") as opened:
        second = adapt_candidate(opened, request(promote=False), silent)
    assert first.crops == second.crops
    assert first.tested_on == second.tested_on
    assert weights(first) == weights(second)


@pytest.mark.parametrize("point", ["adapt.finished", "adapt.stored", "promotion.before"])
def test_killed_adaptation_continues(store: Store, filled: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def stop(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(faults, "_hook", stop, raising=False)
    with pytest.raises(KeyboardInterrupt):
        adapt_candidate(store, request(), silent)
    monkeypatch.undo()
    monkeypatch.setattr(candidate_module, "RENDERED_TEST", {"identities": 4, "cameras": 2, "images_per_camera": 1})
    monkeypatch.setattr(run_module.AdaptationRun, "_train_epoch", lambda *_: pytest.fail("trained again"))
    result = adapt_candidate(store, request(), silent)
    assert result.promoted
    assert [path.name for path in (filled / "models").iterdir()] == ["base-adapted"]


def lose(monkeypatch: pytest.MonkeyPatch, losses: Callable[[ModelPackage], float]) -> list[ModelPackage]:
    """Let every candidate lose points of mAP in all tests, surely; return the list of candidates of the first test."""
    seen: list[ModelPackage] = []

    def evaluate(_: object, serving: ModelPackage, candidates: list[ModelPackage], **__: object) -> Any:
        for candidate in candidates:
            seen.append(candidate)
            loss = losses(candidate)
            gap = Difference(difference=-loss, low=-loss - 1, high=-loss + 1, chance=0.0, identities=40)
            yield PairEvaluation(before={"mAP": 60.0}, after={"mAP": 60.0 - loss}, differences={"mAP": gap})

    monkeypatch.setattr("vestigo_workers.retraining.promotion.evaluate_candidates", evaluate)
    return seen


def distance(first: ModelPackage, second: ModelPackage) -> float:
    """Return the largest difference of two models in any weight."""
    other = second.network.state_dict()
    gaps = [
        float((value - other[name]).abs().max())
        for name, value in first.network.state_dict().items()
        if value.is_floating_point()
    ]
    return max(gaps)


def test_weights_that_lose_are_averaged_with_those_of_base_until_they_pass(
    store: Store, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ModelPackage.from_pretrained(people / "base")
    whole: list[float] = []

    def loss(candidate: ModelPackage) -> float:
        whole.append(distance(candidate, base))
        return 10 * whole[-1] / whole[0]

    lose(monkeypatch, loss)
    request = AdaptRequest(base="base", config=CONFIG, by="ana", margins=Margins(mAP=6, rendered=6))
    result = adapt_candidate(store, request, silent)
    assert (result.promoted, result.share) == (True, 0.5)
    candidate = ModelPackage.from_pretrained(result.folder)
    assert distance(candidate, base) == pytest.approx(whole[0] / 2, rel=1e-3)
    assert candidate.config.trained_on["adaptation"]["share"] == 0.5
    assert store.models.serving() == candidate.digest
    again = adapt_candidate(store, request, silent)
    assert (again.digest, again.share) == (result.digest, 0.5)
    # More of the same weights pass wider margins, without another training.
    monkeypatch.setattr(run_module.AdaptationRun, "_train_epoch", lambda *_: pytest.fail("trained again"))
    whole.clear()
    wider = adapt_candidate(store, replace(request, margins=Margins(mAP=20, rendered=20)), silent)
    assert (wider.promoted, wider.share, wider.folder.name) == (True, 1.0, "base-adapted.2")


def test_candidate_that_loses_on_labels_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = lose(monkeypatch, lambda _: 8.0)
    strict = AdaptRequest(base="base", config=CONFIG, by="ana")
    result = adapt_candidate(store, strict, silent)
    assert (result.promoted, result.share) == (False, 1.0)
    assert result.digest == tried[0].digest
    assert len({candidate.digest for candidate in tried}) == len(SHARES)
    assert store.models.serving() is None
    assert result.verdict.reasons[0].startswith("mAP: -8.0 points")
    assert f"{RENDERED}: mAP: -8.0 points" in " ".join(result.verdict.reasons)
    # Wider margins judge the same weights again, without another training.
    monkeypatch.setattr(run_module.AdaptationRun, "_train_epoch", lambda *_: pytest.fail("trained again"))
    wider = adapt_candidate(store, replace(strict, margins=Margins(mAP=20, rendered=20)), silent)
    assert (wider.promoted, wider.digest) == (True, result.digest)


def test_adaptation_without_better_epoch_leaves_no_candidate(
    store: Store, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "cross_camera_silhouette", lambda *_: 0.5)
    result = adapt_candidate(store, request(), silent)
    assert (result.promoted, result.scores) == (False, None)
    assert "no epoch improved on the base: silhouette across cameras 0.500 before" in result.verdict.reasons[0]
    assert store.models.serving() is None
    assert {model.name for model in store.models.list()} == {"base"}
    assert list((filled / "models").iterdir()) == []


def test_limit_keeps_whole_tracklets_and_is_stable(store: Store, tmp_path: Path) -> None:
    model = store.models.list()[0].digest
    few = collect_crops(store, model, 70, tmp_path / "few", lambda done, total: None)
    again = collect_crops(store, model, 70, tmp_path / "again", lambda done, total: None)
    assert len(few.data) == 70
    assert few.digest == again.digest
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in few.data.paths)


def test_empty_store_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty") as opened, pytest.raises(StoreError, match="holds no crops yet"):
        adapt_candidate(opened, AdaptRequest(base="default", config=CONFIG), silent)


def test_store_of_one_camera_is_refused(people: Path, tmp_path: Path) -> None:
    source = tmp_path / "camera=gate"
    source.mkdir()
    for path in (people / "people").glob("bounding_box_train/*.jpg"):
        (source / path.name.replace("_", "-")).write_bytes(path.read_bytes())
    fill(tmp_path / "store", people, tmp_path)
    with Store.open(tmp_path / "store") as opened, pytest.raises(UsageError, match="all 64 crops are of one camera"):
        adapt_candidate(opened, request(), silent)
    assert list((tmp_path / "store" / "models").iterdir()) == []
