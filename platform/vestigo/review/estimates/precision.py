"""How right a model is on all crops, from the tasks that were reviewed: by attribute, value, camera and period.

Crops are what is right or wrong; tasks are what was drawn, and all crops of one were decided at once. So every crop
counts, and intervals come from how tasks differ, as for any sample of clusters (see `vestigo.review.estimates.shares`).
"Cannot tell" is an answer about the picture and not about the model: it is counted, and left out of what is right.
Reviewers are wrong now and then; what they are believed to get wrong is taken out (see `annotator_error`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.annotator_error import NEVER, ReviewerError, Slips, put_right, slips, widened
from vestigo.review.estimates.shares import Estimate, estimate_share, reviews_needed
from vestigo_models.schemas.attributes import AttributeSchema

UNANSWERED, CANNOT_TELL = -1, -2
"""Answers that are no class: none or a conflict of reviewers, and nothing to be seen."""
Period = Literal["day", "week", "month"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reviewed:
    """R crops of T reviewed tasks, n attributes.

    Attributes:
        probability: (T,) float64, how likely each task was reviewed (`vestigo.review.sampling.probabilities.combined`).
        task: (R,) int64, the place of each crop's task among the T.
        predicted: (R, n) int64, the class that the judged model predicts.
        confidence: (R, n) float, its probability.
        answer: (R, n) int64, the class that was answered, `UNANSWERED` or `CANNOT_TELL`.
        camera: (R,) str.
        time: (R,) datetime64, NaT where it is not known.
        margins: (R, n) int64, how many more reviewers gave each answer than all others together; None where every
            answer is that of one.
        error: how often one answer is wrong.
    """

    schema: AttributeSchema
    probability: NDArray[np.float64]
    task: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.floating]
    answer: NDArray[np.int64]
    camera: NDArray[np.str_]
    time: NDArray[np.datetime64]
    margins: NDArray[np.int64] | None = None
    error: ReviewerError = NEVER

    def __post_init__(self) -> None:
        """Raises ValueError where the arrays do not belong together."""
        crops, table = (len(self.task),), (len(self.task), len(self.schema))
        shapes = {
            "predicted": (self.predicted.shape, table),
            "confidence": (self.confidence.shape, table),
            "answer": (self.answer.shape, table),
            "margins": (table if self.margins is None else self.margins.shape, table),
            "camera": (self.camera.shape, crops),
            "time": (self.time.shape, crops),
        }
        if odd := [f"{name} is {found}, not {wanted}" for name, (found, wanted) in shapes.items() if found != wanted]:
            raise ValueError(f"reviewed crops: {', '.join(odd)}")

    def __getitem__(self, rows: Flags) -> Reviewed:
        """Some of the crops; the tasks stay."""
        names = ("task", "predicted", "confidence", "answer", "camera", "time")
        margins = None if self.margins is None else self.margins[rows]
        return replace(self, margins=margins, **{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True, kw_only=True)
class ValuePrecision:
    """One value: the share of what is predicted so that is so, and of what is so that is predicted so; None where there
    is no such crop."""

    precision: Estimate | None
    recall: Estimate | None


@dataclass(frozen=True, kw_only=True)
class AttributePrecision:
    """One attribute.

    Attributes:
        accuracy: share of right predictions among those that are sure enough; None where none was reviewed.
        values: by value of the attribute; a prediction that is not sure enough is none.
        coverage: share of crops whose prediction is sure enough; None without crops.
        cannot_tell: reviewed tasks of which nobody could tell.
        told: share of answered crops of which somebody could; None without answers.
        more_reviews: how many more reviews, chosen like those so far, bring the accuracy to about +- 3 %.
    """

    accuracy: Estimate | None
    values: Mapping[str, ValuePrecision]
    coverage: float | None
    cannot_tell: int
    told: float | None
    more_reviews: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fractions of 1; `reviewed` counts tasks."""
        return {
            **_plain(self.accuracy, "accuracy", ""),
            "reviewed": _reviewed(self.accuracy),
            "values": {
                value: {
                    **_plain(found.precision, "precision", "precision_"),
                    **_plain(found.recall, "recall", "recall_"),
                    "reviewed": _reviewed(found.precision),
                }
                for value, found in self.values.items()
            },
            "coverage": self.coverage,
            "cannot_tell": self.cannot_tell,
            "told": self.told,
            "more_reviews": self.more_reviews,
        }


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Attributes by name: of all crops, by camera, and by period; a crop without a time is in no period."""

    attributes: Mapping[str, AttributePrecision]
    cameras: Mapping[str, Mapping[str, AttributePrecision]]
    periods: Mapping[str, Mapping[str, AttributePrecision]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fractions of 1."""

        def plain(found: Mapping[str, AttributePrecision]) -> dict[str, Any]:
            return {name: attribute.to_dict() for name, attribute in found.items()}

        return {
            "attributes": plain(self.attributes),
            "cameras": {camera: plain(found) for camera, found in self.cameras.items()},
            "periods": {period: plain(found) for period, found in self.periods.items()},
        }


def estimate_precision(reviewed: Reviewed, *, confidence: float = 0.0, period: Period = "month") -> Precision:
    """What the reviewed crops tell of all crops.

    confidence: predictions less sure than this are left out of accuracy and precision, and miss what they predict.
    period: what the results over time are split by; a week is one of ISO 8601, `2024-W07`.

    Raises ValueError for a probability outside (0, 1].
    """
    periods = periods_of(reviewed.time, period)
    return Precision(
        attributes=attribute_precisions(reviewed, confidence),
        cameras={
            str(camera): attribute_precisions(reviewed[reviewed.camera == camera], confidence)
            for camera in np.unique(reviewed.camera)
        },
        periods={
            str(name): attribute_precisions(reviewed[periods == name], confidence)
            for name in np.unique(periods)
            if name
        },
    )


def attribute_precisions(reviewed: Reviewed, confidence: float) -> dict[str, AttributePrecision]:
    """`Precision.attributes` alone, as `estimate_precision` finds them."""
    return {name: _attribute(reviewed, position, confidence) for position, name in enumerate(reviewed.schema.names)}


def _attribute(reviewed: Reviewed, position: int, confidence: float) -> AttributePrecision:
    predicted, answer = reviewed.predicted[:, position], reviewed.answer[:, position]
    sure = reviewed.confidence[:, position] >= confidence
    known, untold = answer >= 0, answer == CANNOT_TELL
    wrong = slips_of(reviewed, position)
    accuracy = wrong.truth(share_of(reviewed, known & sure & (predicted == answer), known & sure))
    coverage = share_of(reviewed, sure, np.ones_like(sure))
    told = share_of(reviewed, known, known | untold)
    return AttributePrecision(
        accuracy=accuracy,
        values={
            value: _value(reviewed, known, sure & (predicted == number), answer == number, wrong)
            for number, value in enumerate(reviewed.schema.attributes[position].values)
        },
        coverage=None if coverage is None else coverage.value,
        cannot_tell=len(np.unique(reviewed.task[untold])),
        told=None if told is None else told.value,
        more_reviews=None if accuracy is None else reviews_needed(accuracy),
    )


def _value(reviewed: Reviewed, known: Flags, said: Flags, told: Flags, wrong: Slips) -> ValuePrecision:
    """Of crops of which a value is predicted and sure (`said`), and those of which it was answered (`told`)."""
    found = share_of(reviewed, told & said, told)
    saying, telling = share_of(reviewed, known & said, known), share_of(reviewed, told, known)

    def recall(slip: float) -> Estimate | None:
        if saying is None or telling is None or telling.value <= slip:
            return None
        true = telling.value - slip
        return put_right(found, telling.value / true, -slip * saying.value / true)

    return ValuePrecision(
        precision=wrong.truth(share_of(reviewed, told & said, known & said)),
        recall=widened(recall(wrong.believed), recall(wrong.moved)),
    )


def slips_of(reviewed: Reviewed, position: int) -> Slips:
    """How reviewers are believed to be wrong about an attribute."""
    answer = reviewed.answer[:, position]
    margins = np.ones_like(answer) if reviewed.margins is None else np.maximum(reviewed.margins[:, position], 1)
    return slips(reviewed.error, margins[answer >= 0], len(reviewed.schema.attributes[position].values))


def share_of(reviewed: Reviewed, right: Flags, counted: Flags) -> Estimate | None:
    """The share of `right` in `counted` ((R,) each) in all tasks; None where nothing counts."""
    tasks, place = np.unique(reviewed.task[counted], return_inverse=True)
    hits = np.bincount(place[right[counted]], minlength=len(tasks)).astype(np.float64)
    crops = np.bincount(place, minlength=len(tasks)).astype(np.float64)
    return estimate_share(hits, crops, reviewed.probability[tasks])


def periods_of(time: NDArray[np.datetime64], period: Period) -> NDArray[np.str_]:
    """The periods of R times, (R,) str, as `estimate_precision` names them; "" where no time is known."""
    days = time.astype("datetime64[D]")
    if period == "week":
        # The ISO year of a week is that of its Thursday; 1970 began with one.
        thursdays = days - (days.astype(np.int64) + 3) % 7 + 3
        years = thursdays.astype("datetime64[Y]")
        weeks = (thursdays - years.astype("datetime64[D]")).astype(np.int64) // 7 + 1
        names = [f"{year}-W{week:02d}" for year, week in zip(years.astype(str), weeks, strict=True)]
        named = np.array(names, dtype=np.str_)
    else:
        named = days.astype("datetime64[D]" if period == "day" else "datetime64[M]").astype(str)
    return np.where(np.isnat(time), "", named)


def _plain(estimate: Estimate | None, name: str, prefix: str) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{prefix}low": None, f"{prefix}high": None}
    return {name: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}


def _reviewed(estimate: Estimate | None) -> int:
    return 0 if estimate is None else estimate.reviewed
