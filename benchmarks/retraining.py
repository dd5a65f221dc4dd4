"""What corrected labels make of a model: heads refitted, or the whole network trained on; better where, worse where?

vestigo render people-new --identities 1000 --cameras 4 --images-per-camera 2 --seed 77
vestigo render people-old --preset training --identities 500 --seed 4242
python benchmarks/retraining.py people-new people-old

Reviewers name all attributes of some tracklets of the first dataset's training people and err in one answer of twenty.
People of the second one's training split are replayed with what the base says of them. Judged are people whom neither
learnt from: the query and gallery of both. Broken heads: hat and backpack negated, upper colours taken for one another,
gender reading the wrong features.
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
from vestigo.evaluation.metrics.attributes import AttributeMetrics, count_attributes
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit.data import AttributeTargets, extract_pooled, predict_attributes
from vestigo_models.training.head_refit.fit import PULL, fit_heads
from vestigo_workers.retraining.fit import RetrainingData, retrain

NOISE = 0.05
REPLAYED = 2000
BROKEN = ("hat", "backpack", "upper_colour", "gender")


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Labelled crops of a split: what heads read of them, labels (N, n), accepted classes (N, M), their people."""

    paths: tuple[Path, ...]
    pooled: NDArray[np.float32]
    labels: NDArray[np.int64]
    yes: NDArray[np.bool_]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    @classmethod
    def of(cls, package: ModelPackage, splits: Sequence[Split]) -> Known:
        rows = [np.flatnonzero(split.labelled) for split in splits]
        paths = tuple(split.paths[row] for split, some in zip(splits, rows, strict=True) for row in some)
        columns = {
            name: np.concatenate([getattr(split, name)[some] for split, some in zip(splits, rows, strict=True)])
            for name in ("labels", "yes", "pids", "camids")
        }
        return cls(paths=paths, pooled=extract_pooled(package, map(read_image, paths)), **columns)

    def judge(self, package: ModelPackage) -> AttributeMetrics:
        said = predict_attributes(package, self.pooled)
        likeliest = np.stack([said[:, SCHEMA.slice(name)].argmax(axis=1) for name in SCHEMA.names], axis=1)
        return count_attributes(likeliest.astype(np.int64), self.labels, self.yes, SCHEMA).summary()


def broken(base: ModelPackage) -> ModelPackage:
    network = copy.deepcopy(base.network)
    assert isinstance(network, SemanticNetwork)
    assert network.heads is not None
    rng = np.random.default_rng(0)
    for name in BROKEN:
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


def review(people: Known, tracklets: int, seed: int) -> tuple[NDArray[np.int64], AttributeTargets]:
    """Crops of some tracklets, and what reviewers answer; the crops of a tracklet share one observation."""
    rng = np.random.default_rng(seed)
    keys, whose = np.unique(np.stack([people.pids, people.camids], axis=1), axis=0, return_inverse=True)
    chosen = rng.permutation(len(keys))[:tracklets]
    rows = np.concatenate([np.flatnonzero(whose.reshape(-1) == key) for key in chosen])
    counts = np.array([(whose.reshape(-1) == key).sum() for key in chosen])
    answers = people.labels[rows[np.cumsum(counts) - counts]].copy()
    for column, attribute in enumerate(SCHEMA.attributes):
        known = answers[:, column] >= 0
        slips = known & (rng.random(len(answers)) < NOISE)
        shift = rng.integers(1, len(attribute.values), len(answers))
        answers[slips, column] = (answers[slips, column] + shift[slips]) % len(attribute.values)
    weight = np.repeat(1 / counts, counts).astype(np.float32)
    return rows, AttributeTargets.from_labels(np.repeat(answers, counts, axis=0), SCHEMA, noise=NOISE, weight=weight)


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
    people, held = Known.of(base, [new.train]), Known.of(base, [new.query, new.gallery])
    replayed, before = Known.of(base, [old.train]), Known.of(base, [old.query, old.gallery])
    some = np.random.default_rng(0).permutation(len(replayed.pooled))[:REPLAYED]

    tell("base", base, held, before)
    tell("broken", broken(base), held, before)
    for start, name in ((base, "sound"), (broken(base), "broken")):
        thought = AttributeTargets.from_predictions(predict_attributes(start, replayed.pooled[some]))
        for pull in arguments.pulls:
            for tracklets in (20, 50, 200, 800):
                for seed in range(arguments.seeds):
                    rows, named = review(people, tracklets, seed)
                    pooled = np.concatenate([people.pooled[rows], replayed.pooled[some]])
                    started = time.perf_counter()
                    made = fit_heads(start, pooled, named.with_replay(thought), pull=pull)
                    seconds = time.perf_counter() - started
                    tell(f"{name}, {tracklets} tracklets, pull {pull:g}, seed {seed}", made, held, before, seconds)
    if arguments.all:
        train_on(arguments.all, people, replayed, (new, old))


def train_on(tracklets: int, people: Known, replayed: Known, datasets: tuple[ReidDataset, ReidDataset]) -> None:
    base = ModelPackage.from_pretrained("default")
    rows, named = review(people, tracklets, 0)
    some = np.flatnonzero(np.isin(replayed.pids, np.unique(replayed.pids)[:100]))
    thought = AttributeTargets.from_predictions(predict_attributes(base, replayed.pooled[some]))
    everybody = np.concatenate([people.pids[rows], replayed.pids[some] + people.pids.max() + 1])
    data = RetrainingData(
        paths=tuple([people.paths[row] for row in rows] + [replayed.paths[row] for row in some]),
        identities=np.unique(everybody, return_inverse=True)[1].astype(np.int64),
        camids=np.concatenate([people.camids[rows], replayed.camids[some]]),
        targets=named.with_replay(thought),
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        made = retrain("default", data, Path(folder) / "all", mode="all")
        print(f"all: {len(data)} crops of {data.identities.max() + 1} people, {time.perf_counter() - started:.0f} s")
    for name, package in (("base", base), ("all", made)):
        for dataset in datasets:
            found = evaluate_model(dataset, Extractor(package), EvaluationOptions())
            assert found.metrics is not None
            assert found.attributes is not None
            metrics = found.attributes.metrics
            print(
                f"{name} on {dataset.root.name}: mAP {found.metrics.mAP:.1f}, attributes {metrics.official_mean:.1f},"
                f" balanced {metrics.balanced:.1f}",
                flush=True,
            )


def tell(what: str, package: ModelPackage, held: Known, before: Known, seconds: float = 0.0) -> None:
    new, old = held.judge(package), before.judge(package)
    four = ", ".join(f"{name} {new.official[name]:.1f}" for name in BROKEN)
    print(
        f"{what}: new {new.official_mean:.2f} (balanced {new.balanced:.2f}), old {old.official_mean:.2f} (balanced"
        f" {old.balanced:.2f}); {four}; {seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
