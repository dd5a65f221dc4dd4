"""Compare models retrained on corrected labels, by refitted heads or the whole network, with their base.

vestigo render people-new --identities 1000 --cameras 4 --images-per-camera 2 --seed 77
vestigo render people-old --preset training --identities 500 --seed 4242
python benchmarks/retraining.py people-new people-old

Simulated annotators label all attributes of some tracklets of the first dataset's training split; one annotation of
twenty is wrong. Crops of the second dataset's training split are replayed with the base model's predictions. The query
and gallery splits of both are evaluated. Damaged heads: hat and backpack negated, upper colours rotated, the input
features of gender permuted.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.metrics.attributes import AttributeMetrics, attribute_metrics
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit import PULL, AttributeTargets, extract_pooled, fit_heads, predict_attributes
from vestigo_workers.retraining.fit import RetrainingData, retrain

NOISE = 0.05
REPLAYED = 2000
DAMAGED = ("hat", "backpack", "upper_colour", "gender")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCrops:
    """Labelled crops of splits: pooled features of the heads, labels (N, n), accepted classes (N, M), identities."""

    paths: tuple[Path, ...]
    pooled: NDArray[np.float32]
    labels: NDArray[np.int64]
    yes: NDArray[np.bool_]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    @classmethod
    def of(cls, package: ModelPackage, splits: Sequence[Split]) -> LabelledCrops:
        rows = [np.flatnonzero(split.labelled) for split in splits]
        paths = tuple(split.paths[row] for split, selected in zip(splits, rows, strict=True) for row in selected)
        columns = {
            name: np.concatenate([getattr(split, name)[selected] for split, selected in zip(splits, rows, strict=True)])
            for name in ("labels", "yes", "pids", "camids")
        }
        return cls(paths=paths, pooled=extract_pooled(package, map(read_image, paths)), **columns)

    def evaluate(self, package: ModelPackage) -> AttributeMetrics:
        probabilities = predict_attributes(package, self.pooled)
        likeliest = np.stack([probabilities[:, SCHEMA.slice(name)].argmax(axis=1) for name in SCHEMA.names], axis=1)
        return attribute_metrics(likeliest.astype(np.int64), self.labels, self.yes, SCHEMA)


def damage_heads(base: ModelPackage) -> ModelPackage:
    network = copy.deepcopy(base.network)
    assert isinstance(network, SemanticNetwork)
    assert network.heads is not None
    rng = np.random.default_rng(0)
    for name in DAMAGED:
        _, linear = network.heads.heads[SCHEMA.index(name)].children()
        weight, bias = linear.weight, linear.bias
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bias, torch.Tensor)
        if name == "upper_colour":
            weight.copy_(weight.roll(1, dims=0))
        elif name == "gender":
            weight.copy_(weight[:, rng.permutation(weight.shape[1])])
        else:
            weight.neg_()
            bias.neg_()
    return ModelPackage(base.config, network)


def annotate_tracklets(people: LabelledCrops, tracklets: int, seed: int) -> tuple[NDArray[np.int64], AttributeTargets]:
    """Return rows of some tracklets' crops and their annotations; the crops of a tracklet share one annotation."""
    rng = np.random.default_rng(seed)
    keys, tracklet_rows = np.unique(np.stack([people.pids, people.camids], axis=1), axis=0, return_inverse=True)
    sampled = rng.permutation(len(keys))[:tracklets]
    rows = np.concatenate([np.flatnonzero(tracklet_rows.reshape(-1) == key) for key in sampled])
    counts = np.array([(tracklet_rows.reshape(-1) == key).sum() for key in sampled])
    annotations = people.labels[rows[np.cumsum(counts) - counts]].copy()
    for column, attribute in enumerate(SCHEMA.attributes):
        known = annotations[:, column] >= 0
        errors = known & (rng.random(len(annotations)) < NOISE)
        shift = rng.integers(1, len(attribute.values), len(annotations))
        annotations[errors, column] = (annotations[errors, column] + shift[errors]) % len(attribute.values)
    weight = np.repeat(1 / counts, counts).astype(np.float32)
    return rows, AttributeTargets.from_labels(
        np.repeat(annotations, counts, axis=0), SCHEMA, noise=NOISE, weight=weight
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("new", type=Path)
    parser.add_argument("old", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pulls", type=float, nargs="+", default=[PULL])
    parser.add_argument("--all", type=int, default=0, help="also train the whole network on, with so many tracklets")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    new, old = load_dataset(arguments.new), load_dataset(arguments.old)
    base = ModelPackage.from_pretrained("default")
    people, held = LabelledCrops.of(base, [new.train]), LabelledCrops.of(base, [new.query, new.gallery])
    replayed, before = LabelledCrops.of(base, [old.train]), LabelledCrops.of(base, [old.query, old.gallery])
    replayed_rows = np.random.default_rng(0).permutation(len(replayed.pooled))[:REPLAYED]

    print_accuracy("base", base, held, before)
    print_accuracy("damaged", damage_heads(base), held, before)
    for start, name in ((base, "base"), (damage_heads(base), "damaged")):
        predictions = AttributeTargets.from_predictions(predict_attributes(start, replayed.pooled[replayed_rows]))
        for pull in arguments.pulls:
            for tracklets in (20, 50, 200, 800):
                for seed in range(arguments.seeds):
                    rows, targets = annotate_tracklets(people, tracklets, seed)
                    pooled = np.concatenate([people.pooled[rows], replayed.pooled[replayed_rows]])
                    started = time.perf_counter()
                    package = fit_heads(start, pooled, targets.with_replay(predictions), pull=pull)
                    seconds = time.perf_counter() - started
                    print_accuracy(
                        f"{name}, {tracklets} tracklets, pull {pull:g}, seed {seed}", package, held, before, seconds
                    )
    if arguments.all:
        retrain_network(arguments.all, people, replayed, (new, old))


def retrain_network(
    tracklets: int, people: LabelledCrops, replayed: LabelledCrops, datasets: tuple[ReidDataset, ReidDataset]
) -> None:
    base = ModelPackage.from_pretrained("default")
    rows, targets = annotate_tracklets(people, tracklets, 0)
    replayed_rows = np.flatnonzero(np.isin(replayed.pids, np.unique(replayed.pids)[:100]))
    predictions = AttributeTargets.from_predictions(predict_attributes(base, replayed.pooled[replayed_rows]))
    pids = np.concatenate([people.pids[rows], replayed.pids[replayed_rows] + people.pids.max() + 1])
    data = RetrainingData(
        paths=tuple([people.paths[row] for row in rows] + [replayed.paths[row] for row in replayed_rows]),
        identities=np.unique(pids, return_inverse=True)[1].astype(np.int64),
        camids=np.concatenate([people.camids[rows], replayed.camids[replayed_rows]]),
        targets=targets.with_replay(predictions),
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        package = retrain("default", data, Path(folder) / "all", mode="all")
        print(f"all: {len(data)} crops of {data.identities.max() + 1} people, {time.perf_counter() - started:.0f} s")
    for name, evaluated in (("base", base), ("all", package)):
        for dataset in datasets:
            result = evaluate_model(dataset, Extractor(evaluated), EvaluationOptions())
            assert result.metrics is not None
            assert result.attributes is not None
            metrics = result.attributes.metrics
            print(
                f"{name} on {dataset.root.name}: mAP {result.metrics.mAP:.1f}, attributes {metrics.official_mean:.1f},"
                f" balanced {metrics.balanced:.1f}",
                flush=True,
            )


def print_accuracy(
    name: str, package: ModelPackage, held: LabelledCrops, before: LabelledCrops, seconds: float = 0.0
) -> None:
    new, old = held.evaluate(package), before.evaluate(package)
    damaged = ", ".join(f"{attribute} {new.official[attribute]:.1f}" for attribute in DAMAGED)
    print(
        f"{name}: new {new.official_mean:.2f} (balanced {new.balanced:.2f}), old {old.official_mean:.2f} (balanced"
        f" {old.balanced:.2f}); {damaged}; {seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
