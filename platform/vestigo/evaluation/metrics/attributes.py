"""Metrics of attribute predictions, as in docs/method.md, "Attribute accuracy".

Accuracy is counted by image and reported in the schema's order. `official`: a prediction is correct if the annotation
accepts it, so an identity without any colour is always wrong, and one with two colours is correct with either.
`labelled_only` excludes images on which the attribute is not annotated. Distractors and junk never count; the caller
excludes them, see `vestigo.datasets.reid.Split.labelled`.

Counts are integers and add up over images, so the result does not depend on how images are split.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vestigo_models.arrays import BoolArray, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class AttributeMetrics:
    """Attribute metrics in percent by attribute name, None if nothing is annotated; means are unweighted.

    Attributes:
        recall: Attribute -> recall of each of its values, None if the value does not occur.
        balanced: Mean over attributes of the mean recall of their values that occur.
    """

    images: int
    official: dict[str, float | None]
    official_mean: float | None
    labelled_only: dict[str, float | None]
    labelled_only_mean: float | None
    recall: dict[str, dict[str, float | None]]
    balanced: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeCounts:
    """Counts over some images.

    Attributes:
        correct, labelled: (n,) int64, correct predictions and labels of each attribute.
        occurrences, recalled: (M,) int64, how often a class is the label, and how often it was then predicted
            correctly.
    """

    schema: AttributeSchema
    images: int
    correct: Int64Array
    labelled: Int64Array
    occurrences: Int64Array
    recalled: Int64Array

    @classmethod
    def merge(cls, schema: AttributeSchema, parts: Iterable[AttributeCounts]) -> AttributeCounts:
        """Add counts of one schema; zero without parts."""
        attributes, classes = np.zeros(len(schema), dtype=np.int64), np.zeros(schema.classes, dtype=np.int64)
        parts = list(parts)
        return cls(
            schema=schema,
            images=sum(part.images for part in parts),
            correct=sum((part.correct for part in parts), attributes),
            labelled=sum((part.labelled for part in parts), attributes),
            occurrences=sum((part.occurrences for part in parts), classes),
            recalled=sum((part.recalled for part in parts), classes),
        )

    def summary(self) -> AttributeMetrics:
        """Return the counts as percent."""
        names = self.schema.names
        official = [_percent(correct, self.images) for correct in self.correct]
        labelled = [_percent(correct, count) for correct, count in zip(self.correct, self.labelled, strict=True)]
        class_recall = [_percent(hits, count) for hits, count in zip(self.recalled, self.occurrences, strict=True)]
        by_attribute = [class_recall[self.schema.slice(name)] for name in names]
        return AttributeMetrics(
            images=self.images,
            official=dict(zip(names, official, strict=True)),
            official_mean=mean_of_known(official),
            labelled_only=dict(zip(names, labelled, strict=True)),
            labelled_only_mean=mean_of_known(labelled),
            recall={
                attribute.name: dict(zip(attribute.values, recall, strict=True))
                for attribute, recall in zip(self.schema.attributes, by_attribute, strict=True)
            },
            balanced=mean_of_known([mean_of_known(recall) for recall in by_attribute]),
        )


def count_attributes(
    predictions: Int64Array, labels: Int64Array, yes: BoolArray, schema: AttributeSchema
) -> AttributeCounts:
    """Count correct predictions on N images.

    `predictions` and `labels` are (N, n) classes, -1 = missing; `yes` (N, M) marks all accepted classes.
    """
    offsets = np.asarray(schema.offsets, dtype=np.int64)
    correct = np.take_along_axis(yes, predictions + offsets, axis=1)
    known = labels >= 0
    classes = labels + offsets
    return AttributeCounts(
        schema=schema,
        images=len(predictions),
        correct=correct.sum(axis=0),
        labelled=known.sum(axis=0),
        occurrences=np.bincount(classes[known], minlength=schema.classes),
        recalled=np.bincount(classes[known & correct], minlength=schema.classes),
    )


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * int(part) / int(whole) if whole else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
