"""Annotator error: its estimate, and estimates corrected for it."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.review.estimates.annotator_error import (
    AnnotatorError,
    consensus_error,
    correct_estimate,
    error_from_disagreement,
)
from vestigo.review.estimates.precision import AnnotatedCrops, estimate_precision
from vestigo.review.estimates.shares import ShareEstimate
from vestigo_models.schemas.attributes import Attribute, AttributeSchema

pytestmark = pytest.mark.slow

COLOURS = AttributeSchema(
    name="one",
    attributes=(Attribute(name="colour", title="Colour", values=("red", "green", "blue"), fields=("r", "g", "b")),),
)


def answered(truth: np.ndarray, rate: float, values: int, rng: np.random.Generator) -> np.ndarray:
    """Answers that are wrong at `rate`, then any other value alike."""
    wrong = rng.random(len(truth)) < rate
    return np.where(wrong, (truth + rng.integers(1, values, len(truth))) % values, truth)


def test_estimate_is_corrected_along_a_line() -> None:
    estimate = ShareEstimate(value=0.9, low=0.8, high=0.99, reviewed=50, effective=40.0)
    right = correct_estimate(estimate, 1.25, -0.125)
    assert right == ShareEstimate(value=1.0, low=0.875, high=1.0, reviewed=50, effective=25.6)
    assert correct_estimate(estimate, 1.0, 0.0) == estimate
    assert correct_estimate(None, 1.25, 0.0) is None


@pytest.mark.parametrize("values", [2, 5])
def test_consensus_of_two_is_rarely_wrong(values: int) -> None:
    rate, count = 0.2, 400_000
    rng = np.random.default_rng(1)
    first, second = (answered(np.zeros(count, int), rate, values, rng) for _ in range(2))
    both = first == second
    error = consensus_error(rate, np.array([1, 2]), values)
    assert error[0] == pytest.approx(rate)
    assert error[1] == pytest.approx((first[both] != 0).mean(), abs=0.002)


@pytest.mark.parametrize(("rate", "values"), [(0.05, 2), (0.05, 8), (0.2, 3)])
def test_error_rate_follows_from_disagreement(rate: float, values: int) -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, values, 200_000)
    first, second = (answered(truth, rate, values, rng) for _ in range(2))
    error = error_from_disagreement(len(truth), int((first != second).sum()), values)
    assert error.rate == pytest.approx(rate, abs=0.003)
    assert error.spread < 0.002


def test_error_without_pairs_is_the_prior() -> None:
    error = error_from_disagreement(0, 0, 2)
    assert 0.01 < error.rate < 0.04
    assert error.spread > 0.01


def test_error_rate_is_limited() -> None:
    assert error_from_disagreement(100, 100, 2).rate == pytest.approx(0.4)


def test_precision_interval_covers_truth_despite_annotator_error() -> None:
    rng = np.random.default_rng(3)
    tasks, rate, rounds = 300, 0.05, 300
    held = naive = 0
    for _ in range(rounds):
        truth = rng.integers(0, 3, tasks)
        predicted = answered(truth, 0.1, 3, rng)
        answer, second = answered(truth, rate, 3, rng), answered(truth, rate, 3, rng)
        twice = 60
        differ = int((answer != second)[:twice].sum())
        arrays = {
            "schema": COLOURS,
            "probability": np.full(tasks, 0.2),
            "task": np.arange(tasks),
            "predicted": predicted[:, None],
            "confidence": np.ones((tasks, 1)),
            "answer": answer[:, None],
            "camera": np.full(tasks, "east"),
            "time": np.full(tasks, np.datetime64("NaT"), "datetime64[us]"),
        }
        precision = estimate_precision(AnnotatedCrops(**arrays, error=error_from_disagreement(twice, differ, 3)))
        plain = estimate_precision(AnnotatedCrops(**arrays, error=AnnotatorError(rate=0.0, spread=0.0, pairs=0)))
        for estimate, count in ((precision, True), (plain, False)):
            accuracy = estimate.attributes["colour"].accuracy
            assert accuracy is not None
            holds = accuracy.low <= 0.9 <= accuracy.high
            held += holds and count
            naive += holds and not count
    assert held / rounds > 0.93
    assert naive / rounds < 0.6


def test_recall_is_corrected() -> None:
    rng = np.random.default_rng(4)
    count = 200_000
    truth = (rng.random(count) < 0.05).astype(int)
    predicted = np.where(rng.random(count) < 0.2, 1 - truth, truth)
    hats = AttributeSchema(
        name="hats", attributes=(Attribute(name="hat", title="Hat", values=("no", "yes"), fields=("hat",)),)
    )
    recall = (
        estimate_precision(
            AnnotatedCrops(
                schema=hats,
                probability=np.full(count, 0.5),
                task=np.arange(count),
                predicted=predicted[:, None],
                confidence=np.ones((count, 1)),
                answer=answered(truth, 0.05, 2, rng)[:, None],
                camera=np.full(count, "east"),
                time=np.full(count, np.datetime64("NaT"), "datetime64[us]"),
                error=AnnotatorError(rate=0.05, spread=0.0, pairs=1000),
            )
        )
        .attributes["hat"]
        .values["yes"]
    )
    assert recall.recall is not None
    assert recall.precision is not None
    assert recall.recall.value == pytest.approx((predicted[truth == 1] == 1).mean(), abs=0.02)
    assert recall.precision.value == pytest.approx(truth[predicted == 1].mean(), abs=0.02)


def test_share_near_one_has_a_narrow_interval() -> None:
    count = 24
    answer = np.zeros(count, dtype=int)
    answer[0] = 1
    estimate = (
        estimate_precision(
            AnnotatedCrops(
                schema=COLOURS,
                probability=np.linspace(0.1, 0.9, count),
                task=np.arange(count),
                predicted=np.zeros((count, 1), dtype=int),
                confidence=np.ones((count, 1)),
                answer=answer[:, None],
                camera=np.full(count, "east"),
                time=np.full(count, np.datetime64("NaT"), "datetime64[us]"),
                error=AnnotatorError(rate=0.05, spread=0.01, pairs=200),
            )
        )
        .attributes["colour"]
        .accuracy
    )
    assert estimate is not None
    assert estimate.low > 0.4
    assert estimate.high == 1
