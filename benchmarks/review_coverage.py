"""Measure the coverage of the intervals of `vestigo precision` on simulated reviews of rendered people.

    OMP_NUM_THREADS=1 python benchmarks/review_coverage.py [--draws 1000] [--tasks 300] [--strategy NAME] [--refit]

The truth is the accuracy of the shipped model on all crops of the archive (see `review_people`). Each simulated review
samples half of the tasks by the strategy's scores. The scores of the second half are multiplied by the share of wrong
predictions that the first half has for the task's camera and predicted values. A fifth of the second half stays
unreviewed. The naive estimate ignores the inclusion probabilities: it is the share of correct crops with Wilson's
binomial interval. A garment without a named colour counts as "cannot tell".
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from review_curves import AnnotationLearner
from review_people import CropArchive, load_archive, predictions, task_features
from scipy.stats import binomtest

from vestigo.review.estimates.precision import UNDECIDABLE, AnnotatedCrops, estimate_precision
from vestigo.review.estimates.shares import ShareEstimate
from vestigo.review.sampling.probabilities import combine_rounds, inclusion_probabilities, systematic_sample
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES, find_strategy
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit import predict_attributes

MIN_EFFECTIVE = 30
"""Effective number of reviews, median over samples, from which on the interval of a value should have its coverage."""


class ReviewSimulation:
    """Reviews of the predictions of one model on an archive."""

    def __init__(self, package: ModelPackage, archive: CropArchive, strategy: str, *, refit: bool) -> None:
        self.package = package
        self.archive = archive
        self.strategy = strategy
        self.refit = refit
        probabilities = predict_attributes(package, archive.pooled)
        self.scores = find_strategy(strategy).score(task_features(archive, probabilities))
        self.first_crops = np.unique(archive.task, return_index=True)[1]
        self.predicted, self.confidence = predictions(probabilities)
        self.annotations = np.where(archive.labels >= 0, archive.labels, UNDECIDABLE)
        self.correct = self.predicted == self.annotations

    def annotate(self, tasks: NDArray[np.int64], probability: NDArray[np.float64]) -> AnnotatedCrops:
        """Return the annotated crops of sorted tasks; `probability` holds the inclusion probability of every task."""
        rows = np.isin(self.archive.task, tasks)
        return AnnotatedCrops(
            schema=SCHEMA,
            probability=probability[tasks],
            task=np.searchsorted(tasks, self.archive.task[rows]),
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            answer=self.annotations[rows],
            camera=np.full(rows.sum(), "all"),
            time=np.full(rows.sum(), np.datetime64("NaT")),
        )

    def sample(self, rng: np.random.Generator, tasks: int) -> AnnotatedCrops:
        """Return the annotated crops of a review of about `tasks` tasks in two rounds."""
        count = len(self.first_crops)
        first_probability = inclusion_probabilities(self.scores, tasks // 2)
        first_tasks = systematic_sample(first_probability, rng)
        is_sampled = np.isin(np.arange(count), first_tasks)
        scores = self._second_round_scores(first_tasks, is_sampled, rng)
        second_probability = inclusion_probabilities(scores, tasks - tasks // 2, sampled=is_sampled)
        second_tasks = rng.permutation(systematic_sample(second_probability, rng, sampled=is_sampled))
        reviewed = second_tasks[: round(0.8 * len(second_tasks))]
        probability = combine_rounds(
            np.stack([first_probability, second_probability]), np.array([1.0, len(reviewed) / len(second_tasks)])
        )
        return self.annotate(np.sort(np.concatenate([first_tasks, reviewed])), probability)

    def _second_round_scores(
        self, tasks: NDArray[np.int64], is_sampled: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        if not self.refit:
            return self.scores * self._error_rates(tasks)
        learner = AnnotationLearner(self.package, self.archive, rng)
        return learner.scores(learner.refit(is_sampled), self.strategy, is_sampled)

    def _error_rates(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the error rates of reviewed tasks with each task's camera and predicted colours, added up, (T,)."""
        rows = self.first_crops
        error_share = (~self.correct[rows]).mean(axis=1)
        result = np.zeros(len(rows))
        for key in (self.archive.cameras[rows], self.predicted[rows, -2], self.predicted[rows, -1]):
            counts = np.bincount(key[tasks], minlength=key.max() + 1)
            errors = np.bincount(key[tasks], error_share[tasks], minlength=key.max() + 1)
            result += ((errors + 0.2) / (counts + 1))[key]
        return result


def naive_interval(correct: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    interval = binomtest(correct, count).proportion_ci(method="wilson")
    return interval.low, interval.high


def main() -> None:
    """Print the coverage for each attribute and for each of its values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="number of simulated reviews")
    parser.add_argument("--tasks", type=int, default=300, help="tasks of a review")
    parser.add_argument("--strategy", default=DEFAULT_STRATEGY, choices=STRATEGIES.usages)
    parser.add_argument("--refit", action="store_true", help="sample the second half with heads refitted on the first")
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    arguments = parser.parse_args()

    package = ModelPackage.from_pretrained("default")
    archive = load_archive(package, arguments.identities, arguments.cache)
    torch.set_num_threads(1)
    simulation = ReviewSimulation(package, archive, arguments.strategy, refit=arguments.refit)
    all_tasks = np.arange(len(simulation.first_crops))
    truth = estimate_precision(simulation.annotate(all_tasks, np.ones(len(all_tasks)))).attributes
    print(f"{len(all_tasks)} tasks, {len(archive.task)} crops; {arguments.draws} reviews of {arguments.tasks} tasks\n")

    covered: dict[tuple[str, str], list[bool]] = defaultdict(list)
    effective: dict[tuple[str, str], list[float]] = defaultdict(list)
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    covered_naive: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)

    def record(key: tuple[str, str], estimate: ShareEstimate | None, true: ShareEstimate | None) -> None:
        if estimate is not None and true is not None:
            covered[key].append(estimate.low - 1e-12 <= true.value <= estimate.high + 1e-12)
            effective[key].append(estimate.effective)

    for _ in range(arguments.draws):
        crops = simulation.sample(rng, arguments.tasks)
        for position, (name, estimate) in enumerate(estimate_precision(crops).attributes.items()):
            true = truth[name]
            record((name, ""), estimate.accuracy, true.accuracy)
            for value, by_value in estimate.values.items():
                record((name, f"precision of {value}"), by_value.precision, true.values[value].precision)
                record((name, f"recall of {value}"), by_value.recall, true.values[value].recall)
            assert estimate.accuracy is not None
            assert true.accuracy is not None
            known = crops.answer[:, position] >= 0
            correct = int((crops.predicted == crops.answer)[known, position].sum())
            low, high = naive_interval(correct, int(known.sum()))
            covered_naive[name].append(low <= true.accuracy.value <= high)
            naive_error = correct / known.sum() - true.accuracy.value
            errors[name].append((estimate.accuracy.value - true.accuracy.value, naive_error))
            widths[name].append(estimate.accuracy.high - estimate.accuracy.low)

    print("| attribute | truth | mean error | mean error, naive | coverage | coverage, naive | half width |")
    print("|---|---|---|---|---|---|---|")
    for name in SCHEMA.names:
        accuracy, (bias, naive_bias) = truth[name].accuracy, np.mean(errors[name], axis=0)
        assert accuracy is not None
        print(
            f"| {name} | {accuracy.value:.1%} | {bias:+.2%} | {naive_bias:+.2%} | {np.mean(covered[name, '']):.1%}"
            f" | {np.mean(covered_naive[name]):.1%} | {np.mean(widths[name]) / 2:.1%} |"
        )
    print(f"\n| attribute | measure | effective reviews (median) | coverage | at least {MIN_EFFECTIVE} reviews |")
    print("|---|---|---|---|---|")
    for key in sorted((key for key in covered if key[1]), key=lambda key: np.mean(covered[key])):
        median = np.median(effective[key])
        enough = "yes" if median >= MIN_EFFECTIVE else "no"
        print(f"| {key[0]} | {key[1]} | {median:.0f} | {np.mean(covered[key]):.1%} | {enough} |")


if __name__ == "__main__":
    main()
