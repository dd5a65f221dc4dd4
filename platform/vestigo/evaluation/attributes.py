"""Evaluate attribute predictions image by image, as in docs/method.md, "Attribute accuracy"."""

from dataclasses import dataclass

import numpy as np

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.metrics.attributes import AttributeMetrics, attribute_metrics
from vestigo_models.arrays import BoolArray, Float32Array, Int64Array
from vestigo_models.attribute_filter.temperature import calibration_error
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeEvaluation:
    """Predictions and labels of the N images whose identity is annotated."""

    schema: AttributeSchema
    images: Int64Array  # (N,) int64, their rows among the embedded images
    predictions: Int64Array  # (N, n) int64, the predicted class of each attribute
    confidences: Float32Array  # (N, n) float32, its probability
    labels: Int64Array  # (N, n) int64, -1 where the attribute is not annotated
    correct: BoolArray  # (N, n) bool, whether the annotation accepts the prediction
    metrics: AttributeMetrics
    # Attribute -> expected calibration error in percent, None if nothing is annotated
    calibration_errors: dict[str, float | None]


def attribute_mismatch(dataset: ReidDataset, schema: AttributeSchema | None) -> str:
    """Return why a model's attributes cannot be evaluated on a dataset; "" if they can, or if it predicts none."""
    if schema is None:
        return ""
    if schema.digest != dataset.schema.digest:
        return (
            f"attributes were not evaluated: the model predicts those of {schema.name}, the dataset is annotated with"
            f" those of {dataset.schema.name}"
        )
    if dataset.without_labels:
        return f"attributes were not evaluated: the dataset has no labels, {dataset.without_labels}"
    return ""


def evaluate_attributes(
    probabilities: Float32Array, split: Split, rows: Int64Array, schema: AttributeSchema
) -> AttributeEvaluation:
    """Evaluate probabilities (n, M) of the images `rows` (n,) of a split; images without annotation do not count."""
    images = np.flatnonzero(split.labelled[rows])
    annotated = probabilities[images]
    labels, yes = split.labels[rows[images]], split.yes[rows[images]]
    groups = [annotated[:, schema.slice(name)] for name in schema.names]
    predictions = np.stack([group.argmax(axis=1) for group in groups], axis=1).astype(np.int64)
    errors = calibration_error(annotated, labels, schema)
    return AttributeEvaluation(
        schema=schema,
        images=images,
        predictions=predictions,
        confidences=np.stack([group.max(axis=1) for group in groups], axis=1),
        labels=labels,
        correct=np.take_along_axis(yes, predictions + np.asarray(schema.offsets), axis=1),
        metrics=attribute_metrics(predictions, labels, yes, schema),
        calibration_errors={name: None if error is None else 100.0 * error for name, error in errors.items()},
    )
