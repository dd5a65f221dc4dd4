"""Precision against confidence threshold, for all thresholds in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vestigo.review.estimates.precision import AnnotatedCrops
from vestigo.review.estimates.shares import ShareEstimate, estimate_share

STEPS = tuple(step / 100 for step in range(101))


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Share of correct predictions with at least this `confidence`; None if none of them is annotated."""

    confidence: float
    precision: ShareEstimate | None


def threshold_curve(
    crops: AnnotatedCrops, attribute: str, value: str | None = None, *, thresholds: Sequence[float] = STEPS
) -> list[CurvePoint]:
    """Estimate the accuracy of an attribute, or with `value` the precision of a value, at ascending `thresholds`.

    Each point equals the result of `estimate_precision` with its threshold. Crops are added in order of descending
    confidence, so that each is read once. An unknown attribute is a ConfigError, an unknown value a ValueError.
    """
    position = crops.schema.index(attribute)
    predicted, label = crops.predicted[:, position], crops.answer[:, position]
    counted = label >= 0
    if value is not None:
        counted &= predicted == crops.schema[attribute].values.index(value)
    confusion = crops.annotator_confusion(position)
    tasks, place = np.unique(crops.task[counted], return_inverse=True)
    probability, is_correct = crops.probability[tasks], (predicted == label)[counted]
    confidence = crops.confidence[counted, position]
    # Compare in the precision of the confidences, as a single threshold is compared.
    passed = np.searchsorted(np.asarray(thresholds, confidence.dtype), confidence, side="right")
    hits, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    estimate: ShareEstimate | None = None
    points = []
    for number in reversed(range(len(thresholds))):
        added = passed == number + 1
        if added.any():
            counts += np.bincount(place[added], minlength=len(tasks))
            hits += np.bincount(place[added & is_correct], minlength=len(tasks))
            used = counts > 0
            estimate = confusion.correct(estimate_share(hits[used], counts[used], probability[used]))
        points.append(CurvePoint(confidence=thresholds[number], precision=estimate))
    return points[::-1]
