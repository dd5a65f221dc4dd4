"""The archive of the review benchmarks: rendered people whom the model never saw, under cameras it does not know.

Worse cameras than those of its training: further away, more blur and noise, looser boxes, three times of day. A task is
a tracklet: one person under one camera, one to six crops. Other people of the same archive are held out to judge on.
What the model reads of the crops is kept in a file, so that many rounds of review need neither pixels nor network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.review.sampling.strategies import TaskFeatures
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World
from vestigo_models.training.head_refit.data import extract_pooled

PRESET = replace(
    PRESETS["default"], name="review", degradation=1.6, sloppiness=1.4, person_pixels=(36.0, 130.0), scenes=3
)
SEED, CAMERAS, LONGEST = 2026, 5, 6
SEEN = 0.6
"""Share of people whom a camera sees."""


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """R crops of rendered people.

    Attributes:
        pids, cameras, task: (R,) int64; a task is a person under a camera, 0..T-1 in the order of the crops.
        labels: (R, n) int64, the truth, -1 where a garment has none of the named colours.
        pooled: (R, K+1, C) float32, what the attribute heads read.
        vectors: (R, D) float32, descriptors.
    """

    pids: NDArray[np.int64]
    cameras: NDArray[np.int64]
    task: NDArray[np.int64]
    labels: NDArray[np.int64]
    pooled: NDArray[np.float32]
    vectors: NDArray[np.float32]

    def of(self, rows: NDArray[np.bool_]) -> People:
        """Some of the crops, tasks numbered anew."""
        parts = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return People(**{**parts, "task": np.unique(parts["task"], return_inverse=True)[1]})


def people(package: ModelPackage, identities: int, cache: Path) -> People:
    """Render the archive, or read what is kept of it under `cache`."""
    file = cache / f"review-{identities}-{package.digest[:12]}.npz"
    if not file.is_file():
        found = _render(package, identities)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{field.name: getattr(found, field.name) for field in fields(found)})
    with np.load(file) as kept:
        return People(**{name: kept[name] for name in kept.files})


def predictions(probabilities: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The likeliest class of each attribute and its probability, (R, n) each, from (R, M)."""
    groups = [probabilities[:, SCHEMA.slice(name)] for name in SCHEMA.names]
    return np.stack([p.argmax(axis=1) for p in groups], axis=1), np.stack([p.max(axis=1) for p in groups], axis=1)


def candidates(
    archive: People, probabilities: NDArray[np.float32], labels: NDArray[np.int64] | None = None
) -> TaskFeatures:
    """The tasks of an archive as strategies see them; labels: (T, n), None where nothing is believed."""
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


def _render(package: ModelPackage, identities: int) -> People:
    cv2.setNumThreads(1)
    world = World(PRESET, SEED, identities, CAMERAS)
    rng = np.random.default_rng(SEED)
    rows = [
        (person, camera, view)
        for person in range(identities)
        for camera in np.flatnonzero(rng.random(CAMERAS) < SEEN).tolist()
        for view in range(int(rng.integers(1, LONGEST + 1)))
    ]
    pids, cameras, _ = np.array(rows).T
    extractor = Extractor(package)
    vectors, pooled = [], []
    for lot in _lots(rows, 512):
        images = [render_crop(world, *row).image for row in lot]
        vectors.append(extractor.extract(images).descriptors.vectors)
        pooled.append(extract_pooled(package, images))
    return People(
        pids=pids,
        cameras=cameras,
        task=np.unique(pids * CAMERAS + cameras, return_inverse=True)[1],
        labels=world.labels[pids],
        pooled=np.concatenate(pooled),
        vectors=np.concatenate(vectors),
    )


def _lots(rows: list[tuple[int, int, int]], size: int) -> Iterator[list[tuple[int, int, int]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
