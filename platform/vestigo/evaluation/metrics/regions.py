"""Metrics of regions and their areas, as in docs/method.md, "Region overlap".

Counts are integers and add up over images, so the result does not depend on how images are split. Symbols: K regions,
background 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from vestigo_models.arrays import BoolArray, FloatArray, Int64Array, UInt8Array
from vestigo_models.parsing.overlap import confusion, iou
from vestigo_models.schemas.regions import RegionSchema


@dataclass(frozen=True, kw_only=True)
class RegionMetrics:
    """Overlap of predicted regions with the true ones, in percent; None for a region that neither shows.

    Attributes:
        iou: Region -> intersection over union, background included.
        two_class: `foreground` and each region -> mean IoU of two classes, the region and everything else, as ISP
            computes its IoU.
    """

    iou: dict[str, float | None]
    mean: float | None
    two_class: dict[str, float | None]
    images: int


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionCounts:
    """Counts over some images.

    Attributes:
        cells: (K, K) int64 by true region (row) and predicted region (column).
    """

    schema: RegionSchema
    images: int
    cells: Int64Array

    @classmethod
    def merge(cls, schema: RegionSchema, parts: Iterable[RegionCounts]) -> RegionCounts:
        """Add counts of one schema; zero without parts."""
        parts = list(parts)
        zero = np.zeros((len(schema), len(schema)), dtype=np.int64)
        return cls(
            schema=schema, images=sum(part.images for part in parts), cells=sum((part.cells for part in parts), zero)
        )

    def summary(self, names: Sequence[str] = ()) -> RegionMetrics:
        """Return the overlap in percent of some regions, background included, or of all."""
        names = tuple(names or self.schema.names)
        shares = dict(zip(self.schema.names, iou(self.cells).tolist(), strict=True))
        percent = {name: to_percent(shares[name]) for name in names}
        known = [value for value in percent.values() if value is not None]
        masks = {"foreground": np.arange(len(self.schema)) > 0}
        masks |= {name: np.array(self.schema.names) == name for name in names if name != self.schema.names[0]}
        return RegionMetrics(
            iou=percent,
            mean=sum(known) / len(known) if known else None,
            two_class={name: to_percent(float(iou(_binary(self.cells, mask)).mean())) for name, mask in masks.items()},
            images=self.images,
        )


def count_regions(truth: UInt8Array, predicted: UInt8Array, schema: RegionSchema) -> RegionCounts:
    """Count the cells of N true and predicted label maps, (N, rows, columns) region ids each."""
    return RegionCounts(schema=schema, images=len(truth), cells=confusion(truth, predicted, len(schema)))


def area_auc(areas: FloatArray, labels: Int64Array) -> float | None:
    """Compute how well an area (N,) predicts a label (N,), 0 or 1; -1 is unknown and does not count.

    Returns:
        Area under the ROC curve, 0 to 1; None if all labels are equal.
    """
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        return None
    return float(roc_auc_score(labels[known], areas[known]))


def _binary(cells: Int64Array, mask: BoolArray) -> Int64Array:
    """Return 2 x 2 counts of two classes, outside and inside a mask (K,) of regions."""
    sides = np.stack([~mask, mask]).astype(np.int64)
    return np.asarray(sides @ cells @ sides.T)


def to_percent(share: float) -> float | None:
    """Return a share in percent, None for NaN."""
    return None if np.isnan(share) else 100.0 * share
