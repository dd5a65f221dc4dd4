"""What was reviewed of a model: read from the store once, and again when an answer, a crop or a clock changed."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from vestigo.resolve import find_registered
from vestigo.review.estimates.confusion import Confusion, estimate_confusion
from vestigo.review.estimates.precision import (
    AnnotatedCrops,
    AttributePrecision,
    Period,
    estimate_attributes,
    period_names,
)
from vestigo.review.estimates.review_sample import ReviewSample, read_review_sample
from vestigo.review.estimates.threshold_curve import CurvePoint, threshold_curve
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.pages.attributes.selection import View

SAMPLES, FIGURES = 4, 64
"""Kept in memory at most: samples, each of what was reviewed, and what was told of them, a few numbers each."""


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """The sample of a model, and the part of it on a camera; None where nothing was reviewed, and `why`.

    `key` names all that the numbers rest on.
    """

    key: tuple[str, ...]
    sample: ReviewSample | None
    why: str = ""

    def on(self, camera: str) -> Reviews:
        """What was reviewed of one camera, of all with ""."""
        if not camera or self.sample is None:
            return self
        rows = self.sample.reviewed.camera == camera
        part = replace(self.sample, reviewed=self.sample.reviewed[rows], crops=self.sample.crops[rows])
        return Reviews(key=(*self.key, camera), sample=part)


def reviews(context: PageContext, view: View) -> Reviews:
    """What was reviewed of the model, on the camera that is chosen."""
    key = view.model.digest, context.index.snapshot, context.store.annotations.version()
    sample, why = _sample(*key)
    return Reviews(key=key, sample=sample, why=why).on(view.camera)


@st.cache_resource(max_entries=SAMPLES, show_spinner="Reading what was reviewed")
def _sample(model: str, snapshot: str, answers: str) -> tuple[ReviewSample | None, str]:
    try:
        registered = find_registered(shared_store(), model)
        return read_review_sample(shared_store(), registered, read_crops=_picked(model, snapshot)), ""
    except UsageError as problem:
        return None, str(problem)


class PredictionReader:
    """What a model predicted of reviewed crops, each read once: a new answer then costs a moment, not a second."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._rows: list[pa.RecordBatch] = []

    def __call__(self, ids: Collection[str], columns: Sequence[str]) -> list[pa.RecordBatch]:
        """Return the rows of crops, as `CropRepository.select`, with the same columns each time."""
        with self._lock:
            missing = set(ids) - self._known
            if missing:
                self._rows += shared_store().crops.select(missing, columns, model=self._model)
                self._known |= missing
            rows = list(self._rows)
        wanted = pa.array(sorted(ids), pa.string())
        return [batch.filter(pc.is_in(batch.column("crop_id"), wanted)) for batch in rows]


@st.cache_resource(max_entries=SAMPLES, show_spinner=False)
def _picked(model: str, snapshot: str) -> PredictionReader:
    return PredictionReader(model)


@st.cache_data(max_entries=FIGURES, show_spinner=False)
def precisions(key: tuple[str, ...], sure: float, _reviewed: AnnotatedCrops) -> dict[str, AttributePrecision]:
    """How right the model is about every attribute, where it is at least so `sure`."""
    return estimate_attributes(_reviewed, sure)


@st.cache_data(max_entries=FIGURES, show_spinner=False)
def curve(key: tuple[str, ...], attribute: str, value: str, _reviewed: AnnotatedCrops) -> list[CurvePoint]:
    """How right the model is about an attribute, or one value of it, at every threshold."""
    return threshold_curve(_reviewed, attribute, value or None)


@st.cache_data(max_entries=FIGURES, show_spinner=False)
def confused(key: tuple[str, ...], attribute: str, sure: float, _reviewed: AnnotatedCrops) -> Confusion:
    """How the mistakes about an attribute spread over its values."""
    return estimate_confusion(_reviewed, attribute, confidence=sure)


@st.cache_data(max_entries=FIGURES, show_spinner=False)
def by_camera(key: tuple[str, ...], attribute: str, value: str, sure: float, _reviewed: AnnotatedCrops) -> Split:
    """How right the model is about an attribute, camera by camera."""
    return {
        str(camera): _at(_reviewed[_reviewed.camera == camera], attribute, value, sure)
        for camera in sorted(set(_reviewed.camera.tolist()))
    }


@st.cache_data(max_entries=FIGURES, show_spinner=False)
def by_period(
    key: tuple[str, ...], attribute: str, value: str, sure: float, period: Period, _reviewed: AnnotatedCrops
) -> Split:
    """How right the model is about an attribute, period by period; what has no time is in none."""
    periods = period_names(_reviewed.time, period)
    return {
        name: _at(_reviewed[periods == name], attribute, value, sure) for name in sorted(set(periods.tolist()) - {""})
    }


Split = dict[str, CurvePoint]
"""The one threshold's point of each part."""


def _at(reviewed: AnnotatedCrops, attribute: str, value: str, sure: float) -> CurvePoint:
    (point,) = threshold_curve(reviewed, attribute, value or None, thresholds=(sure,))
    return point
