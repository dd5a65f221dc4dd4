"""Precision of annotated samples, against loops over crops, a complete review and simulated samples."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t

from vestigo.review.estimates.precision import NO_LABEL, UNDECIDABLE, AnnotatedCrops, estimate_precision
from vestigo.review.sampling.probabilities import combine_rounds, systematic_sample
from vestigo.review.sampling.probabilities import inclusion_probabilities as likely
from vestigo_models.schemas.attributes import Attribute, AttributeSchema

pytestmark = pytest.mark.slow

SCHEMA = AttributeSchema(
    "small",
    (
        Attribute(name="hat", values=("no", "yes"), fields=("hat",), title="hat"),
        Attribute(name="colour", values=("red", "green", "blue"), fields=("colour",), title="colour"),
    ),
)


def annotated_crops(seed: int, tasks: int = 40) -> AnnotatedCrops:
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(tasks), rng.integers(1, 5, tasks))
    crops = len(task)
    truth = np.stack([rng.integers(-2, len(a.values), tasks)[task] for a in SCHEMA.attributes], axis=1)
    predicted = np.stack([rng.integers(0, len(a.values), crops) for a in SCHEMA.attributes], axis=1)
    days = np.datetime64("2023-12-25") + rng.integers(0, 60, crops)
    return AnnotatedCrops(
        schema=SCHEMA,
        probability=rng.uniform(0.05, 1, tasks),
        task=task,
        predicted=np.where((rng.random(predicted.shape) < 0.6) & (truth >= 0), truth, predicted),
        confidence=rng.random(predicted.shape),
        answer=truth,
        camera=rng.choice(["east", "north"], crops),
        time=np.where(rng.random(crops) < 0.1, np.datetime64("NaT"), days + np.timedelta64(7, "h")),
    )


def naive_share(pairs: list[tuple[int, float, bool]]) -> dict[str, Any]:
    """Of (task, probability, right) of what counts: Hajek's ratio, his variance, and Wilson's interval."""
    tasks: dict[int, list[float]] = {}
    for task, probability, right in pairs:
        tasks.setdefault(task, [probability, 0, 0])
        tasks[task][1] += right
        tasks[task][2] += 1
    if not tasks:
        return {"value": None, "low": None, "high": None, "reviewed": 0}
    total = sum(crops / p for p, _, crops in tasks.values())
    value = sum(right / p for p, right, _ in tasks.values()) / total
    n = len(tasks)
    variance, c = 0.0, [(1 - p) * n / max(1, n - 1) for p, _, _ in tasks.values()]
    terms = [(right - value * crops) / p / total for p, right, crops in tasks.values()]
    if n > 1:
        middle = sum(a * b for a, b in zip(c, terms, strict=True)) / sum(c)
        variance = sum(a * (b - middle) ** 2 for a, b in zip(c, terms, strict=True))

    def alike(weights: list[float]) -> float:
        return sum(weights) ** 2 / sum(w * w for w in weights) if weights else 0.0

    effective = alike([crops / p for p, _, crops in tasks.values()])
    if 0 < value < 1 and variance > 0:
        bound, most = value * (1 - value) / variance, sum(crops for _, _, crops in tasks.values()) * effective / n
        effective = min(bound, effective)
        wrong = [1 / p for p, right, crops in tasks.values() if right < crops]
        odd = min(alike(wrong), alike([1 / p for p, right, _ in tasks.values() if right > 0]))
        if odd >= 1.5:
            unsure = t((odd - 1) / 2).ppf(0.975) / norm.ppf(0.975)
            effective = max(effective, min(bound / unsure**2, most))
    z = float(t(max(1.0, min(n, effective) - 1)).ppf(0.975))
    # Wilson: the shares p with (value - p)^2 = z^2 p (1 - p) / effective.
    low, high = np.roots([1 + z * z / effective, -(2 * value + z * z / effective), value * value])[::-1].real
    return {"value": value, "low": max(0.0, low), "high": min(1.0, high), "reviewed": n}


def naive(reviewed: AnnotatedCrops, confidence: float, wanted: Callable[[int], bool]) -> dict[str, Any]:
    result = {}
    crops = [i for i in range(len(reviewed.task)) if wanted(i)]
    p = {i: float(reviewed.probability[reviewed.task[i]]) for i in crops}
    for j, attribute in enumerate(SCHEMA.attributes):
        predictions = {
            i: int(reviewed.predicted[i, j]) if reviewed.confidence[i, j] >= confidence else None for i in crops
        }
        true = {i: int(reviewed.answer[i, j]) for i in crops}
        known = [i for i in crops if true[i] >= 0]

        def share(rows: list[int], right: Callable[[int], bool], p: dict[int, float] = p) -> dict[str, Any]:
            return naive_share([(int(reviewed.task[i]), p[i], right(i)) for i in rows])

        accuracy = share([i for i in known if predictions[i] is not None], lambda i: predictions[i] == true[i])  # noqa: B023
        values = {}
        for v, value in enumerate(attribute.values):
            precision = share([i for i in known if predictions[i] == v], lambda i: true[i] == v)  # noqa: B023
            recall = share([i for i in known if true[i] == v], lambda i: predictions[i] == v)  # noqa: B023
            values[value] = {
                "precision": precision["value"],
                "precision_low": precision["low"],
                "precision_high": precision["high"],
                "recall": recall["value"],
                "recall_low": recall["low"],
                "recall_high": recall["high"],
                "reviewed": precision["reviewed"],
            }
        result[attribute.name] = {
            "accuracy": accuracy["value"],
            "low": accuracy["low"],
            "high": accuracy["high"],
            "reviewed": accuracy["reviewed"],
            "values": values,
            "coverage": share(crops, lambda i: predictions[i] is not None)["value"],  # noqa: B023
            "cannot_tell": len({int(reviewed.task[i]) for i in crops if true[i] == UNDECIDABLE}),
            "told": share([i for i in crops if true[i] != NO_LABEL], lambda i: true[i] >= 0)["value"],  # noqa: B023
        }
    return result


def assert_alike(actual: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert actual.keys() - {"more_reviews"} == expected.keys(), where
        for key, value in expected.items():
            assert_alike(actual[key], value, f"{where}/{key}")
    elif expected is None:
        assert actual is None, where
    else:
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9), where


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("confidence", [0.0, 0.5])
def test_estimates_equal_loops_over_crops(seed: int, confidence: float) -> None:
    reviewed = annotated_crops(seed)
    estimates = estimate_precision(reviewed, confidence=confidence).to_dict()
    assert_alike(estimates["attributes"], naive(reviewed, confidence, lambda _: True))
    assert estimates["cameras"].keys() == {"east", "north"}
    for camera, part in estimates["cameras"].items():
        assert_alike(part, naive(reviewed, confidence, lambda i, c=camera: reviewed.camera[i] == c))


@pytest.mark.parametrize(("period", "pattern"), [("day", "%Y-%m-%d"), ("week", "%G-W%V"), ("month", "%Y-%m")])
def test_periods_follow_the_calendar(period: Any, pattern: str) -> None:
    reviewed = annotated_crops(9)
    dates = [None if np.isnat(time) else time.astype("datetime64[s]").item() for time in reviewed.time]
    names = ["" if date is None else dt.datetime.strftime(date, pattern) for date in dates]
    periods = estimate_precision(reviewed, period=period).to_dict()["periods"]
    assert periods.keys() == set(names) - {""}
    for name, part in periods.items():
        assert_alike(part, naive(reviewed, 0.0, lambda i, n=name: names[i] == n))


def test_complete_review_is_exact_and_empty_review_is_none() -> None:
    reviewed = annotated_crops(3)
    certain = AnnotatedCrops(**{**vars(reviewed), "probability": np.ones(len(reviewed.probability))})
    hat = estimate_precision(certain).attributes["hat"]
    known = certain.answer[:, 0] >= 0
    assert hat.accuracy is not None
    share = float((certain.answer == certain.predicted)[known, 0].mean())
    assert (hat.accuracy.low, hat.accuracy.value, hat.accuracy.high) == pytest.approx((share, share, share))
    assert hat.more_reviews == 0
    assert hat.coverage == 1
    empty = estimate_precision(certain[np.zeros(len(known), dtype=bool)]).to_dict()
    assert empty["cameras"] == empty["periods"] == {}
    assert empty["attributes"]["colour"]["accuracy"] is None
    assert empty["attributes"]["colour"]["coverage"] is None
    assert empty["attributes"]["colour"]["values"]["red"]["reviewed"] == 0


def test_mismatched_arrays_are_rejected() -> None:
    reviewed = annotated_crops(0)
    with pytest.raises(ValueError, match=r"camera is \(3,\), not"):
        AnnotatedCrops(**{**vars(reviewed), "camera": np.array(["a", "b", "c"])})
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate_precision(AnnotatedCrops(**{**vars(reviewed), "probability": np.zeros(len(reviewed.probability))}))


def people(
    rng: np.random.Generator, count: int, accuracy: float, agreeing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of tracklets: task, whether the prediction is right, and each task's doubt; a part of tasks errs as one."""
    task = np.repeat(np.arange(count), rng.integers(1, 9, count))
    doubt = rng.beta(1, 4, count)
    wrong = doubt * (1 - accuracy) / doubt.mean()
    together = rng.random(count) < wrong
    alone = rng.random(len(task)) < wrong[task]
    return task, ~np.where(rng.random(count)[task] < agreeing, together[task], alone), doubt


@pytest.mark.parametrize("accuracy", [0.8, 0.99])
@pytest.mark.parametrize(("share", "agreeing"), [(1.0, 0.0), (1.0, 0.7), (0.5, 1.0)])
def test_intervals_cover_truth_after_two_samples_of_tracklets(accuracy: float, share: float, agreeing: float) -> None:
    rng = np.random.default_rng(5)
    tasks, budget, rounds = 3000, 150, 300
    crop_task, right, doubt = people(rng, tasks, accuracy, agreeing)
    first = likely(doubt, budget, chance=0.3)
    held = naive_held = 0
    for _ in range(rounds):
        taken = systematic_sample(first, rng)
        drawn = np.isin(np.arange(tasks), taken)
        # The second draw looks where the first found errors.
        wrong = np.bincount(crop_task, ~right, tasks)[taken] > 0
        near = np.abs(doubt[:, None] - doubt[taken[wrong]]).min(axis=1, initial=1.0)
        second = likely(1 / (0.1 + near), budget, sampled=drawn, chance=0.3)
        seen = np.concatenate(
            [taken, rng.permutation(systematic_sample(second, rng, sampled=drawn))[: round(budget * share)]]
        )
        probability = combine_rounds(np.stack([first, second]), np.array([1.0, share]))
        rows = np.isin(crop_task, seen)
        places = np.searchsorted(np.sort(seen), crop_task[rows])
        answers = np.stack([np.ones(rows.sum(), int), np.zeros(rows.sum(), int)], axis=1)
        reviewed = AnnotatedCrops(
            schema=SCHEMA,
            probability=probability[np.sort(seen)],
            task=places,
            predicted=np.stack([right[rows].astype(int), np.zeros(rows.sum(), int)], axis=1),
            confidence=np.ones((rows.sum(), 2)),
            answer=answers,
            camera=np.full(rows.sum(), "east"),
            time=np.full(rows.sum(), np.datetime64("NaT")),
        )
        estimate = estimate_precision(reviewed).attributes["hat"].accuracy
        assert estimate is not None
        held += estimate.low <= right.mean() <= estimate.high
        plain = right[rows].mean()
        naive_held += abs(plain - right.mean()) <= 1.96 * np.sqrt(plain * (1 - plain) / len(seen))
    assert held / rounds > 0.93
    assert accuracy > 0.9 or naive_held / rounds < 0.6
