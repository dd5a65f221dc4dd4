"""How good attribute predictions are (specification section 2.5).

Accuracy of each attribute by image, in the schema's order, which is the printing order of the paper's tables.
`official`: a prediction is right where the annotation accepts it, so an identity without any colour is always wrong and
one with two colours is right with either. `labelled_only` leaves out images on which the attribute is not annotated.
Which images count at all (not distractors, not junk) is for the caller: see `Split.labelled`.

Evaluation is a fold, as in `vestigo.evaluation.metrics.ranking`: counts are integers, so no split changes the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class AttributeMetrics:
    """The end of the fold. Percent by attribute name, None where nothing is annotated; means are unweighted.

    Attributes:
        recall: attribute -> recall of each of its values, None where the value does not occur.
        balanced: mean over attributes of the mean recall of their values that occur.
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
    """A partial result: `images`; `right` and `labelled` (n,) int64; `occurs` and `recalled` (M,) int64, how often a
    class is the label and how often it was then predicted right."""

    schema: AttributeSchema
    images: int
    right: NDArray[np.int64]
    labelled: NDArray[np.int64]
    occurs: NDArray[np.int64]
    recalled: NDArray[np.int64]

    @classmethod
    def merge(cls, schema: AttributeSchema, parts: Iterable[AttributeCounts]) -> AttributeCounts:
        """Join partial results of one schema; of none, the result of no image."""
        n, classes = len(schema), schema.classes
        parts = list(parts)
        return cls(
            schema=schema,
            images=sum(part.images for part in parts),
            right=sum((part.right for part in parts), np.zeros(n, dtype=np.int64)),
            labelled=sum((part.labelled for part in parts), np.zeros(n, dtype=np.int64)),
            occurs=sum((part.occurs for part in parts), np.zeros(classes, dtype=np.int64)),
            recalled=sum((part.recalled for part in parts), np.zeros(classes, dtype=np.int64)),
        )

    def summary(self) -> AttributeMetrics:
        """Turn counts into percent."""
        names = self.schema.names
        official = [_percent(right, self.images) for right in self.right]
        labelled = [_percent(right, count) for right, count in zip(self.right, self.labelled, strict=True)]
        class_recall = [_percent(hit, count) for hit, count in zip(self.recalled, self.occurs, strict=True)]
        by_attribute = [class_recall[self.schema.slice(name)] for name in names]
        return AttributeMetrics(
            images=self.images,
            official=dict(zip(names, official, strict=True)),
            official_mean=_mean(official),
            labelled_only=dict(zip(names, labelled, strict=True)),
            labelled_only_mean=_mean(labelled),
            recall={
                attribute.name: dict(zip(attribute.values, recall, strict=True))
                for attribute, recall in zip(self.schema.attributes, by_attribute, strict=True)
            },
            balanced=_mean([_mean(recall) for recall in by_attribute]),
        )


def count_attributes(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], yes: NDArray[np.bool_], schema: AttributeSchema
) -> AttributeCounts:
    """Count right predictions on N images.

    Args:
        predictions: (N, n) int64, the predicted class of each attribute.
        labels: (N, n) int64, -1 = missing; of several accepted classes, one.
        yes: (N, M) bool, all accepted classes.
    """
    offsets = np.asarray(schema.offsets, dtype=np.int64)
    right = np.take_along_axis(yes, predictions + offsets, axis=1)
    known = labels >= 0
    classes = labels + offsets
    return AttributeCounts(
        schema=schema,
        images=len(predictions),
        right=right.sum(axis=0),
        labelled=known.sum(axis=0),
        occurs=np.bincount(classes[known], minlength=schema.classes),
        recalled=np.bincount(classes[known & right], minlength=schema.classes),
    )


def majority_predictions(yes: NDArray[np.bool_], schema: AttributeSchema) -> NDArray[np.int64]:
    """(n,) int64: the most frequent class of each attribute, the floor that a trained model must beat."""
    counts = yes.sum(axis=0)
    return np.array([counts[schema.slice(name)].argmax() for name in schema.names], dtype=np.int64)


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * int(part) / int(whole) if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
