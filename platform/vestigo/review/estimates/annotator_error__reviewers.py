"""How often reviewers are wrong, from tasks that several of them answered.

Two reviewers who are each wrong with probability e, independently and with any wrong value alike, differ with
probability d = 2 e (1 - e) + e^2 (k - 2) / (k - 1) about an attribute of k values; that is solved for e.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

from vestigo.review.estimates.annotator_error import ReviewerError
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.review.labels.agreement__reviewed import ReviewedTask
from vestigo_models.schemas.attributes import AttributeSchema

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
