"""Miss rate against kept fraction of the attribute filter on a dataset, at every threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vestigo.evaluation.evaluate import Evaluation
from vestigo.reports.charts import Axis, Chart, Point, percent_axis
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.errors import ConfigError

TENTHS = (0.5, 0.6, 0.8, 0.9)
LEAST_RANGE = 2.0
"""Percent: shortest miss-rate axis, so that a tiny miss rate does not look large."""


def filter_chart(benchmark: Evaluation) -> Chart | None:
    """Return the chart, measured on the dataset's identities across cameras.

    Returns:
        None if the model has no attributes, or no query has a true match on another camera.
    """
    if benchmark.schema is None or benchmark.probabilities is None:
        return None
    query, gallery = (
        IdentifiedCrops(pids=images.pids, camids=images.camids, probabilities=probabilities)
        for images, probabilities in zip((benchmark.query, benchmark.gallery), benchmark.probabilities, strict=True)
    )
    try:
        curve = measure_curve(query, gallery, benchmark.schema)
    except ConfigError:
        return None
    kept, lost = 100 * curve.kept_fractions, 100 * curve.miss_rates.mean(axis=0)
    points = [Point(x=float(x), y=float(y), text="") for x, y in zip(kept, lost, strict=True)]
    for threshold, label in _labelled_thresholds(benchmark):
        at = int(np.searchsorted(curve.thresholds, threshold))
        text = f"threshold {threshold:g}: keeps {kept[at]:.1f} %, loses {lost[at]:.1f} %"
        points[at] = Point(x=float(kept[at]), y=float(lost[at]), text=text, label=label)
    high = max(LEAST_RANGE, _round_up(float(lost.max())))
    return Chart(
        description="Percent of the true matches that a filter loses (vertical) against percent of other people's "
        "crops that it keeps (horizontal), at all thresholds, measured on this dataset.",
        x=percent_axis(),
        y=Axis(low=0.0, high=high, marks=[(high * step / 4, f"{high * step / 4:.3g}") for step in range(5)]),
        points=points,
    )


def _labelled_thresholds(benchmark: Evaluation) -> Sequence[tuple[float, str]]:
    """Return labels of thresholds; the threshold of the evaluation comes last and replaces an equal one."""
    marks = {threshold: f"{threshold:g}" for threshold in TENTHS}
    marks |= {STRICT: f"{STRICT:g} strict", QUALITY: f"{QUALITY:g} quality"}
    if benchmark.filter is not None and benchmark.filter.choice.discards:
        threshold = benchmark.filter.choice.threshold
        marks[threshold] = f"{threshold:.4g} as evaluated"
    return list(marks.items())


def _round_up(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
