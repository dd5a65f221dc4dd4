"""How right a model is where it is sure enough, for every threshold at once: precision against coverage.

Each point is what `estimate_precision` says at its threshold. Crops join from the surest on, so that
all thresholds together read each crop once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vestigo.review.estimates.precision import Reviewed, slips_of
from vestigo.review.estimates.shares import Estimate, estimate_share

STEPS = tuple(step / 100 for step in range(101))


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Predictions that are at least as sure as `confidence`: the share that is right, None where none was reviewed."""

    confidence: float
    precision: Estimate | None


def threshold_curve(
    reviewed: Reviewed, attribute: str, value: str | None = None, *, thresholds: Sequence[float] = STEPS
) -> list[CurvePoint]:
    """The accuracy of an attribute, or with `value` the precision of that value, at ascending `thresholds`.

    Raises:
        ConfigError: an unknown attribute. ValueError: a value that it does not have.
    """
    position = reviewed.schema.index(attribute)
    predicted, answer = reviewed.predicted[:, position], reviewed.answer[:, position]
    counted = answer >= 0
    if value is not None:
        counted &= predicted == reviewed.schema[attribute].values.index(value)
    wrong = slips_of(reviewed, position)
    tasks, place = np.unique(reviewed.task[counted], return_inverse=True)
    probability, right = reviewed.probability[tasks], (predicted == answer)[counted]
    confidence = reviewed.confidence[counted, position]
    # A threshold is compared as a number of the confidences' own precision, as one alone would be.
    passed = np.searchsorted(np.asarray(thresholds, confidence.dtype), confidence, side="right")
    hits, crops = np.zeros(len(tasks)), np.zeros(len(tasks))
    found: Estimate | None = None
    points = []
    for number in reversed(range(len(thresholds))):
        new = passed == number + 1
        if new.any():
            crops += np.bincount(place[new], minlength=len(tasks))
            hits += np.bincount(place[new & right], minlength=len(tasks))
            some = crops > 0
            found = wrong.truth(estimate_share(hits[some], crops[some], probability[some]))
        points.append(CurvePoint(confidence=thresholds[number], precision=found))
    return points[::-1]
