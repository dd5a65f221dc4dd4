"""Measure learning curves: accuracy over annotated tasks for every sampling strategy, compared with random sampling.

    OMP_NUM_THREADS=1 python benchmarks/review_curves.py [--starts shipped weak] [--strategies NAME ...] [--seeds 4]
    OMP_NUM_THREADS=1 python benchmarks/review_curves.py --table        # tables and a chart of the finished runs

A round samples 50 tracklets of rendered people under unknown cameras (`review_people`). Annotators label all attributes
of a tracklet, and one annotation of twenty is wrong. After every round the heads of the first model are refitted on all
annotations so far, as `vestigo retrain` does it without a dataset: unreviewed crops are replayed with the first model's
predictions. Models are evaluated on 500 people of the same archive who are not reviewed.

`shipped` starts with the shipped model; `weak` with its network and heads that were trained on the first 40 people.
The seed determines the samples, the wrong annotations and the replayed crops. A run is a line in `curves.jsonl` under
--cache; finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from review_people import CropArchive, load_archive, predictions, task_features
from review_table import write_report

from vestigo.evaluation.metrics.attributes import AttributeMetrics, attribute_metrics
from vestigo.review.sampling.probabilities import inclusion_probabilities, systematic_sample
from vestigo.review.sampling.strategies import STRATEGIES, find_strategy
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit import AttributeTargets, fit_heads, predict_attributes

ROUND, ROUNDS = 50, 16
WRONG = 0.05
WEAK_PEOPLE, TEST_PEOPLE = 40, 500
"""Numbers of people that the weak heads are trained on, and that models are evaluated on."""
REPLAYED = 2000
"""Approximate number of replayed crops."""
OFFSETS = np.array(SCHEMA.offsets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """The inputs that all runs of one start share: the first model, the crops to review, and the test crops."""

    start: ModelPackage
    archive: CropArchive
    test: CropArchive

    def evaluate(self, package: ModelPackage) -> AttributeMetrics:
        """Return the accuracy of a model on the test crops."""
        probabilities = predict_attributes(package, self.test.pooled)
        labels = self.test.labels
        accepted = np.zeros_like(probabilities, dtype=np.bool_)
        rows, columns = np.nonzero(labels >= 0)
        accepted[rows, labels[rows, columns] + OFFSETS[columns]] = True
        return attribute_metrics(predictions(probabilities)[0], labels, accepted, SCHEMA)


def fit_weak_heads(package: ModelPackage, crops: CropArchive) -> ModelPackage:
    """Return the package with its heads set to zero and trained on these crops only."""
    network = copy.deepcopy(package.network)
    assert isinstance(network, SemanticNetwork)
    for part in (network.heads, network.reweight):
        for module in () if part is None else part.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.zeros_(module.weight)
                torch.nn.init.zeros_(module.bias)
    empty = ModelPackage(package.config.model_copy(update={"calibration": None}), network)
    weight = 1 / np.bincount(crops.task)[crops.task]
    targets = AttributeTargets.from_labels(crops.labels, SCHEMA, weight=weight.astype(np.float32))
    return fit_heads(empty, crops.pooled, targets, pull=30.0)


def simulate_annotations(truth: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return annotations of tasks (T, n): the truth, or with probability `WRONG` another value; -1: "cannot tell"."""
    values = np.array([len(attribute.values) for attribute in SCHEMA.attributes])
    wrong = (rng.random(truth.shape) < WRONG) & (truth >= 0)
    return np.where(wrong, (truth + rng.integers(1, values, truth.shape)) % values, truth)


class AnnotationLearner:
    """Refits the heads of a model on simulated annotations of an archive's T tasks."""

    def __init__(self, start: ModelPackage, archive: CropArchive, rng: np.random.Generator) -> None:
        first, crops = np.unique(archive.task, return_index=True, return_counts=True)[1:]
        self.start = start
        self.archive = archive
        self.annotations = simulate_annotations(archive.labels[first], rng)
        self._crop_weight = (1 / crops[archive.task]).astype(np.float32)
        self._is_replayed = np.isin(
            archive.task, rng.permutation(len(first))[: REPLAYED * len(first) // len(archive.task)]
        )
        self._start_probabilities = predict_attributes(start, archive.pooled)

    def scores(self, package: ModelPackage, strategy: str, is_sampled: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return a strategy's scores of the tasks, (T,), after the sampled ones (T,) are annotated."""
        labels = np.where(is_sampled[:, None], self.annotations, -1)
        return find_strategy(strategy).score(
            task_features(self.archive, predict_attributes(package, self.archive.pooled), labels)
        )

    def refit(self, is_sampled: NDArray[np.bool_]) -> ModelPackage:
        """Return the first model with heads refitted on the annotations of the sampled tasks."""
        archive, weight = self.archive, self._crop_weight
        known = is_sampled[archive.task]
        replayed = self._is_replayed & ~known
        annotations = self.annotations[archive.task[known]]
        targets = AttributeTargets.from_labels(annotations, SCHEMA, noise=WRONG, weight=weight[known])
        replay = AttributeTargets.from_predictions(self._start_probabilities[replayed], weight=weight[replayed])
        pooled = np.concatenate([archive.pooled[known], archive.pooled[replayed]])
        return fit_heads(self.start, pooled, targets.with_replay(replay))


def run_rounds(
    experiment: Experiment,
    seed: int,
    score: Callable[[AnnotationLearner, ModelPackage, NDArray[np.bool_]], NDArray[np.float64]],
) -> list[AttributeMetrics]:
    """Return the metrics of the first model and of the model after each round.

    Args:
        experiment: The inputs of the run.
        seed: Seed of samples, annotation errors and replay.
        score: Returns the scores of all tasks, (T,), for the current model and the tasks sampled before, (T,).
    """
    rng = np.random.default_rng(seed)
    learner = AnnotationLearner(experiment.start, experiment.archive, rng)
    is_sampled = np.zeros(len(learner.annotations), dtype=np.bool_)
    package, metrics = experiment.start, [experiment.evaluate(experiment.start)]
    for _ in range(ROUNDS):
        probabilities = inclusion_probabilities(score(learner, package, is_sampled), ROUND, sampled=is_sampled)
        is_sampled[systematic_sample(probabilities, rng, sampled=is_sampled)] = True
        package = learner.refit(is_sampled)
        metrics.append(experiment.evaluate(package))
    return metrics


def run_strategy(experiment: Experiment, strategy: str, seed: int) -> list[AttributeMetrics]:
    """Return the metrics of every round of a sampling strategy."""
    return run_rounds(
        experiment, seed, lambda learner, package, is_sampled: learner.scores(package, strategy, is_sampled)
    )


def run_record(start: str, strategy: str, seed: int, metrics: list[AttributeMetrics]) -> dict[str, Any]:
    """Return the line of the log for a run."""
    return {
        "start": start,
        "strategy": strategy,
        "seed": seed,
        "tasks": [ROUND * number for number in range(len(metrics))],
        "official": [each.official_mean for each in metrics],
        "balanced": [each.balanced for each in metrics],
        "attributes": {name: [each.official[name] for each in metrics] for name in SCHEMA.names},
    }


def split_people(archive: CropArchive, identities: int) -> tuple[CropArchive, CropArchive, CropArchive]:
    """Return the crops that weak heads are trained on, those to review, and those to evaluate on."""
    weak, test = archive.pids < WEAK_PEOPLE, archive.pids >= identities - TEST_PEOPLE
    return archive.select(weak), archive.select(~weak & ~test), archive.select(test)


def main() -> None:
    """Run what is missing in the log, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", nargs="+", default=["shipped", "weak"], choices=["shipped", "weak"])
    parser.add_argument("--strategies", nargs="+", default=[n for n in STRATEGIES.usages if n != "label-errors"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    parser.add_argument("--table", action="store_true", help="print the tables of finished runs only")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    log = arguments.cache / "curves.jsonl"
    if not arguments.table:
        package = ModelPackage.from_pretrained("default")
        archive = load_archive(package, arguments.identities, arguments.cache)
        weak_crops, reviewable, test = split_people(archive, arguments.identities)
        lines = log.read_text().splitlines() if log.is_file() else []
        done = {(run["start"], run["strategy"], run["seed"]) for run in map(json.loads, lines)}
        for start in arguments.starts:
            first = package if start == "shipped" else fit_weak_heads(package, weak_crops)
            experiment = Experiment(start=first, archive=reviewable, test=test)
            for seed in range(arguments.seeds):
                for strategy in arguments.strategies:
                    if (start, strategy, seed) in done:
                        continue
                    began = time.monotonic()
                    run = run_record(start, strategy, seed, run_strategy(experiment, strategy, seed))
                    with log.open("a") as file:
                        file.write(json.dumps(run) + "\n")
                    last = f"{run['official'][-1]:.2f} {run['balanced'][-1]:.2f}"
                    print(f"{start} {strategy} {seed}: {last}, {time.monotonic() - began:.0f} s", flush=True)
    write_report(log, arguments.cache / "curves.svg")


if __name__ == "__main__":
    main()
