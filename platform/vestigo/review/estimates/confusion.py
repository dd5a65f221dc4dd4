"""Confusion matrix of an attribute: estimated shares of true values among the predictions of each value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.precision import UNDECIDABLE, AnnotatedCrops, share_of
from vestigo.review.estimates.shares import ShareEstimate


@dataclass(frozen=True, kw_only=True)
class ConfusionCell:
    """Annotated tasks and crops of one predicted value and one label."""

    # Share of the labelled crops with this prediction whose true value is the label, corrected for annotator error;
    # None if no such crop is annotated.
    share: ShareEstimate | None
    tasks: int
    crops: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Confusion of an attribute with k values."""

    values: tuple[str, ...]  # the k values
    # k predicted values x k labels. The shares of a row sum to 1, apart from what is limited to 0; the diagonal is the
    # precision of each value.
    cells: tuple[tuple[ConfusionCell, ...], ...]
    cannot_tell: tuple[ConfusionCell, ...]  # k predicted values: crops labelled "cannot tell", which are in no share


def estimate_confusion(crops: AnnotatedCrops, attribute: str, *, confidence: float = 0.0) -> Confusion:
    """Estimate the confusion of an attribute; predictions below `confidence` do not count."""
    position = crops.schema.index(attribute)
    values = crops.schema[attribute].values
    confusion = crops.annotator_confusion(position)
    labelled = crops.answer[:, position] >= 0

    def cell(predicted: int, label: int) -> ConfusionCell:
        rows = cell_rows(crops, attribute, predicted, label, confidence=confidence)
        counted = labelled & _is_predicted(crops, position, predicted, confidence)
        share = None if label == UNDECIDABLE else confusion.correct(share_of(crops, rows, counted))
        return ConfusionCell(share=share, tasks=len(np.unique(crops.task[rows])), crops=int(rows.sum()))

    classes = range(len(values))
    return Confusion(
        values=values,
        cells=tuple(tuple(cell(predicted, label) for label in classes) for predicted in classes),
        cannot_tell=tuple(cell(predicted, UNDECIDABLE) for predicted in classes),
    )


def cell_rows(
    crops: AnnotatedCrops, attribute: str, predicted: int, label: int, *, confidence: float = 0.0
) -> NDArray[np.bool_]:
    """Return (R,) bool: crops of one predicted class and one label, which can be `UNDECIDABLE`."""
    position = crops.schema.index(attribute)
    labelled: NDArray[np.bool_] = crops.answer[:, position] == label
    return labelled & _is_predicted(crops, position, predicted, confidence)


def _is_predicted(crops: AnnotatedCrops, position: int, predicted: int, confidence: float) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = crops.predicted[:, position] == predicted
    return same & (crops.confidence[:, position] >= confidence)
