"""Candidate models trained from labels of a store alone: training and test identities, and what is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.annotators import damaged
from vestigo.datasets.attributes_mat import read_annotations
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.promotion.gate import GATE
from vestigo.promotion.splits import STORE_SPLIT, SplitCrop, build_test_set, is_test
from vestigo.review.labels.importing import import_labels, match_identity_labels
from vestigo.review.labels.training_examples import TrainingExample, read_training_examples, select_replay
from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index
from vestigo_workers.retraining.candidate import RetrainRequest, retrain_candidate

pytestmark = pytest.mark.slow


def silent(_: str) -> Any:
    return lambda done, total: None


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of rendered people, seen by a damaged model, with the labels of all of them imported."""
    root = tmp_path_factory.mktemp("candidate")
    write_rendered(root / "people", identities=40, cameras=2, images_per_camera=3, seed=31)
    model = damaged(root / "damaged")
    with Store.open(root / "store") as store:
        sources = (str(root / "people"),)
        index(store, IndexRequest(sources=sources, model=str(model), executor="inline"), silent)
        (found,) = store.models.list()
        splits = [read_annotations(root / "people/market_attribute.mat", SCHEMA, split) for split in ("train", "test")]
        given = list(match_identity_labels(store, found, splits, "labels.mat"))
        import_labels(store, "annotations", found, given, "labels.mat")
    return root


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with Store.open(filled / "store") as opened:
        yield opened


def lesson(who: str, crops: tuple[str, ...] = ("c",)) -> TrainingExample:
    labels = np.zeros(len(SCHEMA), dtype=np.int64)
    return TrainingExample(identity=who, camera="c1", source="s", pid=None, crops=crops, labels=labels, noise=0.0)


def test_a_store_alone_makes_a_challenger_and_a_test(store: Store, filled: Path) -> None:
    (base,) = [model for model in store.models.list() if model.name == "damaged"]
    request = RetrainRequest(base="damaged", replay=50, by="ana", name="first")
    made = retrain_candidate(store, request, silent)
    assert made.folder == filled / "store" / "models" / "first"
    assert made.tested_on == STORE_SPLIT
    assert made.base == made.serving == base.digest
    assert made.after["attributes_mean"] > made.before["attributes_mean"]
    kept = next(model for model in store.models.list() if model.digest == made.digest)
    assert (kept.name, kept.parent) == ("first", base.digest)
    assert kept.origin["label_set_digest"] == made.label_set.digest
    assert kept.scores[GATE]["promoted"] == made.verdict.promoted
    assert kept.scores[STORE_SPLIT]["attributes_mean"] == made.after["attributes_mean"]
    assert ModelPackage.from_pretrained(made.folder).config.trained_on["retrained"]["label_set"] == 1
    assert (store.models.serving() == made.digest) == made.promoted
    assert not [path for path in made.folder.parent.iterdir() if path.name.startswith(".")]
    again = retrain_candidate(store, request, silent)
    assert (again.folder.name, again.digest) == ("first.2", made.digest)


def test_nobody_is_both_taught_and_tested(store: Store) -> None:
    rows = [row for batch in store.label_sets.load(1)[1] for row in batch.to_pylist()]
    lessons = read_training_examples(rows, SCHEMA, 0.05)
    assert [lesson.noise for lesson in lessons] == pytest.approx([0.05] * len(lessons))
    taught = {lesson.identity for lesson in lessons if not is_test(lesson.identity)}
    tested = {lesson.identity for lesson in lessons if is_test(lesson.identity)}
    assert taught
    assert tested
    digest = next(iter(store.models.crop_counts()))
    replayed = select_replay(store, digest, lessons, 1000)
    assert not {who for _, who in replayed} & (taught | tested)
    assert not [who for _, who in replayed if is_test(who)]


def test_replay_is_the_best_of_a_hash(store: Store) -> None:
    digest = next(iter(store.models.crop_counts()))
    crops = [
        row["crop_id"]
        for batch in store.crops.scan(("crop_id", "pid", "tracklet"), model=digest)
        for row in batch.to_pylist()
        if not is_test(f"pid {row['pid']}" if (row["pid"] or 0) > 0 else f"crop {row['crop_id']}")
    ]
    order = sorted(crops, key=lambda crop: hashlib.sha256(f"replay {crop}".encode()).hexdigest()[:12])
    assert [crop for crop, _ in select_replay(store, digest, [], 20)] == order[:20]
    assert len(select_replay(store, digest, [], 10**6)) == len(crops)
    assert select_replay(store, digest, [], 0) == []


def test_lessons_leave_out_what_nobody_could_tell() -> None:
    row = {
        "project": "p",
        "task": "t1",
        "pid": None,
        "tracklet": "x",
        "camera": "c1",
        "source": "s",
        "crops": ["a", "b"],
        "reviewers": ["ana", "ben"],
    }
    told = [
        row | {"attribute": "hat", "value": "yes"},
        row | {"attribute": "bag", "value": "cannot tell"},
        row | {"task": "t2", "attribute": "bag", "value": "cannot tell"},
    ]
    (only,) = read_training_examples(told, SCHEMA, 0.1)
    assert only.labels[SCHEMA.index("hat")] == 1
    assert (np.delete(only.labels, SCHEMA.index("hat")) == -1).all()
    assert only.noise == pytest.approx(0.01 / (0.01 + 0.81))
    assert only.identity == "tracklet x"


def test_own_people_are_a_dataset(store: Store, tmp_path: Path) -> None:
    digest = next(iter(store.models.crop_counts()))
    rows = [
        row
        for batch in store.crops.scan(("crop_id", "pid", "camera"), model=digest)
        for row in batch.to_pylist()
        if row["pid"] in (1, 2)
    ]
    labels = np.full(len(SCHEMA), -1, dtype=np.int64)
    labels[0] = 1
    known = [
        SplitCrop(crop=row["crop_id"], identity=f"pid {row['pid']}", camera=row["camera"], labels=labels)
        for row in rows
    ]
    found = build_test_set(store, known, SCHEMA, tmp_path / "test")
    assert len(found.gallery) == len(rows)
    assert len(found.train) == 0
    assert sorted(found.query.pids.tolist()) == [1, 1, 2, 2]
    assert sorted(found.query.camids.tolist()) == [0, 0, 1, 1]
    assert (found.gallery.labels[:, 0] == 1).all()
    assert found.gallery.yes[:, SCHEMA.slice(SCHEMA.names[0])][:, 1].all()
    assert found.gallery.yes.sum() == len(rows)
    images = store.crops.get([known[0].crop], ["image"])
    assert found.gallery.paths[0].read_bytes() == images[0]["image"]


def test_what_cannot_be_learnt_from(store: Store, filled: Path) -> None:
    with pytest.raises(UsageError, match="no project has the attributes"):
        retrain_candidate(Store.open(filled / "empty"), RetrainRequest(base="default"), silent)
    with pytest.raises(ConfigError, match="epochs=3: heads are refitted to convergence"):
        retrain_candidate(store, RetrainRequest(base="damaged", epochs=3, replay=0, name="third"), silent)
    assert not (filled / "store/models/third").exists()
    assert len(load_dataset(filled / "people").query) > 0
