"""Attributes on the page of `vestigo evaluate`: a table, images with predictions, and a reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.evaluation.attributes import AttributeEvaluation
from vestigo.reports.charts import Chart, Point, percent_axis
from vestigo.reports.page import data_uri
from vestigo_models.inference.images import read_image

SHOWN = 12
BINS = 10


def attribute_rows(judged: AttributeEvaluation) -> list[dict[str, Any]]:
    """Return a table row for each attribute, in percent."""
    found = judged.metrics
    return [
        {
            "title": attribute.title,
            "official": found.official[attribute.name],
            "labelled_only": found.labelled_only[attribute.name],
            "error": judged.calibration_errors[attribute.name],
            "recall": found.recall[attribute.name],
        }
        for attribute in judged.schema.attributes
    ]


def attribute_cards(judged: AttributeEvaluation, paths: Sequence[Path], pids: Sequence[int]) -> list[dict[str, Any]]:
    """Return up to `SHOWN` images, evenly spaced in the gallery, with every attribute, its confidence and truth.

    Args:
        judged: Attributes of the gallery.
        paths: Files of all readable gallery images.
        pids: Their identities.
    """
    places = np.unique(np.linspace(0, len(judged.images) - 1, SHOWN).round().astype(np.int64))
    return [
        {
            "image": data_uri(read_image(paths[judged.images[place]])),
            "pid": int(pids[judged.images[place]]),
            "lines": [_line(judged, place, column) for column in range(len(judged.schema))],
        }
        for place in (places if len(judged.images) else ())
    ]


def reliability(judged: AttributeEvaluation) -> Chart | None:
    """Return the reliability diagram over all attributes, None if nothing is annotated."""
    known = judged.labels >= 0
    confidence, right = judged.confidences[known], judged.correct[known]
    if not len(confidence):
        return None
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    confidence_sum, hits = (np.bincount(place, weights=values, minlength=BINS) for values in (confidence, right))
    points = [
        Point(
            x=100 * confidence_sum[bin] / counts[bin],
            y=100 * hits[bin] / counts[bin],
            text=f"confidence {100 * confidence_sum[bin] / counts[bin]:.0f} %, "
            f"correct {100 * hits[bin] / counts[bin]:.0f} %, {counts[bin]} times",
        )
        for bin in np.flatnonzero(counts)
    ]
    return Chart(
        description="Percent of correct predictions (vertical) against confidence in percent (horizontal); on the "
        "dashed line the confidences are calibrated.",
        x=percent_axis(),
        y=percent_axis(),
        points=points,
        reference=((0, 0), (100, 100)),
    )


def _line(judged: AttributeEvaluation, place: int, column: int) -> dict[str, Any]:
    attribute = judged.schema.attributes[column]
    label = int(judged.labels[place, column])
    right = bool(judged.correct[place, column])
    return {
        "title": attribute.title,
        "predicted": attribute.values[int(judged.predictions[place, column])],
        "confidence": 100 * float(judged.confidences[place, column]),
        "mark": "unknown" if label < 0 else "right" if right else "wrong",
        "truth": "not annotated" if label < 0 else attribute.values[label],
    }
