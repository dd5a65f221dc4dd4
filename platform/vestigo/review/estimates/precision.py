"""Estimate the accuracy of a model on all crops from annotated tasks: by attribute, value, camera and period.

A crop is correct or wrong; all crops of a task have one label, so intervals follow from how tasks differ. "Cannot tell"
is counted and does not enter accuracy. Estimates are corrected for annotator error. See docs/method.md, section "Review
statistics".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.annotator_error import (
    NO_ERROR,
    AnnotatorConfusion,
    AnnotatorError,
    annotator_confusion,
    correct_estimate,
    widen_interval,
)
from vestigo.review.estimates.shares import ShareEstimate, estimate_share, reviews_needed
from vestigo_models.schemas.attributes import AttributeSchema

NO_LABEL, UNDECIDABLE = -1, -2  # labels that are no class: no annotation or a conflict, and "cannot tell"
Period = Literal["day", "week", "month"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedCrops:
    """R crops of T annotated tasks, with n attributes."""

    schema: AttributeSchema
    probability: NDArray[np.float64]  # (T,) float64, probability that each task is annotated (`combine_rounds`)
    task: NDArray[np.int64]  # (R,) int64, position of each crop's task among the T tasks
    predicted: NDArray[np.int64]  # (R, n) int64, class that the model predicts
    confidence: NDArray[np.floating]  # (R, n) float, its probability
    answer: NDArray[np.int64]  # (R, n) int64, class of the label, `NO_LABEL` or `UNDECIDABLE`
    camera: NDArray[np.str_]  # (R,) str
    time: NDArray[np.datetime64]  # (R,) datetime64, NaT where unknown
    margins: NDArray[np.int64] | None = None  # (R, n) int64, votes of each label minus all others; None: one annotator
    error: AnnotatorError = NO_ERROR

    def __post_init__(self) -> None:
        """Check the shapes."""
        table = (len(self.task), len(self.schema))
        for name in ("predicted", "confidence", "answer", "margins", "camera", "time"):
            array, wanted = getattr(self, name), table[:1] if name in ("camera", "time") else table
            if array is not None and array.shape != wanted:
                raise ValueError(f"reviewed crops: {name} is {array.shape}, not {wanted}")

    def __getitem__(self, rows: Flags) -> AnnotatedCrops:
        """Select crops; the tasks stay."""
        names = ("task", "predicted", "confidence", "answer", "camera", "time")
        margins = None if self.margins is None else self.margins[rows]
        return replace(self, margins=margins, **{name: getattr(self, name)[rows] for name in names})

    def annotator_confusion(self, position: int) -> AnnotatorConfusion:
        """Return the confusion of the annotators for an attribute."""
        labels = self.answer[:, position]
        margins = np.ones_like(labels) if self.margins is None else np.maximum(self.margins[:, position], 1)
        return annotator_confusion(self.error, margins[labels >= 0], len(self.schema.attributes[position].values))


@dataclass(frozen=True, kw_only=True)
class ValuePrecision:
    """Precision and recall of one value; None where there is no such crop."""

    precision: ShareEstimate | None
    recall: ShareEstimate | None


@dataclass(frozen=True, kw_only=True)
class AttributePrecision:
    """Accuracy of one attribute; confident predictions are those with at least the chosen confidence."""

    accuracy: ShareEstimate | None  # share of correct predictions among the confident ones; None if none is annotated
    values: Mapping[str, ValuePrecision]  # precision and recall by value; other predictions count as no value
    coverage: float | None  # share of crops with a confident prediction; None without crops
    cannot_tell: int  # number of tasks with the label "cannot tell"
    decidable: float | None  # share of annotated crops with another label; None without annotations
    more_reviews: int | None  # tasks that are needed for an accuracy of about +- 3 %

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fractions of 1; `reviewed` counts tasks."""
        return {
            **_to_dict(self.accuracy, "accuracy", ""),
            "reviewed": self.accuracy.reviewed if self.accuracy else 0,
            "values": {
                value: {
                    **_to_dict(estimates.precision, "precision", "precision_"),
                    **_to_dict(estimates.recall, "recall", "recall_"),
                    "reviewed": estimates.precision.reviewed if estimates.precision else 0,
                }
                for value, estimates in self.values.items()
            },
            "coverage": self.coverage,
            "cannot_tell": self.cannot_tell,
            "told": self.decidable,
            "more_reviews": self.more_reviews,
        }


@dataclass(frozen=True, kw_only=True)
class PrecisionReport:
    """Attributes by name: of all crops, by camera, and by period; crops without a time are in no period."""

    attributes: Mapping[str, AttributePrecision]
    cameras: Mapping[str, Mapping[str, AttributePrecision]]
    periods: Mapping[str, Mapping[str, AttributePrecision]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fractions of 1."""

        def to_dict(attributes: Mapping[str, AttributePrecision]) -> dict[str, Any]:
            return {name: attribute.to_dict() for name, attribute in attributes.items()}

        return {
            "attributes": to_dict(self.attributes),
            "cameras": {camera: to_dict(attributes) for camera, attributes in self.cameras.items()},
            "periods": {period: to_dict(attributes) for period, attributes in self.periods.items()},
        }


def estimate_precision(crops: AnnotatedCrops, *, confidence: float = 0.0, period: Period = "month") -> PrecisionReport:
    """Estimate the accuracy on all crops from annotated crops.

    Predictions below `confidence` do not count in accuracy and precision, and lower the recall. `period` is the unit of
    the results over time; a week is one of ISO 8601, `2024-W07`.
    """

    def estimate_parts(parts: NDArray[np.str_]) -> dict[str, dict[str, AttributePrecision]]:
        return {str(part): estimate_attributes(crops[parts == part], confidence) for part in np.unique(parts) if part}

    return PrecisionReport(
        attributes=estimate_attributes(crops, confidence),
        cameras=estimate_parts(crops.camera),
        periods=estimate_parts(period_names(crops.time, period)),
    )


def estimate_attributes(crops: AnnotatedCrops, confidence: float) -> dict[str, AttributePrecision]:
    """Return `PrecisionReport.attributes` alone."""
    return {name: _estimate_attribute(crops, position, confidence) for position, name in enumerate(crops.schema.names)}


def _estimate_attribute(crops: AnnotatedCrops, position: int, confidence: float) -> AttributePrecision:
    predicted, label = crops.predicted[:, position], crops.answer[:, position]
    confident = crops.confidence[:, position] >= confidence
    labelled, cannot_tell = label >= 0, label == UNDECIDABLE
    confusion = crops.annotator_confusion(position)
    accuracy = confusion.correct(share_of(crops, labelled & confident & (predicted == label), labelled & confident))
    coverage = share_of(crops, confident, np.ones_like(confident))
    decidable = share_of(crops, labelled, labelled | cannot_tell)
    return AttributePrecision(
        accuracy=accuracy,
        values={
            value: _estimate_value(crops, labelled, confident & (predicted == number), label == number, confusion)
            for number, value in enumerate(crops.schema.attributes[position].values)
        },
        coverage=None if coverage is None else coverage.value,
        cannot_tell=len(np.unique(crops.task[cannot_tell])),
        decidable=None if decidable is None else decidable.value,
        more_reviews=None if accuracy is None else reviews_needed(accuracy),
    )


def _estimate_value(
    crops: AnnotatedCrops, labelled: Flags, predicted: Flags, positive: Flags, confusion: AnnotatorConfusion
) -> ValuePrecision:
    """Estimate one value from (R,) flags: crops with a label, with a confident prediction and with a label of it."""
    observed = share_of(crops, positive & predicted, positive)
    predicted_share = share_of(crops, labelled & predicted, labelled)
    positive_share = share_of(crops, positive, labelled)

    def recall(wrong: float) -> ShareEstimate | None:
        if predicted_share is None or positive_share is None or positive_share.value <= wrong:
            return None
        true = positive_share.value - wrong
        return correct_estimate(observed, positive_share.value / true, -wrong * predicted_share.value / true)

    return ValuePrecision(
        precision=confusion.correct(share_of(crops, positive & predicted, labelled & predicted)),
        recall=widen_interval(recall(confusion.estimate), recall(confusion.upper)),
    )


def share_of(crops: AnnotatedCrops, correct: Flags, counted: Flags) -> ShareEstimate | None:
    """Estimate the share of `correct` in `counted`, (R,) flags, over all tasks; None if nothing counts."""
    tasks, place = np.unique(crops.task[counted], return_inverse=True)
    hits = np.bincount(place[correct[counted]], minlength=len(tasks)).astype(np.float64)
    counts = np.bincount(place, minlength=len(tasks)).astype(np.float64)
    return estimate_share(hits, counts, crops.probability[tasks])


def period_names(time: NDArray[np.datetime64], period: Period) -> NDArray[np.str_]:
    """Return the names of the periods of R times, (R,) str; "" where the time is unknown."""
    days = time.astype("datetime64[D]")
    if period == "week":
        # The ISO year of a week is that of its Thursday; 1970 began with one.
        thursdays = days - (days.astype(np.int64) + 3) % 7 + 3
        years = thursdays.astype("datetime64[Y]")
        weeks = (thursdays - years.astype("datetime64[D]")).astype(np.int64) // 7 + 1
        names = np.array([f"{year}-W{week:02d}" for year, week in zip(years.astype(str), weeks, strict=True)], np.str_)
    else:
        names = days.astype("datetime64[D]" if period == "day" else "datetime64[M]").astype(str)
    return np.where(np.isnat(time), "", names)


def _to_dict(estimate: ShareEstimate | None, name: str, prefix: str) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{prefix}low": None, f"{prefix}high": None}
    return {name: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}
