"""Metrics of attribute predictions, as in docs/method.md, "Attribute accuracy".

Accuracy is counted by image and reported in the schema's order. `official`: a prediction is correct if the annotation
accepts it, so an identity without any colour is always wrong, and one with two colours is correct with either.
`labelled_only` excludes images on which the attribute is not annotated. Distractors and junk never count; the caller
excludes them, see `vestigo.datasets.reid.Split.labelled`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vestigo_models.arrays import BoolArray, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class AttributeMetrics:
    """Attribute metrics in percent by attribute name, None if nothing is annotated; means are unweighted."""

    images: int
    official: dict[str, float | None]
    official_mean: float | None
    labelled_only: dict[str, float | None]
    labelled_only_mean: float | None
    # Attribute -> recall of each of its values, None if the value does not occur
    recall: dict[str, dict[str, float | None]]
    balanced: float | None  # Mean over attributes of the mean recall of their values that occur


def attribute_metrics(
    predictions: Int64Array, labels: Int64Array, yes: BoolArray, schema: AttributeSchema
) -> AttributeMetrics:
    """Return the metrics of predictions on N images.

    `predictions` and `labels` are (N, n) classes, -1 = missing; `yes` (N, M) marks all accepted classes.
    """
    offsets = np.asarray(schema.offsets, dtype=np.int64)
    is_correct = np.take_along_axis(yes, predictions + offsets, axis=1)
    is_labelled = labels >= 0
    classes = labels + offsets
    correct, images = is_correct.sum(axis=0), np.full(len(schema), len(predictions))
    official, labelled_only = _percent(correct, images), _percent(correct, is_labelled.sum(axis=0))
    occurrences = np.bincount(classes[is_labelled], minlength=schema.classes)
    recalled = np.bincount(classes[is_labelled & is_correct], minlength=schema.classes)
    recall = _percent(recalled, occurrences)
    by_attribute = [recall[schema.slice(name)] for name in schema.names]
    return AttributeMetrics(
        images=len(predictions),
        official=dict(zip(schema.names, official, strict=True)),
        official_mean=mean_of_known(official),
        labelled_only=dict(zip(schema.names, labelled_only, strict=True)),
        labelled_only_mean=mean_of_known(labelled_only),
        recall={
            attribute.name: dict(zip(attribute.values, values, strict=True))
            for attribute, values in zip(schema.attributes, by_attribute, strict=True)
        },
        balanced=mean_of_known(map(mean_of_known, by_attribute)),
    )


def _percent(parts: Int64Array, wholes: Int64Array) -> list[float | None]:
    pairs = zip(parts.tolist(), wholes.tolist(), strict=True)
    return [100.0 * part / whole if whole else None for part, whole in pairs]


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
