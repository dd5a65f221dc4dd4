"""Simulated annotators of rendered crops in Label Studio, who know the truth and make some errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.support.label_studio import annotate
from vestigo.datasets.recognise import load_dataset
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA

BROKEN = ("gender", "sleeve", "backpack", "upper_colour")


def save_damaged_model(folder: Path) -> Path:
    """Save the shipped model with noise in four attribute heads, and return the folder."""
    package = ModelPackage.from_pretrained("default")
    rng = torch.Generator().manual_seed(0)
    heads = package.network.get_submodule("heads.heads")
    with torch.no_grad():
        for name, head in zip(SCHEMA.names, heads.children(), strict=True):
            weight = next(part.weight for part in head.children() if isinstance(part, torch.nn.Linear))
            if name in BROKEN:
                weight.copy_(0.3 * weight + 1.5 * weight.std() * torch.randn(weight.shape, generator=rng))
    ModelPackage(package.config.model_copy(update={"name": "damaged"}), package.network).save_pretrained(folder)
    return folder


def load_truth(dataset: Path) -> dict[int, NDArray[np.int64]]:
    """Return the labels (n,) of each identity of a dataset, -1 where unknown."""
    loaded = load_dataset(dataset)
    return {
        pid: labels
        for split in (loaded.train, loaded.query, loaded.gallery)
        for pid, labels in zip(split.pids.tolist(), split.labels, strict=True)
        if pid > 0
    }


def annotate_project(
    store: Store,
    studio: LabelStudioClient,
    project: str,
    truth: dict[int, NDArray[np.int64]],
    second: int,
    *,
    wrong: float = 0.05,
) -> int:
    """Annotate the tasks without an annotation, every tenth by a second annotator too; return their number."""
    count = 0
    for page in store.review.tasks(project, states={"pushed"}):
        for task in page:
            if store.annotations.get(project, [task.key]):
                continue
            assert task.remote_id is not None
            labels = truth.get(task.pid or 0, np.full(len(SCHEMA), -1))
            for number, annotator in enumerate((None, second) if count % 10 == 0 else (None,)):
                rng = np.random.default_rng((int(task.key[:8], 16), number))
                annotate(studio, task.remote_id, _noisy_annotation(labels, rng, wrong), annotator)
            count += 1
    return count


def true_accuracy(store: Store, model: str, truth: dict[int, NDArray[np.int64]]) -> dict[str, float]:
    """Return a model's accuracy on all labelled crops of a store by attribute."""
    correct: list[NDArray[np.bool_]] = []
    known: list[NDArray[np.bool_]] = []
    for batch in store.crops.scan(("pid", "attributes"), model=model):
        for pid, shares in zip(batch.column("pid").to_pylist(), matrix(batch.column("attributes")), strict=True):
            if pid in truth:
                predicted = np.array([shares[SCHEMA.slice(name)].argmax() for name in SCHEMA.names])
                correct.append(predicted == truth[pid])
                known.append(truth[pid] >= 0)
    shares = (np.array(correct) & np.array(known)).sum(axis=0) / np.array(known).sum(axis=0)
    return dict(zip(SCHEMA.names, shares.tolist(), strict=True))


def _noisy_annotation(labels: NDArray[np.int64], rng: np.random.Generator, wrong: float) -> dict[str, str]:
    values = {}
    for attribute, label in zip(SCHEMA.attributes, labels.tolist(), strict=True):
        others = [value for place, value in enumerate(attribute.values) if place != label]
        if label < 0:
            values[attribute.name] = CANNOT_TELL
        else:
            values[attribute.name] = str(rng.choice(others)) if rng.random() < wrong else attribute.values[label]
    return values
