"""Reviewers who are wrong now and then, taken out of what their answers tell.

Where an answer is wrong with probability e, and then any other of k values alike, the share of answers that agree with
a prediction is a (1 - e) + (1 - a) e / (k - 1) for a true share a (Rogan and Gladen, American Journal of Epidemiology
107, 1978, for k = 2): a straight line, along which intervals are carried back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.shares import Estimate
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.review.labels.agreement import ReviewedTask
from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReviewerError:
    """How often one answer is wrong.

    Attributes:
        rate: the estimate.
        spread: its standard error.
        pairs: pairs of answers of two reviewers to one question that it rests on.
    """

    rate: float
    spread: float
    pairs: int


NEVER = ReviewerError(rate=0.0, spread=0.0, pairs=0)


@dataclass(frozen=True, kw_only=True)
class Slips:
    """How likely an answer to a question of `values` values is one certain wrong value.

    Attributes:
        believed: the estimate.
        moved: what it would be one standard error of the reviewers' error higher.
    """

    values: int
    believed: float
    moved: float

    def truth(self, found: Estimate | None) -> Estimate | None:
        """What the share of crops that a value was answered of, as it was `found`, says of those of which it is true.

        The interval also holds how little is known of the reviewers.
        """
        first, second = (
            put_right(found, 1 / (1 - self.values * slip), -slip / (1 - self.values * slip))
            for slip in (self.believed, self.moved)
        )
        return widened(first, second)


def slips(error: ReviewerError, margins: NDArray[np.int64], values: int) -> Slips:
    """Of answers with such `margins` (N,), see `answer_error`, on average; without answers, of one reviewer's."""

    def one(rate: float) -> float:
        wrong = float(answer_error(rate, margins, values).mean()) if len(margins) else rate
        return wrong / (values - 1)

    believed = one(error.rate)
    return Slips(values=values, believed=believed, moved=one(error.rate + error.spread) if error.spread else believed)


def answer_error(rate: float, margins: NDArray[np.int64], values: int) -> Floats:
    """How likely answers are wrong that so many more reviewers gave than all others together: N to N; one of `values`.

    margins: N, 1 for an answer of one reviewer.
    """
    odds = (values - 1) * (rate / (values - 1) / (1 - rate)) ** margins.astype(np.float64)
    return np.asarray(odds / (1 + odds), dtype=np.float64)


def put_right(found: Estimate | None, slope: float, offset: float) -> Estimate | None:
    """The true share and its interval, in 0..1: `slope` times what was `found` of answers, plus `offset`."""
    if found is None:
        return None
    value, low, high = (min(1.0, max(0.0, slope * end + offset)) for end in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high, effective=found.effective / slope**2)


def widened(found: Estimate | None, moved: Estimate | None) -> Estimate | None:
    """An estimate whose interval also holds what one standard error of something believed would move it by."""
    if found is None or moved is None or moved.value == found.value:
        return found
    shift = 1.96 * abs(moved.value - found.value)
    low = max(0.0, found.value - hypot(found.value - found.low, shift))
    high = min(1.0, found.value + hypot(found.high - found.value, shift))
    return replace(found, low=low, high=high)


PRIOR_PAIRS, PRIOR_DIFFER = 20.0, 1.0
"""What is believed before anybody answered twice: of twenty pairs of answers one differs."""
WORST = 0.4
"""Reviewers are never taken for worse; their answers would say nothing."""


@dataclass
class Pairs:
    """Of how many answers given by two reviewers to one question, how many differ."""

    pairs: int = 0
    differ: int = 0


def answer_pairs(schema: AttributeSchema, reviewed: Iterable[ReviewedTask]) -> dict[str, Pairs]:
    """Compare all reviewers of each task two by two, by attribute; "cannot tell" is no answer."""
    found = {name: Pairs() for name in schema.names}
    for task in reviewed:
        for first, second in combinations(task.said.values(), 2):
            for name in first.keys() & second.keys():
                if CANNOT_TELL not in (first[name], second[name]):
                    found[name].pairs += 1
                    found[name].differ += first[name] != second[name]
    return found


def reviewer_error(schema: AttributeSchema, reviewed: Iterable[ReviewedTask]) -> ReviewerError:
    """Estimate how often one answer is wrong, over all attributes; "cannot tell" is no answer."""
    return pairs_error(schema, answer_pairs(schema, reviewed))


def pairs_error(schema: AttributeSchema, found: Mapping[str, Pairs]) -> ReviewerError:
    """Estimate how often one answer is wrong from `answer_pairs`."""
    pairs = sum(one.pairs for one in found.values())
    differ = sum(one.differ for one in found.values())
    values = sum(one.pairs * len(schema[name].values) for name, one in found.items())
    mean = values / pairs if pairs else sum(len(a.values) for a in schema.attributes) / len(schema)
    return disagreement_error(pairs, differ, mean)


def disagreement_error(pairs: int, differ: int, values: float) -> ReviewerError:
    """How often one answer is wrong where two reviewers differ in `differ` of `pairs` questions of `values` values."""
    count = pairs + PRIOR_PAIRS
    share = (differ + PRIOR_DIFFER) / count
    rate = _solve(share, values)
    # The slope of the rate in the share carries the error of the share over.
    slope = 1 / max(0.1, 2 - 2 * rate * values / (values - 1))
    return ReviewerError(rate=rate, spread=slope * sqrt(share * (1 - share) / count), pairs=pairs)


def _solve(differ: float, k: float) -> float:
    """e in d = 2 e - e^2 k / (k - 1)."""
    ratio = k / (k - 1)
    inside = 1 - ratio * differ
    return min(WORST, (1 - sqrt(inside)) / ratio) if inside > 0 else WORST
