"""Metrics of regions and their areas, as in docs/method.md, "Region overlap". Symbols: K regions, background 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from vestigo.evaluation.metrics.attributes import mean_of_known
from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array
from vestigo_models.parsing.label_maps import iou
from vestigo_models.schemas.regions import REGIONS, RegionSchema


@dataclass(frozen=True, kw_only=True)
class RegionMetrics:
    """Overlap of predicted regions with the true ones, in percent; None for a region that neither shows."""

    iou: dict[str, float | None]  # Region -> intersection over union, background included
    mean: float | None
    # `foreground` and each region -> mean IoU of two classes, the region and everything else, as ISP computes its IoU
    two_class: dict[str, float | None]
    images: int


def region_metrics(
    cells: Int64Array, images: int, names: Sequence[str] = (), schema: RegionSchema = REGIONS
) -> RegionMetrics:
    """Return the overlap of the regions `names`, background included, or of all.

    `cells` (K, K) are counted by true region (row) and predicted region (column) over some images, see
    `vestigo_models.parsing.label_maps.confusion`.
    """
    names = tuple(names or schema.names)
    shares = dict(zip(schema.names, iou(cells).tolist(), strict=True))
    percent = {name: to_percent(shares[name]) for name in names}
    masks = {"foreground": np.arange(len(schema)) > 0}
    masks |= {name: np.array(schema.names) == name for name in names if name != schema.names[0]}
    return RegionMetrics(
        iou=percent,
        mean=mean_of_known(percent.values()),
        two_class={name: to_percent(two_class_iou(cells, mask).mean()) for name, mask in masks.items()},
        images=images,
    )


def two_class_iou(cells: Int64Array, mask: BoolArray) -> Float64Array:
    """Return (2,) the IoU outside and inside a mask (K,) of regions, 0 to 1, from (K, K) counts."""
    sides = np.stack([~mask, mask]).astype(np.int64)
    return iou(sides @ cells @ sides.T)


def area_auc(areas: FloatArray, labels: Int64Array) -> float | None:
    """Compute how well an area (N,) predicts a label (N,), 0 or 1; -1 is unknown and does not count.

    Returns:
        Area under the ROC curve, 0 to 1; None if all labels are equal.
    """
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        return None
    return float(roc_auc_score(labels[known], areas[known]))


def to_percent(share: float) -> float | None:
    """Return a share in percent, None for NaN."""
    return None if np.isnan(share) else 100.0 * float(share)
