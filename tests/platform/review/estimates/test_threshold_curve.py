"""Threshold curves and confusions, against `estimate_precision` and loops over crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.platform.review.estimates.test_precision import SCHEMA, annotated_crops, naive_share
from vestigo.review.estimates.annotator_error import AnnotatorError
from vestigo.review.estimates.confusion import cell_rows, estimate_confusion
from vestigo.review.estimates.precision import UNDECIDABLE, AnnotatedCrops, estimate_precision
from vestigo.review.estimates.threshold_curve import threshold_curve
from vestigo_models.errors import ConfigError

ERROR = AnnotatorError(rate=0.03, spread=0.01, pairs=100)


def mistaken(seed: int) -> AnnotatedCrops:
    """Reviewers who are wrong now and then, some answers of several; confidences as the store has them."""
    reviewed = annotated_crops(seed)
    rng = np.random.default_rng(seed)
    margins = rng.integers(0, 3, reviewed.answer.shape)
    # Many confidences that are thresholds, too.
    confidence = (rng.integers(0, 101, reviewed.confidence.shape) / 100).astype(np.float32)
    return replace(reviewed, margins=margins, error=ERROR, confidence=confidence)


@pytest.mark.parametrize("seed", range(2))
def test_curve_equals_precision_at_each_threshold(seed: int) -> None:
    reviewed = mistaken(seed)
    for attribute in SCHEMA.attributes:
        curves = {value: threshold_curve(reviewed, attribute.name, value) for value in (None, *attribute.values)}
        for step in range(0, 101, 5):
            alone = estimate_precision(reviewed, confidence=step / 100).attributes[attribute.name]
            for value, points in curves.items():
                expected = alone.accuracy if value is None else alone.values[value].precision
                assert points[step].confidence == step / 100
                assert points[step].precision == expected


def test_curve_equals_loop_over_crops() -> None:
    reviewed, thresholds = annotated_crops(7), (0.0, 0.3, 0.95)
    for threshold, point in zip(thresholds, threshold_curve(reviewed, "hat", thresholds=thresholds), strict=True):
        pairs = [
            (int(task), float(reviewed.probability[task]), bool(predicted == true))
            for task, predicted, sure, true in zip(
                reviewed.task, reviewed.predicted[:, 0], reviewed.confidence[:, 0], reviewed.answer[:, 0], strict=True
            )
            if sure >= threshold and true >= 0
        ]
        expected = naive_share(pairs)
        assert point.precision is not None
        values = {name: getattr(point.precision, name) for name in expected}
        assert values == pytest.approx(expected, rel=1e-6)


def test_curve_is_none_above_the_largest_confidence() -> None:
    reviewed = replace(annotated_crops(1), confidence=np.full((len(annotated_crops(1).task), 2), 0.6))
    points = threshold_curve(reviewed, "colour", "red")
    assert points[60].precision == points[0].precision is not None
    assert [point.precision for point in points[61:]] == [None] * 40
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        threshold_curve(reviewed, "shoes")
    with pytest.raises(ValueError, match="not in tuple"):
        threshold_curve(reviewed, "colour", "mauve")


@pytest.mark.parametrize("confidence", [0.0, 0.5])
def test_confusion_equals_loops_over_crops(confidence: float) -> None:
    reviewed = annotated_crops(5)
    for j, attribute in enumerate(SCHEMA.attributes):
        confusion = estimate_confusion(reviewed, attribute.name, confidence=confidence)
        assert confusion.values == attribute.values
        for predicted in range(len(attribute.values)):
            rows = [
                i
                for i in range(len(reviewed.task))
                if reviewed.predicted[i, j] == predicted and reviewed.confidence[i, j] >= confidence
            ]
            for label, cell in enumerate(confusion.cells[predicted]):
                inside = [i for i in rows if reviewed.answer[i, j] == label]
                assert cell.crops == len(inside)
                assert cell.tasks == len({int(reviewed.task[i]) for i in inside})
                flags = cell_rows(reviewed, attribute.name, predicted, label, confidence=confidence)
                assert np.flatnonzero(flags).tolist() == inside
                known = [i for i in rows if reviewed.answer[i, j] >= 0]
                expected = naive_share(
                    [(int(reviewed.task[i]), float(reviewed.probability[reviewed.task[i]]), i in inside) for i in known]
                )
                assert cell.share is not None
                assert cell.share.value == pytest.approx(expected["value"])
                assert (cell.share.low, cell.share.high) == pytest.approx((expected["low"], expected["high"]), abs=1e-9)
            undecidable = [i for i in rows if reviewed.answer[i, j] == UNDECIDABLE]
            assert confusion.cannot_tell[predicted].crops == len(undecidable)
            assert confusion.cannot_tell[predicted].share is None


def test_confusion_diagonal_is_precision_and_rows_sum_to_one() -> None:
    reviewed = mistaken(2)
    precision = estimate_precision(reviewed).attributes["colour"].values
    confusion = estimate_confusion(reviewed, "colour")
    for number, value in enumerate(confusion.values):
        assert confusion.cells[number][number].share == precision[value].precision
        shares = [cell.share.value for cell in confusion.cells[number] if cell.share is not None]
        assert sum(shares) == pytest.approx(1, abs=1e-9)


def test_confusion_of_unreviewed_value_is_none() -> None:
    reviewed = replace(annotated_crops(4), predicted=np.zeros_like(annotated_crops(4).predicted))
    cells = estimate_confusion(reviewed, "colour").cells
    assert all(cell.share is None and cell.tasks == 0 for cell in (*cells[1], *cells[2]))
    assert all(cell.share is not None for cell in cells[0])
