"""People who review rendered crops in Label Studio: they know the truth, and are mistaken now and then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.support.label_studio import answer
from vestigo.datasets.recognise import load_dataset
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA

BROKEN = ("gender", "sleeve", "backpack", "upper_colour")


def damaged(folder: Path) -> Path:
    """The shipped model with four attribute heads that hardly know what they see."""
    package = ModelPackage.from_pretrained("default")
    chance = torch.Generator().manual_seed(0)
    heads = package.network.get_submodule("heads.heads")
    with torch.no_grad():
        for name, head in zip(SCHEMA.names, heads.children(), strict=True):
            weight = next(part.weight for part in head.children() if isinstance(part, torch.nn.Linear))
            if name in BROKEN:
                weight.copy_(0.3 * weight + 1.5 * weight.std() * torch.randn(weight.shape, generator=chance))
    ModelPackage(package.config.model_copy(update={"name": "damaged"}), package.network).save_pretrained(folder)
    return folder


def truth_of(dataset: Path) -> dict[int, NDArray[np.int64]]:
    """Identity to labels (n,), -1 where nothing is known."""
    found = load_dataset(dataset)
    return {
        pid: labels
        for split in (found.train, found.query, found.gallery)
        for pid, labels in zip(split.pids.tolist(), split.labels, strict=True)
        if pid > 0
    }


def review(
    store: Store,
    studio: LabelStudioClient,
    project: str,
    truth: dict[int, NDArray[np.int64]],
    second: int,
    *,
    wrong: float = 0.05,
) -> int:
    """Answer every task of a project that nobody answered, each tenth by a second reviewer too; returns how many."""
    count = 0
    for page in store.review.tasks(project, states={"pushed"}):
        for task in page:
            if store.annotations.get(project, [task.key]):
                continue
            assert task.remote_id is not None
            labels = truth.get(task.pid or 0, np.full(len(SCHEMA), -1))
            for number, reviewer in enumerate((None, second) if count % 10 == 0 else (None,)):
                chance = np.random.default_rng((int(task.key[:8], 16), number))
                answer(studio, task.remote_id, _said(labels, chance, wrong), reviewer)
            count += 1
    return count


def true_accuracy(store: Store, model: str, truth: dict[int, NDArray[np.int64]]) -> dict[str, float]:
    """How right a model (digest) is about all crops of a store, by attribute; of what is labelled."""
    right: list[NDArray[np.bool_]] = []
    known: list[NDArray[np.bool_]] = []
    for batch in store.crops.scan(("pid", "attributes"), model=model):
        for pid, shares in zip(batch.column("pid").to_pylist(), matrix(batch.column("attributes")), strict=True):
            if pid in truth:
                said = np.array([shares[SCHEMA.slice(name)].argmax() for name in SCHEMA.names])
                right.append(said == truth[pid])
                known.append(truth[pid] >= 0)
    shares = (np.array(right) & np.array(known)).sum(axis=0) / np.array(known).sum(axis=0)
    return dict(zip(SCHEMA.names, shares.tolist(), strict=True))


def _said(labels: NDArray[np.int64], chance: np.random.Generator, wrong: float) -> dict[str, str]:
    told = {}
    for attribute, label in zip(SCHEMA.attributes, labels.tolist(), strict=True):
        others = [value for place, value in enumerate(attribute.values) if place != label]
        if label < 0:
            told[attribute.name] = CANNOT_TELL
        else:
            told[attribute.name] = str(chance.choice(others)) if chance.random() < wrong else attribute.values[label]
    return told
