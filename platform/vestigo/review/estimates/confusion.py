"""What is true of crops of which a model predicts a value: how mistakes spread in all tasks, from those reviewed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.review.estimates.precision import CANNOT_TELL, Flags, Reviewed, share_of, slips_of
from vestigo.review.estimates.shares import Estimate


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Crops of one predicted and one answered value.

    Attributes:
        share: of the crops predicted so that somebody could tell, how many are truly of the answered value, with
            reviewers' errors taken out; None where no such crop was reviewed.
        tasks, crops: how many were reviewed and answered so.
    """

    share: Estimate | None
    tasks: int
    crops: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """An attribute of k values.

    Attributes:
        values: the k values.
        cells: k predicted by k answered values. A row of shares adds up to 1, but for what is cut off at 0; the
            diagonal is the precision of each value.
        untold: k, of each predicted value those of which nobody could tell; they are in no share.
    """

    values: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    untold: tuple[Cell, ...]


def confusion(reviewed: Reviewed, attribute: str, *, confidence: float = 0.0) -> Confusion:
    """What was answered of each predicted value; predictions less sure than `confidence` are left out.

    Raises:
        ConfigError: an unknown attribute.
    """
    position = reviewed.schema.index(attribute)
    values = reviewed.schema[attribute].values
    wrong = slips_of(reviewed, position)
    known = reviewed.answer[:, position] >= 0
    cells, untold = [], []
    for said in range(len(values)):
        row = []
        for told in range(len(values)):
            inside = cell_rows(reviewed, attribute, said, told, confidence=confidence)
            counted = known & _said(reviewed, position, said, confidence)
            row.append(_cell(reviewed, inside, wrong.truth(share_of(reviewed, inside, counted))))
        cells.append(tuple(row))
        untold.append(_cell(reviewed, cell_rows(reviewed, attribute, said, CANNOT_TELL, confidence=confidence), None))
    return Confusion(values=values, cells=tuple(cells), untold=tuple(untold))


def cell_rows(reviewed: Reviewed, attribute: str, predicted: int, answered: int, *, confidence: float = 0.0) -> Flags:
    """(R,) bool: crops of one predicted class of which a class, or `CANNOT_TELL`, was answered."""
    position = reviewed.schema.index(attribute)
    told: Flags = reviewed.answer[:, position] == answered
    return _said(reviewed, position, predicted, confidence) & told


def _said(reviewed: Reviewed, position: int, predicted: int, confidence: float) -> NDArray[np.bool_]:
    said: Flags = reviewed.predicted[:, position] == predicted
    return said & (reviewed.confidence[:, position] >= confidence)


def _cell(reviewed: Reviewed, rows: Flags, share: Estimate | None) -> Cell:
    return Cell(share=share, tasks=len(np.unique(reviewed.task[rows])), crops=int(rows.sum()))
