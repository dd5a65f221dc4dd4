"""Correct estimates for annotator error (Rogan and Gladen, 1978; docs/method.md, section "Annotator error")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.shares import ShareEstimate
from vestigo.review.labels.agreement import CANNOT_TELL, AnnotatedTask
from vestigo_models.schemas.attributes import AttributeSchema

PRIOR_PAIRS, PRIOR_DIFFER = 20.0, 1.0  # prior before any task has two annotations: one of twenty pairs differs
MAX_RATE = 0.4  # with a higher rate annotations would carry no information


@dataclass(frozen=True, kw_only=True)
class AnnotatorError:
    """Probability that one annotation is wrong, its standard error `spread`, and the number of `pairs` behind it."""

    rate: float
    spread: float
    pairs: int


NO_ERROR = AnnotatorError(rate=0.0, spread=0.0, pairs=0)


@dataclass(frozen=True, kw_only=True)
class AnnotatorConfusion:
    """Probability that an annotation of an attribute with `values` values is one certain wrong value.

    `upper` is the probability if the annotator error is one standard error higher.
    """

    values: int
    estimate: float
    upper: float

    def correct(self, share: ShareEstimate | None) -> ShareEstimate | None:
        """Return the true share behind an annotated `share`; the interval includes the error of the estimate."""
        corrected, moved = (
            correct_estimate(share, 1 / (1 - self.values * p), -p / (1 - self.values * p))
            for p in (self.estimate, self.upper)
        )
        return widen_interval(corrected, moved)


def annotator_confusion(error: AnnotatorError, margins: NDArray[np.int64], values: int) -> AnnotatorConfusion:
    """Compute the mean confusion of labels with `margins` (N,), as in `consensus_error`; of one annotator if N = 0."""

    def confusion(rate: float) -> float:
        wrong = float(consensus_error(rate, margins, values).mean()) if len(margins) else rate
        return wrong / (values - 1)

    estimate = confusion(error.rate)
    upper = confusion(error.rate + error.spread) if error.spread else estimate
    return AnnotatorConfusion(values=values, estimate=estimate, upper=upper)


def consensus_error(rate: float, margins: NDArray[np.int64], values: int) -> NDArray[np.float64]:
    """Compute the probability that a label is wrong, (N,) float64.

    `rate` is the probability that one annotation is wrong, `margins` (N,) the votes of each label minus all other votes
    (1 for a single annotator), `values` the number of values of the attribute.
    """
    odds = (values - 1) * (rate / (values - 1) / (1 - rate)) ** margins.astype(np.float64)
    return np.asarray(odds / (1 + odds), dtype=np.float64)


def correct_estimate(share: ShareEstimate | None, slope: float, offset: float) -> ShareEstimate | None:
    """Map a share and its interval to `slope` x + `offset`, limited to 0..1."""
    if share is None:
        return None
    value, low, high = (min(1.0, max(0.0, slope * end + offset)) for end in (share.value, share.low, share.high))
    return replace(share, value=value, low=low, high=high, effective=share.effective / slope**2)


def widen_interval(share: ShareEstimate | None, moved: ShareEstimate | None) -> ShareEstimate | None:
    """Widen an interval by the error of a parameter; `moved` is the share with the parameter one standard error up."""
    if share is None or moved is None or moved.value == share.value:
        return share
    shift = 1.96 * abs(moved.value - share.value)
    low = max(0.0, share.value - hypot(share.value - share.low, shift))
    high = min(1.0, share.value + hypot(share.high - share.value, shift))
    return replace(share, low=low, high=high)


@dataclass
class AnnotationPairs:
    """Pairs of annotations of one attribute by two annotators, and how many of them differ."""

    pairs: int = 0
    differ: int = 0


def count_pairs(schema: AttributeSchema, tasks: Iterable[AnnotatedTask]) -> dict[str, AnnotationPairs]:
    """Compare the annotators of each task in pairs, by attribute; "cannot tell" does not count."""
    counts = {name: AnnotationPairs() for name in schema.names}
    for task in tasks:
        add_pairs(counts, task)
    return counts


def add_pairs(counts: Mapping[str, AnnotationPairs], task: AnnotatedTask) -> None:
    """Add the pairs of annotations of one task to `counts`."""
    for first, second in combinations(task.annotations.values(), 2):
        for name in first.keys() & second.keys():
            if CANNOT_TELL not in (first[name], second[name]):
                counts[name].pairs += 1
                counts[name].differ += first[name] != second[name]


def estimate_annotator_error(schema: AttributeSchema, counts: Mapping[str, AnnotationPairs]) -> AnnotatorError:
    """Estimate the annotator error over all attributes from the counts of `count_pairs`."""
    pairs = sum(count.pairs for count in counts.values())
    differ = sum(count.differ for count in counts.values())
    values = sum(count.pairs * len(schema[name].values) for name, count in counts.items())
    mean = values / pairs if pairs else sum(len(a.values) for a in schema.attributes) / len(schema)
    return error_from_disagreement(pairs, differ, mean)


def error_from_disagreement(pairs: int, differ: int, values: float) -> AnnotatorError:
    """Estimate the annotator error if `differ` of `pairs` annotations of attributes with `values` values differ."""
    count = pairs + PRIOR_PAIRS
    share = (differ + PRIOR_DIFFER) / count
    # The rate e solves share = 2 e - e^2 k / (k - 1) with k values.
    ratio = values / (values - 1)
    inside = 1 - ratio * share
    rate = min(MAX_RATE, (1 - sqrt(inside)) / ratio) if inside > 0 else MAX_RATE
    # Delta method: the derivative of the rate with respect to the share.
    slope = 1 / max(0.1, 2 - 2 * rate * values / (values - 1))
    return AnnotatorError(rate=rate, spread=slope * sqrt(share * (1 - share) / count), pairs=pairs)
