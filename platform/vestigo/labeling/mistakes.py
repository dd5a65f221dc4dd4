"""Reviewers who are wrong now and then, taken out of what their answers tell.

Where an answer is wrong with probability e and then any other of k values alike, the truth follows from the answers by
the inverse of that confusion (Rogan and Gladen, American Journal of Epidemiology 107, 1978, for k = 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReviewerError:
    """How often one answer is wrong.

    Attributes:
        rate: the estimate.
        spread: its standard error.
        pairs: pairs of answers of two reviewers to one question that it rests on.
    """

    rate: float
    spread: float
    pairs: int


NEVER = ReviewerError(rate=0.0, spread=0.0, pairs=0)


def answer_error(rate: float, margins: NDArray[np.int64], values: int) -> Floats:
    """How likely answers are wrong that so many more reviewers gave than all others together: N to N; one of `values`.

    margins: N, 1 for an answer of one reviewer.
    """
    odds = (values - 1) * (rate / (values - 1) / (1 - rate)) ** margins.astype(np.float64)
    return np.asarray(odds / (1 + odds), dtype=np.float64)


def truth_of(answers: NDArray[np.int64], error: Floats, values: int) -> Floats:
    """What answers tell of the truth: N classes that are wrong with probability `error` (N) to N x values.

    Rows add up to 1, and some entries are negative: they are right on average, not one by one.
    """
    other = error / (values - 1)
    told = np.eye(values)[answers] - other[:, None]
    return np.asarray(told / (1 - error - other)[:, None], dtype=np.float64)
