"""What a challenger learns from and is tested on: corrected crops, what is replayed, and people who are kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset
from vestigo.promotion.leakage import TrainingImage, require_no_leak
from vestigo.promotion.splits import LOOKED_UP, KnownCrop, crop_images, identity_key, is_test, own_people, write_crops
from vestigo.resolve import resolve_replay_model
from vestigo.review.labels.training_examples import Lesson, replayed_crops
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.training.head_refit.data import Targets
from vestigo_workers.retraining.fit import RetrainingData
from vestigo_workers.runs.driver import Report

TESTED_CROPS = 5000
"""At most so many crops of a store's own people are tested on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What is learnt; `replayed` of its images were not corrected by anybody."""

    data: RetrainingData
    replayed: int


@dataclass(frozen=True, kw_only=True)
class _Image:
    path: Path
    who: str
    camera: str


def refuse_leaks(store: Store, dataset: ReidDataset, lessons: Sequence[Lesson], report: Report) -> None:
    """Raise DatasetError where somebody whom corrected crops show is in the dataset's test split, or in both splits."""
    require_no_leak(dataset, _training_images(store, lessons, report))


def without_test(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The lessons that may be learnt: a fifth of the people stays apart, so that precision can be told afterwards too.

    Raises UsageError where there is none.
    """
    taught = [lesson for lesson in lessons if not is_test(lesson.who)]
    if not taught:
        raise UsageError(
            f"{len(lessons)} reviewed tasks are about people who are kept apart (a fifth of all): review more"
        )
    return taught


def people_to_test(
    store: Store, base: ModelPackage, lessons: Sequence[Lesson], folder: Path
) -> tuple[ReidDataset, list[Lesson]]:
    """Keep a fifth of the store's people apart: a dataset of those, and the lessons about all others.

    Of people who were reviewed, attributes are tested; of those with a dataset's identity, retrieval too.

    Raises:
        UsageError: nobody is left to learn from, or to test on.
    """
    assert base.schema is not None
    tested = [lesson for lesson in lessons if is_test(lesson.who)]
    taught = [lesson for lesson in lessons if not is_test(lesson.who)]
    if not tested or not taught:
        raise UsageError(
            f"{len(lessons)} reviewed tasks show {len(taught)} people to learn from and {len(tested)} to test on: "
            "review more, or give a dataset to test on with --data"
        )
    crops = {
        crop: KnownCrop(crop=crop, who=lesson.who, camera=lesson.camera, labels=lesson.labels)
        for lesson in tested
        for crop in lesson.crops
    }
    unknown = np.full(len(base.schema), -1, dtype=np.int64)
    digest = resolve_replay_model(store, base.digest).digest
    for batch in store.crops.scan(("crop_id", "pid", "tracklet", "camera"), model=digest):
        for row in batch.to_pylist():
            who = identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crop_id"])
            if len(crops) < TESTED_CROPS and (row["pid"] or 0) > 0 and is_test(who) and row["crop_id"] not in crops:
                crops[row["crop_id"]] = KnownCrop(crop=row["crop_id"], who=who, camera=row["camera"], labels=unknown)
    return own_people(store, list(crops.values()), base.schema, folder), taught


def learn_from(
    store: Store,
    base: ModelPackage,
    dataset: ReidDataset | None,
    lessons: Sequence[Lesson],
    replay: int,
    folder: Path,
    report: Report,
) -> Material:
    """Put corrected crops and `replay` other images together; images of the store are written into `folder`.

    What is replayed comes with the labels of the dataset; without one, with what the base says of the store's crops.

    Raises:
        DatasetError: an image cannot be read.
    """
    assert base.schema is not None
    images: list[_Image] = []
    parts: list[Targets] = []
    files = {path.stem: path for path in write_crops(store, _crops_of(lessons), folder)}
    for lesson in lessons:
        images += [_Image(path=files[crop], who=lesson.who, camera=lesson.camera) for crop in lesson.crops]
        labels = np.repeat(lesson.labels[None], len(lesson.crops), axis=0)
        parts.append(Targets.of_labels(labels, base.schema, noise=lesson.noise, weight=1 / len(lesson.crops)))
    if dataset is not None:
        again, targets = _from_dataset(dataset, base, replay)
    else:
        again, targets = _from_store(store, base, lessons, replay, folder, report)
    images += again
    _, identities = np.unique([image.who for image in images], return_inverse=True)
    _, cameras = np.unique([image.camera for image in images], return_inverse=True)
    data = RetrainingData(
        paths=tuple(image.path for image in images),
        identities=identities.reshape(-1).astype(np.int64),
        camids=cameras.reshape(-1).astype(np.int64),
        targets=Targets.joined(parts).with_replay(targets) if again else Targets.joined(parts),
    )
    return Material(data=data, replayed=len(again))


def _from_dataset(dataset: ReidDataset, base: ModelPackage, count: int) -> tuple[list[_Image], Targets]:
    """Labelled training images, the same share of everybody's."""
    assert base.schema is not None
    split = dataset.train
    known = np.flatnonzero(split.labelled)
    rows = np.sort(np.random.default_rng(0).permutation(known)[:count])
    pids = split.pids[rows].tolist()
    images = [
        _Image(path=split.paths[row], who=f"base {pid}", camera=f"base {split.camids[row]}")
        for row, pid in zip(rows.tolist(), pids, strict=True)
    ]
    return images, Targets.of_labels(split.labels[rows], base.schema, weight=_shared(pids))


def _from_store(
    store: Store, base: ModelPackage, lessons: Sequence[Lesson], count: int, folder: Path, report: Report
) -> tuple[list[_Image], Targets]:
    """Crops that nobody reviewed, with what the base says of them."""
    chosen = replayed_crops(store, resolve_replay_model(store, base.digest).digest, lessons, count)
    paths = list(write_crops(store, [crop for crop, _ in chosen], folder))
    images = [_Image(path=path, who=who, camera="replay") for path, (_, who) in zip(paths, chosen, strict=True)]
    extractor = Extractor(base)
    told = []
    for start in range(0, len(paths), LOOKED_UP):
        some = paths[start : start + LOOKED_UP]
        told.append(extractor.extract([read_image(path) for path in some]).probabilities)
        report(start + len(some), len(paths))
    assert base.schema is not None
    probabilities = np.concatenate([np.zeros((0, base.schema.classes), np.float32), *told])
    return images, Targets.of_predictions(probabilities, weight=_shared([who for _, who in chosen]))


def _shared(people: Sequence[object]) -> NDArray[np.float32]:
    """(N,) weights: the images of one person, who was labelled once, share 1."""
    counts = Counter(people)
    return np.array([1 / counts[who] for who in people], dtype=np.float32)


def _crops_of(lessons: Sequence[Lesson]) -> list[str]:
    """Every crop once."""
    return list(dict.fromkeys(crop for lesson in lessons for crop in lesson.crops))


def _training_images(store: Store, lessons: Sequence[Lesson], report: Report) -> Iterator[TrainingImage]:
    whose = {crop: lesson for lesson in lessons for crop in lesson.crops}
    for done, (crop, image) in enumerate(crop_images(store, _crops_of(lessons)), start=1):
        yield TrainingImage(name=f"crop {crop}", content=image, source=whose[crop].source, pid=whose[crop].pid)
        report(done, len(whose))
