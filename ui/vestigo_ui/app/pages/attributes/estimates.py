"""Estimates from annotated crops, computed again when an annotation, a crop or a clock offset changes."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from vestigo.review.estimates.review_sample import ReadCrops, ReviewSample, read_review_sample
from vestigo.review.estimates.shares import ShareEstimate
from vestigo.review.estimates.threshold_curve import CurvePoint, threshold_curve
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.pages.attributes.selection import AttributesSelection

CACHED_SAMPLES, CACHED_ESTIMATES = 4, 64
Key = tuple[str, ...]
"""Everything that an estimate depends on, except its own parameters."""


@dataclass(frozen=True, kw_only=True)
class SelectedSample:
    """Annotated crops of the selected model and camera."""

    key: Key
    sample: ReviewSample


def load_sample(context: PageContext, selection: AttributesSelection) -> tuple[SelectedSample | None, str]:
    """Return the annotated crops of the selected model on the selected camera, or None and why there are none."""
    key = selection.model.digest, context.index.snapshot, context.store.annotations.version()
    sample, reason = _read_sample(*key)
    if sample is None:
        return None, reason
    if selection.camera:
        rows = sample.reviewed.camera == selection.camera
        sample = replace(sample, reviewed=sample.reviewed[rows], crops=sample.crops[rows])
    return SelectedSample(key=(*key, selection.camera), sample=sample), ""


@st.cache_resource(max_entries=CACHED_SAMPLES, show_spinner="Reading annotations")
def _read_sample(model: str, snapshot: str, annotations: str) -> tuple[ReviewSample | None, str]:
    store = shared_store()
    reader = _prediction_reader(model, snapshot)
    try:
        return read_review_sample(store, find_registered(store, model), read_crops=reader), ""
    except UsageError as error:
        return None, str(error)


@st.cache_resource(max_entries=CACHED_SAMPLES, show_spinner=False)
def _prediction_reader(model: str, snapshot: str) -> ReadCrops:
    """Return a reader that reads the predictions of each crop once: a new annotation then needs few reads."""
    lock = threading.Lock()
    known: set[str] = set()
    batches: list[pa.RecordBatch] = []

    def read(ids: Collection[str], columns: Sequence[str]) -> list[pa.RecordBatch]:
        with lock:
            if missing := set(ids) - known:
                batches.extend(shared_store().crops.select(missing, columns, model=model))
                known.update(missing)
            rows = list(batches)
        selected = pa.array(sorted(ids), pa.string())
        return [batch.filter(pc.is_in(batch.column("crop_id"), selected)) for batch in rows]

    return read


@st.cache_data(max_entries=CACHED_ESTIMATES, show_spinner=False)
def accuracy_by_attribute(key: Key, confidence: float, _crops: AnnotatedCrops) -> dict[str, AttributePrecision]:
    """Return the estimates of every attribute for predictions with at least some confidence."""
    return estimate_attributes(_crops, confidence)


@st.cache_data(max_entries=CACHED_ESTIMATES, show_spinner=False)
def precision_by_threshold(key: Key, attribute: str, value: str, _crops: AnnotatedCrops) -> list[CurvePoint]:
    """Return the precision of a value, or the accuracy for "", at every threshold."""
    return threshold_curve(_crops, attribute, value or None)


@st.cache_data(max_entries=CACHED_ESTIMATES, show_spinner=False)
def confusion_of(key: Key, attribute: str, confidence: float, _crops: AnnotatedCrops) -> Confusion:
    """Return the confusion of an attribute."""
    return estimate_confusion(_crops, attribute, confidence=confidence)


@st.cache_data(max_entries=CACHED_ESTIMATES, show_spinner=False)
def precision_by_part(
    key: Key, attribute: str, value: str, confidence: float, period: Period | None, _crops: AnnotatedCrops
) -> dict[str, ShareEstimate | None]:
    """Return the precision of each camera, or of each period; crops without a time belong to no period."""
    parts = _crops.camera if period is None else period_names(_crops.time, period)
    return {
        name: threshold_curve(_crops[parts == name], attribute, value or None, thresholds=(confidence,))[0].precision
        for name in sorted(set(parts.tolist()) - {""})
    }


def estimate_columns(name: str, estimate: ShareEstimate | None) -> dict[str, Any]:
    """Return an estimate in percent, its interval and its tasks as columns of a table."""
    if estimate is None:
        return {f"{name} (%)": None, "From (%)": None, "To (%)": None, "Tasks": 0}
    low, value, high = (100 * share for share in (estimate.low, estimate.value, estimate.high))
    return {f"{name} (%)": value, "From (%)": low, "To (%)": high, "Tasks": estimate.reviewed}
