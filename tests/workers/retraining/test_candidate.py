"""Candidate models trained from labels of a store alone: training and test identities, and what is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.annotators import save_damaged_model
from vestigo.datasets.attributes_mat import read_annotations
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.promotion.gate import GATE
from vestigo.promotion.splits import STORE_SPLIT, SplitCrop, build_test_set, is_test
from vestigo.review.labels.files import import_labels, match_identity_labels
from vestigo.review.labels.sets import save_label_set
from vestigo.review.labels.training_examples import read_training_examples, select_replay
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
    """A store of rendered people, indexed with a damaged model, with a label set of all of them."""
    root = tmp_path_factory.mktemp("candidate")
    write_rendered(root / "people", identities=40, cameras=2, images_per_camera=3, seed=31)
    model = save_damaged_model(root / "damaged")
    with Store.open(root / "store") as store:
        sources = (str(root / "people"),)
        index(store, IndexRequest(sources=sources, model=str(model), executor="inline"), silent)
        (damaged_model,) = store.models.list()
        splits = [read_annotations(root / "people/market_attribute.mat", SCHEMA, split) for split in ("train", "test")]
        given = list(match_identity_labels(store, damaged_model, splits, "labels.mat"))
        import_labels(store, "annotations", damaged_model, given, "labels.mat")
        save_label_set(store, ["annotations"])
    return root


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with Store.open(filled / "store") as opened:
        yield opened


def test_store_alone_gives_candidate_and_test_split(store: Store, filled: Path) -> None:
    (base,) = [model for model in store.models.list() if model.name == "damaged"]
    request = RetrainRequest(base="damaged", replay=50, by="ana", name="first")
    candidate = retrain_candidate(store, request, silent)
    assert candidate.folder == filled / "store" / "models" / "first"
    assert candidate.tested_on == STORE_SPLIT
    assert candidate.base == candidate.serving == base.digest
    assert candidate.scores.after["attributes_mean"] > candidate.scores.before["attributes_mean"]
    registered = next(model for model in store.models.list() if model.digest == candidate.digest)
    assert (registered.name, registered.parent) == ("first", base.digest)
    assert registered.origin["label_set_digest"] == candidate.label_set.digest
    assert registered.scores[GATE]["promoted"] == candidate.verdict.promoted
    assert registered.scores[STORE_SPLIT]["attributes_mean"] == candidate.scores.after["attributes_mean"]
    assert ModelPackage.from_pretrained(candidate.folder).config.trained_on["retrained"]["label_set"] == 1
    assert (store.models.serving() == candidate.digest) == candidate.promoted
    assert not [path for path in candidate.folder.parent.iterdir() if path.name.startswith(".")]
    again = retrain_candidate(store, request, silent)
    assert (again.folder.name, again.digest) == ("first.2", candidate.digest)


def test_training_replay_and_test_share_no_identity(store: Store) -> None:
    rows = [row for batch in store.label_sets.load(1)[1] for row in batch.to_pylist()]
    examples = read_training_examples(rows, SCHEMA, 0.05)
    assert [example.noise for example in examples] == pytest.approx([0.05] * len(examples))
    training = {example.identity for example in examples if not is_test(example.identity)}
    tested = {example.identity for example in examples if is_test(example.identity)}
    assert training
    assert tested
    digest = next(iter(store.models.crop_counts()))
    replayed = {identity for _, identity in select_replay(store, digest, examples, 1000)}
    assert not replayed & (training | tested)
    assert not [identity for identity in replayed if is_test(identity)]


def test_replay_takes_crops_of_smallest_hashes(store: Store) -> None:
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


def test_training_examples_skip_cannot_tell() -> None:
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
    rows = [
        row | {"attribute": "hat", "value": "yes"},
        row | {"attribute": "bag", "value": "cannot tell"},
        row | {"task": "t2", "attribute": "bag", "value": "cannot tell"},
    ]
    (example,) = read_training_examples(rows, SCHEMA, 0.1)
    assert example.labels[SCHEMA.index("hat")] == 1
    assert (np.delete(example.labels, SCHEMA.index("hat")) == -1).all()
    assert example.noise == pytest.approx(0.01 / (0.01 + 0.81))
    assert example.identity == "tracklet x"


def test_test_set_is_a_dataset_of_stored_crops(store: Store, tmp_path: Path) -> None:
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
    test_set = build_test_set(store, known, SCHEMA, tmp_path / "test")
    assert len(test_set.gallery) == len(rows)
    assert len(test_set.train) == 0
    assert sorted(test_set.query.pids.tolist()) == [1, 1, 2, 2]
    assert sorted(test_set.query.camids.tolist()) == [0, 0, 1, 1]
    assert (test_set.gallery.labels[:, 0] == 1).all()
    assert test_set.gallery.yes[:, SCHEMA.slice(SCHEMA.names[0])][:, 1].all()
    assert test_set.gallery.yes.sum() == len(rows)
    images = store.crops.get([known[0].crop], ["image"])
    assert test_set.gallery.paths[0].read_bytes() == images[0]["image"]


def test_unusable_retraining_is_refused(store: Store, filled: Path) -> None:
    with pytest.raises(UsageError, match="no project has the attributes"):
        retrain_candidate(Store.open(filled / "empty"), RetrainRequest(base="default"), silent)
    with pytest.raises(ConfigError, match="epochs=3: heads are refitted to convergence"):
        retrain_candidate(store, RetrainRequest(base="damaged", epochs=3, replay=0, name="third"), silent)
    assert not (filled / "store/models/third").exists()
    assert len(load_dataset(filled / "people").query) > 0
