"""Whether intervals of precision hold the truth: rendered people, reviewed in two draws that look for errors.

    OMP_NUM_THREADS=1 python benchmarks/review_coverage.py [--draws 1000] [--tasks 300] [--strategy NAME] [--refit]

The truth is the accuracy of the shipped model on all crops of the archive (see `review_people`). Each of the simulated
reviews draws half of the tasks by the strategy's scores, then the other half where the first half found errors: scores
are multiplied by the share of wrong answers of the task's camera and predicted value. A fifth of the second half is
not reviewed in time. Naive is what the same reviews say without their probabilities: the plain share of right crops,
with the binomial interval of as many answers (Wilson's). A garment of no named colour counts as "cannot tell".
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from review_curves import Learning
from review_people import People, candidates, people, predictions
from vestigo.review.estimates.precision import UNDECIDABLE, AnnotatedCrops, estimate_precision
from vestigo.review.estimates.shares import ShareEstimate
from vestigo.review.sampling.probabilities import combine_rounds, inclusion_probabilities, systematic_sample
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES, find_strategy
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit.data import predict_attributes

ENOUGH = 30
"""Effective reviews, the median of all draws, from which on the interval of a value is held to its promise."""


class Review:
    """An archive with a judged model; `once` draws and answers."""

    def __init__(self, package: ModelPackage, archive: People, strategy: str, *, refit: bool) -> None:
        self.package = package
        self.archive = archive
        self.strategy = strategy
        self.refit = refit
        probabilities = predict_attributes(package, archive.pooled)
        self.scores = find_strategy(strategy).score(candidates(archive, probabilities))
        self.first = np.unique(archive.task, return_index=True)[1]
        self.predicted, self.confidence = predictions(probabilities)
        self.answers = np.where(archive.labels >= 0, archive.labels, UNDECIDABLE)
        self.right = self.predicted == self.answers

    def of(self, tasks: NDArray[np.int64], probability: NDArray[np.float64]) -> AnnotatedCrops:
        rows = np.isin(self.archive.task, tasks)
        return AnnotatedCrops(
            schema=SCHEMA,
            probability=probability[tasks],
            task=np.searchsorted(tasks, self.archive.task[rows]),
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            answer=self.answers[rows],
            camera=np.full(rows.sum(), "all"),
            time=np.full(rows.sum(), np.datetime64("NaT")),
        )

    def once(self, rng: np.random.Generator, tasks: int) -> AnnotatedCrops:
        count = len(self.first)
        first = inclusion_probabilities(self.scores, tasks // 2)
        taken = systematic_sample(first, rng)
        drawn = np.isin(np.arange(count), taken)
        second = inclusion_probabilities(self._later(taken, drawn, rng), tasks - tasks // 2, sampled=drawn)
        later = rng.permutation(systematic_sample(second, rng, sampled=drawn))
        reviewed = later[: round(0.8 * len(later))]
        together = combine_rounds(np.stack([first, second]), np.array([1.0, len(reviewed) / len(later)]))
        return self.of(np.sort(np.concatenate([taken, reviewed])), together)

    def _later(
        self, taken: NDArray[np.int64], drawn: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Scores once the first half is reviewed."""
        if not self.refit:
            return self.scores * self._found(taken)
        learning = Learning(self.package, self.archive, rng)
        return learning.scores(learning.refitted(drawn), self.strategy, drawn)

    def _found(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often what was reviewed is wrong under the camera of each task and of its colours, as predicted."""
        rows = self.first
        wrong = (~self.right[rows]).mean(axis=1)
        result = np.zeros(len(rows))
        for key in (self.archive.cameras[rows], self.predicted[rows, -2], self.predicted[rows, -1]):
            counts = np.bincount(key[taken], minlength=key.max() + 1)
            errors = np.bincount(key[taken], wrong[taken], minlength=key.max() + 1)
            result += ((errors + 0.2) / (counts + 1))[key]
        return result


def naive(right: int, count: int) -> tuple[float, float]:
    found = binomtest(right, count).proportion_ci(method="wilson")
    return found.low, found.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--strategy", default=DEFAULT_STRATEGY, choices=STRATEGIES.usages)
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    arguments = parser.parse_args()

    package = ModelPackage.from_pretrained("default")
    archive = people(package, arguments.identities, arguments.cache)
    torch.set_num_threads(1)
    review = Review(package, archive, arguments.strategy, refit=arguments.refit)
    every = np.arange(len(review.first))
    truth = estimate_precision(review.of(every, np.ones(len(every)))).attributes
    print(f"{len(every)} tasks, {len(archive.task)} crops; {arguments.draws} reviews of {arguments.tasks} tasks\n")

    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    effective: dict[tuple[str, str], list[float]] = defaultdict(list)
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    plain: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)

    def note(key: tuple[str, str], estimate: ShareEstimate | None, true: ShareEstimate | None) -> None:
        if estimate is not None and true is not None:
            held[key].append(estimate.low - 1e-12 <= true.value <= estimate.high + 1e-12)
            effective[key].append(estimate.effective)

    for _ in range(arguments.draws):
        reviewed = review.once(rng, arguments.tasks)
        for position, (name, found) in enumerate(estimate_precision(reviewed).attributes.items()):
            true = truth[name]
            note((name, ""), found.accuracy, true.accuracy)
            for value, each in found.values.items():
                note((name, f"precision of {value}"), each.precision, true.values[value].precision)
                note((name, f"recall of {value}"), each.recall, true.values[value].recall)
            assert found.accuracy is not None
            assert true.accuracy is not None
            known = reviewed.answer[:, position] >= 0
            right = int((reviewed.predicted == reviewed.answer)[known, position].sum())
            low, high = naive(right, int(known.sum()))
            plain[name].append(low <= true.accuracy.value <= high)
            errors[name].append((found.accuracy.value - true.accuracy.value, right / known.sum() - true.accuracy.value))
            widths[name].append(found.accuracy.high - found.accuracy.low)

    print("| attribute | truth | mean error | naive's | held by 95 % intervals | by naive ones | half width |")
    print("|---|---|---|---|---|---|---|")
    for name in SCHEMA.names:
        true, (bias, naive_bias) = truth[name].accuracy, np.mean(errors[name], axis=0)
        assert true is not None
        print(
            f"| {name} | {true.value:.1%} | {bias:+.2%} | {naive_bias:+.2%} | {np.mean(held[name, '']):.1%}"
            f" | {np.mean(plain[name]):.1%} | {np.mean(widths[name]) / 2:.1%} |"
        )
    print(f"\n| attribute | of | effective reviews (median) | held | enough (>= {ENOUGH}) |")
    print("|---|---|---|---|---|")
    for key in sorted((key for key in held if key[1]), key=lambda key: np.mean(held[key])):
        median = np.median(effective[key])
        enough = "yes" if median >= ENOUGH else "no"
        print(f"| {key[0]} | {key[1]} | {median:.0f} | {np.mean(held[key]):.1%} | {enough} |")


if __name__ == "__main__":
    main()
