"""Explain the learning curves of single attributes: the attainable accuracy, and which tasks the sample spends.

    OMP_NUM_THREADS=1 python benchmarks/review_reasons.py [--starts shipped weak] [--seeds 3]

It needs the curves of `review_curves.py` for `random` and the default strategy, and adds for each attribute:

- *all*: the accuracy after all tasks of the archive are annotated, which no sample can exceed by much;
- *own*: runs that sample by the uncertainty about this attribute only;
- *still wrong*: the share of tasks that the model trained on all of them predicts wrongly, among the tenth that the
  first model is most uncertain about in this attribute, and among all. Annotating tasks that stay wrong does not help.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from review_curves import AnnotationLearner, Experiment, fit_weak_heads, run_record, run_rounds, split_people
from review_people import load_archive, predictions, task_features
from review_table import Curves

from vestigo.evaluation.metrics.attributes import AttributeMetrics
from vestigo.review.sampling.scores import decay_by_rank, normalised_entropy
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit import predict_attributes

TENTH = 10


def run_attribute(experiment: Experiment, attribute: int, seed: int) -> list[AttributeMetrics]:
    """Return the metrics of every round that samples by the uncertainty about one attribute."""

    def score(learner: AnnotationLearner, package: ModelPackage, _: NDArray[np.bool_]) -> NDArray[np.float64]:
        features = task_features(learner.archive, predict_attributes(package, learner.archive.pooled))
        return decay_by_rank(normalised_entropy(features)[attribute])

    return run_rounds(experiment, seed, score)


def error_rates(experiment: Experiment, package: ModelPackage) -> NDArray[np.float64]:
    """Return a model's error rates, (2, n): on the tenth that the first model is most uncertain about, and on all."""
    archive = experiment.archive
    before = task_features(archive, predict_attributes(experiment.start, archive.pooled))
    after = task_features(archive, predict_attributes(package, archive.pooled))
    truth = archive.labels[np.unique(archive.task, return_index=True)[1]]
    wrong, known = predictions(after.probabilities)[0] != truth, truth >= 0
    uncertainty = normalised_entropy(before)
    rates = []
    for column in range(len(SCHEMA)):
        uncertain = np.argsort(-uncertainty[column], kind="stable")[: len(truth) // TENTH]
        uncertain = uncertain[known[uncertain, column]]
        rates.append((wrong[uncertain, column].mean(), wrong[known[:, column], column].mean()))
    return np.array(rates).T


def main() -> None:
    """Run what is missing in the log, and print a table for each start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", nargs="+", default=["shipped", "weak"], choices=["shipped", "weak"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    curves, log = arguments.cache / "curves.jsonl", arguments.cache / "reasons.jsonl"
    package = ModelPackage.from_pretrained("default")
    archive = load_archive(package, arguments.identities, arguments.cache)
    weak_crops, reviewable, test = split_people(archive, arguments.identities)
    for start in arguments.starts:
        first = package if start == "shipped" else fit_weak_heads(package, weak_crops)
        experiment = Experiment(start=first, archive=reviewable, test=test)
        lines = log.read_text().splitlines() if log.is_file() else []
        done = {(run["start"], run["strategy"], run["seed"]) for run in map(json.loads, lines)}
        for column, name in enumerate(SCHEMA.names):
            for seed in range(arguments.seeds):
                if (start, name, seed) not in done:
                    run = run_record(start, name, seed, run_attribute(experiment, column, seed))
                    with log.open("a") as file:
                        file.write(json.dumps(run) + "\n")
        _print_table(experiment, start, curves, log)


def _print_table(experiment: Experiment, start: str, curves: Path, log: Path) -> None:
    learner = AnnotationLearner(experiment.start, experiment.archive, np.random.default_rng(0))
    package = learner.refit(np.ones(len(learner.annotations), dtype=np.bool_))
    attainable = experiment.evaluate(package).official
    rates = error_rates(experiment, package)
    usual = Curves([json.loads(line) for line in curves.read_text().splitlines()], start)
    own = Curves([json.loads(line) for line in log.read_text().splitlines()], start)
    print(f"\n### {start}\n")
    print("| attribute | before | random, 800 | all | default needs | own needs | still wrong: uncertain | of all |")
    print("|---|---|---|---|---|---|---|---|")
    for column, name in enumerate(SCHEMA.names):
        random = usual.mean(name, "random")
        counts = [runs.tasks_needed(name, by, random[-1]) for runs, by in ((usual, DEFAULT_STRATEGY), (own, name))]
        needed = " | ".join("more than 800" if count is None else f"{count:.0f}" for count in counts)
        wrong = " | ".join(f"{100 * rate:.0f} %" for rate in rates[:, column])
        print(f"| {name} | {random[0]:.1f} | {random[-1]:.1f} | {attainable[name]:.1f} | {needed} | {wrong} |")


if __name__ == "__main__":
    main()
