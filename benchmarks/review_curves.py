"""How fast reviews make a model better: learning curves of every strategy compared with random sampling.

    OMP_NUM_THREADS=1 python benchmarks/review_curves.py [--starts shipped weak] [--strategies NAME ...] [--seeds 4]
    OMP_NUM_THREADS=1 python benchmarks/review_curves.py --table        # what has been run so far, and a picture

Rounds of 50 tracklets of rendered people under unknown cameras (`review_people`). Reviewers answer all attributes, the
same for all crops of a tracklet, and one answer of twenty is wrong. After every round the heads of the first model are
refitted to all answers so far, as `vestigo retrain` does it without a dataset: unreviewed crops are replayed with what
the first model says of them. Judged are 500 people of the same archive who are not reviewed.

`shipped` begins with the model that ships; `weak` with its network and heads that learnt from nothing but the first 40
people. Seeds choose the draws, the wrong answers and what is replayed. A run is a line in `curves.jsonl` under --cache;
runs that are there are not repeated.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from review_people import People, candidates, people
from review_table import show
from vestigo.evaluation.metrics.attributes import AttributeMetrics, count_attributes
from vestigo.review.sampling.probabilities import inclusion_probabilities, systematic_sample
from vestigo.review.sampling.strategies import STRATEGIES, find_strategy
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit.data import AttributeTargets, predict_attributes
from vestigo_models.training.head_refit.fit import HeadConfig, fit_heads

ROUND, ROUNDS = 50, 16
WRONG = 0.05
TAUGHT, HELD_OUT = 40, 500
"""People whom the weak heads learn from, and who are judged on."""
REPLAYED = 2000
"""Crops, about."""
PLACES = np.array(SCHEMA.offsets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What all runs share: the model to begin with, tasks to review, and people to judge on."""

    start: ModelPackage
    archive: People
    held: People

    def judge(self, package: ModelPackage) -> AttributeMetrics:
        probabilities = predict_attributes(package, self.held.pooled)
        labels = self.held.labels
        yes = np.zeros_like(probabilities, dtype=np.bool_)
        rows, columns = np.nonzero(labels >= 0)
        yes[rows, labels[rows, columns] + PLACES[columns]] = True
        said = np.stack([probabilities[:, SCHEMA.slice(name)].argmax(axis=1) for name in SCHEMA.names], axis=1)
        return count_attributes(said, labels, yes, SCHEMA).summary()


def weak(package: ModelPackage, taught: People) -> ModelPackage:
    """Heads that know nothing but these people."""
    network = copy.deepcopy(package.network)
    assert isinstance(network, SemanticNetwork)
    for part in (network.heads, network.reweight):
        for module in () if part is None else part.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.zeros_(module.weight)
                torch.nn.init.zeros_(module.bias)
    empty = ModelPackage(package.config.model_copy(update={"calibration": None}), network)
    weight = 1 / np.bincount(taught.task)[taught.task]
    targets = AttributeTargets.from_labels(taught.labels, SCHEMA, weight=weight.astype(np.float32))
    return fit_heads(empty, taught.pooled, targets, HeadConfig(pull=30.0))


def answers(truth: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """What reviewers say of tasks (T, n): the truth, or now and then any other value; -1 for "cannot tell"."""
    values = np.array([len(attribute.values) for attribute in SCHEMA.attributes])
    wrong = (rng.random(truth.shape) < WRONG) & (truth >= 0)
    return np.where(wrong, (truth + rng.integers(1, values, truth.shape)) % values, truth)


class Learning:
    """Heads of a first model refitted to what reviewers say of an archive's tasks."""

    def __init__(self, start: ModelPackage, archive: People, rng: np.random.Generator) -> None:
        first, crops = np.unique(archive.task, return_index=True, return_counts=True)[1:]
        self.start = start
        self.archive = archive
        self.said = answers(archive.labels[first], rng)
        self._share = (1 / crops[archive.task]).astype(np.float32)
        self._replayed = np.isin(
            archive.task, rng.permutation(len(first))[: REPLAYED * len(first) // len(archive.task)]
        )
        self._opinion = predict_attributes(start, archive.pooled)

    def scores(self, package: ModelPackage, strategy: str, drawn: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What a strategy makes of the tasks, T, once the drawn ones (T) are reviewed."""
        believed = np.where(drawn[:, None], self.said, -1)
        return find_strategy(strategy).score(
            candidates(self.archive, predict_attributes(package, self.archive.pooled), believed)
        )

    def refitted(self, drawn: NDArray[np.bool_]) -> ModelPackage:
        """The model that has learnt the drawn tasks."""
        archive, share = self.archive, self._share
        known = drawn[archive.task]
        again = self._replayed & ~known
        targets = AttributeTargets.from_labels(self.said[archive.task[known]], SCHEMA, noise=WRONG, weight=share[known])
        targets = targets.with_replay(AttributeTargets.from_predictions(self._opinion[again], weight=share[again]))
        return fit_heads(self.start, np.concatenate([archive.pooled[known], archive.pooled[again]]), targets)


def run(scene: Scene, strategy: str, seed: int) -> list[AttributeMetrics]:
    """The start and the model after each round, judged."""
    rng = np.random.default_rng(seed)
    learning = Learning(scene.start, scene.archive, rng)
    drawn = np.zeros(len(learning.said), dtype=np.bool_)
    package, found = scene.start, [scene.judge(scene.start)]
    for _ in range(ROUNDS):
        scores = learning.scores(package, strategy, drawn)
        probabilities = inclusion_probabilities(scores, ROUND, sampled=drawn)
        drawn[systematic_sample(probabilities, rng, sampled=drawn)] = True
        package = learning.refitted(drawn)
        found.append(scene.judge(package))
    return found


def plain(start: str, strategy: str, seed: int, found: list[AttributeMetrics]) -> dict[str, Any]:
    return {
        "start": start,
        "strategy": strategy,
        "seed": seed,
        "tasks": [ROUND * place for place in range(len(found))],
        "official": [each.official_mean for each in found],
        "balanced": [each.balanced for each in found],
        "attributes": {name: [each.official[name] for each in found] for name in SCHEMA.names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", nargs="+", default=["shipped", "weak"], choices=["shipped", "weak"])
    parser.add_argument("--strategies", nargs="+", default=[n for n in STRATEGIES.usages if n != "label-errors"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    log = arguments.cache / "curves.jsonl"
    if not arguments.table:
        package = ModelPackage.from_pretrained("default")
        every = people(package, arguments.identities, arguments.cache)
        taught = every.of(every.pids < TAUGHT)
        archive = every.of((every.pids >= TAUGHT) & (every.pids < arguments.identities - HELD_OUT))
        held = every.of(every.pids >= arguments.identities - HELD_OUT)
        lines = log.read_text().splitlines() if log.is_file() else []
        done = {(each["start"], each["strategy"], each["seed"]) for each in map(json.loads, lines)}
        for start in arguments.starts:
            first = package if start == "shipped" else weak(package, taught)
            scene = Scene(start=first, archive=archive, held=held)
            for seed in range(arguments.seeds):
                for strategy in arguments.strategies:
                    if (start, strategy, seed) in done:
                        continue
                    began = time.monotonic()
                    line = plain(start, strategy, seed, run(scene, strategy, seed))
                    with log.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    last = f"{line['official'][-1]:.2f} {line['balanced'][-1]:.2f}"
                    print(f"{start} {strategy} {seed}: {last}, {time.monotonic() - began:.0f} s", flush=True)
    show(log, arguments.cache / "curves.svg")


if __name__ == "__main__":
    main()
