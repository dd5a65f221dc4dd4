"""Line charts of evaluations, as coordinates that the template `charts.html` draws in the page's colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vestigo.evaluation.attributes import AttributeEvaluation
from vestigo.evaluation.result import CMC_RANKS, Evaluation
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.errors import ConfigError

WIDTH, HEIGHT = 520, 200
LEFT, RIGHT, TOP, BOTTOM = 44.0, 510.0, 10.0, 170.0
"""Ends of the axes in pixels."""
BINS = 10
THRESHOLDS = {threshold: f"{threshold:g}" for threshold in (0.5, 0.6, 0.8, 0.9)} | {
    STRICT: f"{STRICT:g} strict",
    QUALITY: f"{QUALITY:g} quality",
}
"""Labelled thresholds of the attribute filter."""
MIN_RANGE = 2.0
"""Percent: shortest miss-rate axis, so that a tiny miss rate does not look large."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis from `low` to `high` with labelled marks."""

    low: float
    high: float
    marks: Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a chart in data units, with a tooltip `text` and a `label` that is drawn next to it."""

    x: float
    y: float
    text: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One curve through `points`, dots at the points with a text, and a dashed line through `reference`."""

    description: str  # for readers who cannot see the chart
    x: Axis
    y: Axis
    points: Sequence[Point]
    reference: Sequence[tuple[float, float]] = ()

    @property
    def line(self) -> str:
        """The curve as the points of an SVG polyline."""
        return self._line([(point.x, point.y) for point in self.points])

    @property
    def dashes(self) -> str:
        """The reference line as the points of an SVG polyline."""
        return self._line(self.reference)

    @property
    def dots(self) -> list[dict[str, str]]:
        """The points with a text."""
        return [{"x": self._x(p.x), "y": self._y(p.y), "text": p.text, "label": p.label} for p in self.points if p.text]

    @property
    def rows(self) -> list[dict[str, str]]:
        """Marks of the y axis."""
        return [{"y": self._y(value), "text": text} for value, text in self.y.marks]

    @property
    def columns(self) -> list[dict[str, str]]:
        """Marks of the x axis."""
        return [{"x": self._x(value), "text": text} for value, text in self.x.marks]

    def _line(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self._x(x)},{self._y(y)}" for x, y in points)

    def _x(self, value: float) -> str:
        return f"{np.interp(value, (self.x.low, self.x.high), (LEFT, RIGHT)):.1f}"

    def _y(self, value: float) -> str:
        return f"{np.interp(value, (self.y.low, self.y.high), (BOTTOM, TOP)):.1f}"


def percent_axis(low: float = 0.0, high: float = 100.0, steps: int = 4) -> Axis:
    """Return an axis in percent with evenly spaced marks."""
    marks = [low + (high - low) * step / steps for step in range(steps + 1)]
    return Axis(low=low, high=high, marks=[(mark, f"{mark:.3g}") for mark in marks])


def cmc_chart(cmc: Mapping[int, float | None]) -> Chart | None:
    """Return the CMC curve; its axis starts at the multiple of ten below the first value."""
    points = [
        Point(x=rank, y=value, text=f"Rank-{rank}: {value:.1f} %") for rank, value in cmc.items() if value is not None
    ]
    if not points:
        return None
    return Chart(
        description="Percent of scored queries with a true match at this rank or better.",
        x=Axis(low=1, high=CMC_RANKS[-1], marks=[(rank, str(rank)) for rank in (1, 5, 10, 15, 20)]),
        y=percent_axis(low=min(90.0, 10.0 * (points[0].y // 10.0))),
        points=points,
    )


def reliability_chart(attributes: AttributeEvaluation) -> Chart | None:
    """Return the reliability diagram over all attributes, None if nothing is annotated."""
    annotated = attributes.labels >= 0
    confidence, correct = attributes.confidences[annotated], attributes.correct[annotated]
    if not len(confidence):
        return None
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    points = []
    for bin in np.flatnonzero(counts):
        x, y = (100 * values[place == bin].mean(dtype=np.float64) for values in (confidence, correct))
        points.append(Point(x=x, y=y, text=f"confidence {x:.0f} %, correct {y:.0f} %, {counts[bin]} times"))
    return Chart(
        description="Percent of correct predictions (vertical) against confidence in percent (horizontal); on the "
        "dashed line the confidences are calibrated.",
        x=percent_axis(),
        y=percent_axis(),
        points=points,
        reference=((0, 0), (100, 100)),
    )


def filter_chart(evaluation: Evaluation) -> Chart | None:
    """Return miss rate against kept fraction at every threshold, on the dataset's identities across cameras.

    None if the model has no attributes, or no query has a true match on another camera.
    """
    if evaluation.schema is None or evaluation.probabilities is None:
        return None
    query, gallery = (
        IdentifiedCrops(pids=images.pids, camids=images.camids, probabilities=probabilities)
        for images, probabilities in zip((evaluation.query, evaluation.gallery), evaluation.probabilities, strict=True)
    )
    try:
        curve = measure_curve(query, gallery, evaluation.schema)
    except ConfigError:
        return None
    kept, missed = 100 * curve.kept_fractions, 100 * curve.miss_rates.mean(axis=0)
    points = [Point(x=float(x), y=float(y), text="") for x, y in zip(kept, missed, strict=True)]
    labels = dict(THRESHOLDS)
    if evaluation.filter is not None and evaluation.filter.choice.discards:
        threshold = evaluation.filter.choice.threshold
        labels[threshold] = f"{threshold:.4g} as evaluated"
    for threshold, label in labels.items():
        place = int(np.searchsorted(curve.thresholds, threshold))
        text = f"threshold {threshold:g}: keeps {kept[place]:.1f} %, loses {missed[place]:.1f} %"
        points[place] = Point(x=float(kept[place]), y=float(missed[place]), text=text, label=label)
    return Chart(
        description="Percent of the true matches that a filter loses (vertical) against percent of other people's "
        "crops that it keeps (horizontal), at all thresholds, measured on this dataset.",
        x=percent_axis(),
        y=percent_axis(high=max(MIN_RANGE, _round_up(float(missed.max())))),
        points=points,
    )


def _round_up(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
