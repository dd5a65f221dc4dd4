"""Attributes of a gallery judged image by image (specification, section 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.metrics.attributes import AttributeMetrics, count_attributes
from vestigo_models.attribute_filter.temperature import calibration_error
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeJudgement:
    """What a model says of the N gallery images whose identity is annotated, and what is true.

    Attributes:
        images: (N,) int64, rows of the gallery images that could be read.
        predictions: (N, n) int64, the likeliest class of each attribute.
        confidences: (N, n) float32, its probability.
        labels: (N, n) int64, -1 where the attribute is not annotated.
        right: (N, n) bool, the annotation accepts the prediction.
        metrics: accuracy and recall, in percent.
        calibration_errors: attribute -> expected calibration error in percent, None where nothing is annotated.
    """

    schema: AttributeSchema
    images: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    metrics: AttributeMetrics
    calibration_errors: dict[str, float | None]


def why_not(dataset: ReidDataset, schema: AttributeSchema | None) -> str:
    """Say why a model that predicts `schema` cannot be judged on the dataset's attributes; "" where it can, and where
    it predicts none and nobody expects it to."""
    if schema is None:
        return ""
    if schema.digest != dataset.schema.digest:
        return (
            f"attributes were not judged: the model predicts those of {schema.name}, the dataset is annotated with"
            f" those of {dataset.schema.name}"
        )
    if dataset.without_labels:
        return f"attributes were not judged: the dataset has no labels, {dataset.without_labels}"
    return ""


def judge_attributes(
    probabilities: NDArray[np.float32], split: Split, rows: NDArray[np.int64], schema: AttributeSchema
) -> AttributeJudgement:
    """Judge (n, M) probabilities of the images `rows` (n,) of a split; those without any annotation do not count."""
    images = np.flatnonzero(split.labelled[rows])
    found = probabilities[images]
    labels, yes = split.labels[rows[images]], split.yes[rows[images]]
    groups = [found[:, schema.slice(name)] for name in schema.names]
    predictions = np.stack([group.argmax(axis=1) for group in groups], axis=1).astype(np.int64)
    errors = calibration_error(found, labels, schema)
    return AttributeJudgement(
        schema=schema,
        images=images,
        predictions=predictions,
        confidences=np.stack([group.max(axis=1) for group in groups], axis=1),
        labels=labels,
        right=np.take_along_axis(yes, predictions + np.asarray(schema.offsets), axis=1),
        metrics=count_attributes(predictions, labels, yes, schema).summary(),
        calibration_errors={name: None if error is None else 100.0 * error for name, error in errors.items()},
    )
