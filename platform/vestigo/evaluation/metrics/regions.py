"""How well regions are found (specification, sections 2.6 and 5.3): overlap of label maps, and what an area tells.

Evaluation is a fold over images, as in `metrics.attributes`: counts are integers, so no split changes the
answer. Symbols: K regions, background 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from vestigo_models.parsing.overlap import confusion, iou
from vestigo_models.schemas.regions import RegionSchema


@dataclass(frozen=True, kw_only=True)
class RegionMetrics:
    """Overlap of found regions with the true ones, in percent; None for a region that neither has.

    Attributes:
        iou: region -> intersection over union, background included.
        mean: of `iou` (mIoU).
        two_class: `foreground` and each region -> mean of the IoU of two classes, it and everything else, which is
            what ISP calls its IoU.
        images: label maps that were compared.
    """

    iou: dict[str, float | None]
    mean: float | None
    two_class: dict[str, float | None]
    images: int


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionCounts:
    """A partial result: `images`, and `cells` (K, K) int64 by true region (row) and found region (column)."""

    schema: RegionSchema
    images: int
    cells: NDArray[np.int64]

    @classmethod
    def merge(cls, schema: RegionSchema, parts: Iterable[RegionCounts]) -> RegionCounts:
        """Join partial results of one schema; of none, the result of no image."""
        parts = list(parts)
        none = np.zeros((len(schema), len(schema)), dtype=np.int64)
        return cls(
            schema=schema,
            images=sum(part.images for part in parts),
            cells=sum((part.cells for part in parts), none),
        )

    def summary(self, names: Sequence[str] = ()) -> RegionMetrics:
        """Turn counts into percent, for some regions, background among them, or for all."""
        names = tuple(names or self.schema.names)
        shares = dict(zip(self.schema.names, iou(self.cells).tolist(), strict=True))
        found = {name: _percent(shares[name]) for name in names}
        known = [value for value in found.values() if value is not None]
        masks = {"foreground": np.arange(len(self.schema)) > 0}
        masks |= {name: np.array(self.schema.names) == name for name in names if name != self.schema.names[0]}
        return RegionMetrics(
            iou=found,
            mean=sum(known) / len(known) if known else None,
            two_class={name: _percent(float(iou(_binary(self.cells, mask)).mean())) for name, mask in masks.items()},
            images=self.images,
        )


def count_regions(truth: NDArray[np.uint8], found: NDArray[np.uint8], schema: RegionSchema) -> RegionCounts:
    """Count the cells of N label maps, (N, rows, columns) region ids of the schema each."""
    return RegionCounts(schema=schema, images=len(truth), cells=confusion(truth, found, len(schema)))


def area_auc(areas: NDArray[np.floating], labels: NDArray[np.int64]) -> float | None:
    """How well the area of a region tells what somebody carries: area under the ROC curve (0 to 1) over N images.

    Args:
        areas: (N,) of the region, in any unit.
        labels: (N,) int64, 1 carries something, 0 nothing, -1 unknown and left out.

    Returns None where all carry something, or none does.
    """
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        return None
    return float(roc_auc_score(labels[known], areas[known]))


def _binary(cells: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts of two classes, outside and inside `mask` (K,) of regions: 2 x 2."""
    sides = np.stack([~mask, mask]).astype(np.int64)
    return np.asarray(sides @ cells @ sides.T)


def _percent(share: float) -> float | None:
    return None if np.isnan(share) else 100.0 * share
