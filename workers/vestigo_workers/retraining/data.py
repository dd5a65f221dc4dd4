"""The data of a retraining: annotated crops, replayed crops, and identities held out for the test."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.promotion.leakage import TrainingImage, require_no_leak
from vestigo.promotion.splits import (
    CROPS_AT_ONCE,
    SplitCrop,
    build_test_set,
    crop_images,
    identity_key,
    is_test,
    write_crops,
)
from vestigo.resolve import resolve_replay_model
from vestigo.review.labels.training_examples import TrainingExample, select_replay
from vestigo.store.open import Store
from vestigo_models.arrays import Float32Array
from vestigo_models.errors import UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import ProgressCallback
from vestigo_models.training.head_refit import AttributeTargets
from vestigo_workers.retraining.fit import RetrainingData

MAX_TEST_CROPS = 5000
"""Crops of a store's own identities that are tested at most."""


_Image = tuple[Path, str, str]
"""File, identity and camera."""


def refuse_leaks(
    store: Store, dataset: ReidDataset, examples: Sequence[TrainingExample], progress: ProgressCallback
) -> None:
    """Check that no identity is in training and test.

    Raises:
        DatasetError: Annotated crops show an identity of the dataset's test split, or its splits share one.
    """
    example_of = {crop: example for example in examples for crop in example.crops}

    def training_images() -> Iterator[TrainingImage]:
        for done, (crop, image) in enumerate(crop_images(store, list(example_of)), start=1):
            example = example_of[crop]
            yield TrainingImage(name=f"crop {crop}", content=image, source=example.source, pid=example.pid)
            progress(done, len(example_of))

    require_no_leak(dataset, training_images())


def exclude_test_identities(examples: Sequence[TrainingExample]) -> list[TrainingExample]:
    """Return the examples to learn from; a fifth of the identities is held out so that precision stays measurable.

    Raises:
        UsageError: All examples are held out.
    """
    training = [example for example in examples if not is_test(example.identity)]
    if not training:
        raise UsageError(
            f"all {len(examples)} reviewed tasks show identities of the test split (a fifth of all): review more"
        )
    return training


def split_own_identities(
    store: Store, base: ModelPackage, examples: Sequence[TrainingExample], folder: Path
) -> tuple[ReidDataset, list[TrainingExample]]:
    """Hold out a fifth of the store's identities: a test dataset of those, and the examples of all others.

    Attributes are tested on reviewed identities, retrieval on those with a dataset's identity.

    Raises:
        UsageError: No example is left to learn from, or to test on.
    """
    assert base.schema is not None
    test = [example for example in examples if is_test(example.identity)]
    training = [example for example in examples if not is_test(example.identity)]
    if not test or not training:
        raise UsageError(
            f"{len(examples)} reviewed tasks show {len(training)} people to learn from and {len(test)} to test on: "
            "review more, or give a dataset to test on with --data"
        )
    crops = {
        crop: SplitCrop(crop=crop, identity=example.identity, camera=example.camera, labels=example.labels)
        for example in test
        for crop in example.crops
    }
    unknown = np.full(len(base.schema), -1, dtype=np.int64)
    model = resolve_replay_model(store, base.digest).digest
    for batch in store.crops.scan(("crop_id", "pid", "tracklet", "camera"), model=model):
        for row in batch.to_pylist():
            crop, identity = row["crop_id"], identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crop_id"])
            if len(crops) < MAX_TEST_CROPS and (row["pid"] or 0) > 0 and is_test(identity) and crop not in crops:
                crops[crop] = SplitCrop(crop=crop, identity=identity, camera=row["camera"], labels=unknown)
    return build_test_set(store, list(crops.values()), base.schema, folder), training


def collect_data(
    store: Store,
    base: ModelPackage,
    dataset: ReidDataset | None,
    examples: Sequence[TrainingExample],
    replay: int,
    folder: Path,
    progress: ProgressCallback,
) -> RetrainingData:
    """Collect annotated crops and `replay` other images; images of the store are written into `folder`.

    Replayed images have the labels of the dataset or, without one, the predictions of the base for the store's crops.
    """
    assert base.schema is not None
    images: list[_Image] = []
    parts: list[AttributeTargets] = []
    crops = list(dict.fromkeys(crop for example in examples for crop in example.crops))
    files = {path.stem: path for path in write_crops(store, crops, folder)}
    for example in examples:
        images += [(files[crop], example.identity, example.camera) for crop in example.crops]
        labels = np.repeat(example.labels[None], len(example.crops), axis=0)
        parts.append(
            AttributeTargets.from_labels(labels, base.schema, noise=example.noise, weight=1 / len(example.crops))
        )
    if dataset is not None:
        replayed, targets = _replay_dataset(dataset, base, replay)
    else:
        replayed, targets = _replay_store(store, base, examples, replay, folder, progress)
    images += replayed
    paths, identities, cameras = zip(*images, strict=True)
    annotated = AttributeTargets.concatenate(parts)
    return RetrainingData(
        paths=paths,
        identities=np.unique(identities, return_inverse=True)[1].reshape(-1).astype(np.int64),
        camids=np.unique(cameras, return_inverse=True)[1].reshape(-1).astype(np.int64),
        targets=annotated.with_replay(targets) if replayed else annotated,
        replayed=len(replayed),
    )


def _replay_dataset(dataset: ReidDataset, base: ModelPackage, count: int) -> tuple[list[_Image], AttributeTargets]:
    assert base.schema is not None
    split = dataset.train
    labelled = np.flatnonzero(split.labelled)
    rows = np.sort(np.random.default_rng(0).permutation(labelled)[:count])
    pids = split.pids[rows].tolist()
    images = [
        (split.paths[row], f"base {pid}", f"base {split.camids[row]}")
        for row, pid in zip(rows.tolist(), pids, strict=True)
    ]
    return images, AttributeTargets.from_labels(split.labels[rows], base.schema, weight=_shared_weights(pids))


def _replay_store(
    store: Store,
    base: ModelPackage,
    examples: Sequence[TrainingExample],
    count: int,
    folder: Path,
    progress: ProgressCallback,
) -> tuple[list[_Image], AttributeTargets]:
    """Return crops of the store that were not reviewed, with the predictions of the base."""
    replayed = select_replay(store, resolve_replay_model(store, base.digest).digest, examples, count)
    identities = [identity for _, identity in replayed]
    paths = list(write_crops(store, [crop for crop, _ in replayed], folder))
    images = [(path, identity, "replay") for path, identity in zip(paths, identities, strict=True)]
    extractor = Extractor(base)
    assert base.schema is not None
    probabilities: list[Float32Array] = [np.zeros((0, base.schema.classes), np.float32)]
    for start in range(0, len(paths), CROPS_AT_ONCE):
        batch = paths[start : start + CROPS_AT_ONCE]
        probabilities.append(extractor.extract([read_image(path) for path in batch]).probabilities)
        progress(start + len(batch), len(paths))
    return images, AttributeTargets.from_predictions(np.concatenate(probabilities), weight=_shared_weights(identities))


def _shared_weights(identities: Sequence[object]) -> Float32Array:
    """Return (N,) weights: the images of one identity, which was labelled once, share 1."""
    counts = Counter(identities)
    return np.array([1 / counts[identity] for identity in identities], dtype=np.float32)
