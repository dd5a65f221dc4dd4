"""The archive of the review benchmarks: rendered people and cameras that the model was not trained on.

The cameras are worse than those of its training: further away, more blur and noise, looser boxes, three times of day. A
task is a tracklet: one person under one camera, with one to six crops. The model's outputs are cached in a file, so
that many rounds of review need neither pixels nor network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.review.sampling.scores import TaskFeatures
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World
from vestigo_models.training.head_refit import extract_pooled

PRESET = replace(
    PRESETS["default"], name="review", degradation=1.6, sloppiness=1.4, person_pixels=(36.0, 130.0), scenes=3
)
SEED, CAMERAS, MAX_CROPS = 2026, 5, 6
PRESENCE = 0.6
"""Probability that a camera records a person."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CropArchive:
    """R crops of rendered people.

    Attributes:
        pids, cameras, task: (R,) int64; a task is a person under a camera, 0 to T-1 in the order of the crops.
        labels: (R, n) int64, the truth, -1 where a garment has none of the named colours.
        pooled: (R, K+1, C) float32, the pooled features that the attribute heads read.
        vectors: (R, D) float32, descriptors.
    """

    pids: NDArray[np.int64]
    cameras: NDArray[np.int64]
    task: NDArray[np.int64]
    labels: NDArray[np.int64]
    pooled: NDArray[np.float32]
    vectors: NDArray[np.float32]

    def select(self, rows: NDArray[np.bool_]) -> CropArchive:
        """Return the crops of a mask (R,), with tasks numbered from 0."""
        parts = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return CropArchive(**{**parts, "task": np.unique(parts["task"], return_inverse=True)[1]})


def load_archive(package: ModelPackage, identities: int, cache: Path) -> CropArchive:
    """Return the archive from its file under `cache`; render and embed it first if there is none."""
    file = cache / f"review-{identities}-{package.digest[:12]}.npz"
    if not file.is_file():
        archive = _render(package, identities)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{field.name: getattr(archive, field.name) for field in fields(archive)})
    with np.load(file) as arrays:
        return CropArchive(**{name: arrays[name] for name in arrays.files})


def predictions(probabilities: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the most probable class of each attribute and its probability, (R, n) each, from (R, M)."""
    groups = [probabilities[:, SCHEMA.slice(name)] for name in SCHEMA.names]
    return np.stack([p.argmax(axis=1) for p in groups], axis=1), np.stack([p.max(axis=1) for p in groups], axis=1)


def task_features(
    archive: CropArchive, probabilities: NDArray[np.float32], labels: NDArray[np.int64] | None = None
) -> TaskFeatures:
    """Return the input of sampling strategies; labels: (T, n), -1 without a label; None if no task has one."""
    first, counts = np.unique(archive.task, return_index=True, return_counts=True)[1:]
    votes = np.zeros_like(probabilities)
    np.put_along_axis(votes, predictions(probabilities)[0] + np.array(SCHEMA.offsets), 1, axis=1)
    embeddings = np.add.reduceat(archive.vectors, first, axis=0).astype(np.float64)
    return TaskFeatures(
        schema=SCHEMA,
        probabilities=np.add.reduceat(probabilities, first, axis=0) / counts[:, None],
        votes=np.add.reduceat(votes, first, axis=0) / counts[:, None],
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        labels=np.full((len(first), len(SCHEMA)), -1) if labels is None else labels,
    )


def _render(package: ModelPackage, identities: int) -> CropArchive:
    cv2.setNumThreads(1)
    world = World(PRESET, SEED, identities, CAMERAS)
    rng = np.random.default_rng(SEED)
    rows = [
        (person, camera, view)
        for person in range(identities)
        for camera in np.flatnonzero(rng.random(CAMERAS) < PRESENCE).tolist()
        for view in range(int(rng.integers(1, MAX_CROPS + 1)))
    ]
    pids, cameras, _ = np.array(rows).T
    extractor = Extractor(package)
    vectors, pooled = [], []
    for start in range(0, len(rows), 512):
        images = [render_crop(world, *row).image for row in rows[start : start + 512]]
        vectors.append(extractor.extract(images).descriptors.vectors)
        pooled.append(extract_pooled(package, images))
    return CropArchive(
        pids=pids,
        cameras=cameras,
        task=np.unique(pids * CAMERAS + cameras, return_inverse=True)[1],
        labels=world.labels[pids],
        pooled=np.concatenate(pooled),
        vectors=np.concatenate(vectors),
    )
