"""Evaluate regions on training images against the class ids of SCHP, as ISP does (docs/method.md, "Region overlap").

The reference is the label map of a parser with the classes of LIP, resized to the network's grid by nearest neighbours.
Masks of body parts are formed from its class ids, not from merged regions. Counts add up over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vestigo.evaluation.metrics.regions import to_percent
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput, ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_maps import LIP, confusion, iou
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.regions import HEAD, LOWER, REGIONS, SHOES

MASKS = {
    "foreground": (tuple(range(1, len(LIP))), tuple(range(1, len(REGIONS)))),
    "head": ((1, 2, 4, 13), (HEAD,)),
    "legs": ((8, 9, 16, 17), (LOWER,)),
    "shoes": ((18, 19), (SHOES,)),
}
"""Mask -> class ids of LIP, and regions, that it consists of (Zhu et al., ECCV 2020)."""


@dataclass(frozen=True, kw_only=True)
class TrainingRegionMetrics:
    """Overlap on training images in percent; None for a mask that neither side shows or the model has no region for."""

    two_class: dict[str, float | None]  # ISP's "IoU" of each mask: the mean of its own and that of everything else
    iou: dict[str, float | None]  # IoU of the mask alone
    # Mean IoU over regions of P with the label maps that the network learnt from; None without them
    labels_mean: float | None
    images: int  # Number of evaluated images
    skipped: dict[str, int]  # Number of images that could not be read or parsed, by reason


def evaluate_training_regions(
    paths: Sequence[Path],
    extractor: Extractor,
    parser: Parser,
    labels: UInt8Array | None = None,
    progress: ProgressCallback = ignore_progress,
) -> TrainingRegionMetrics:
    """Compare the most probable region of each cell with a parser's label maps of the same images.

    Args:
        paths: N training images.
        extractor: Model with regions.
        parser: Parser with the classes of LIP.
        labels: Label maps that the network learnt from, (N, rows, columns); ids beyond its regions are unknown.
        progress: Receives the number of images done and N.

    Raises:
        ConfigError: If the model has no regions, or the parser has other classes than LIP.
    """
    schema = extractor.package.regions
    if schema is None:
        raise ConfigError(f"model {extractor.package.name!r} has no regions to evaluate on training images")
    if len(parser.label_set) != len(LIP):
        raise ConfigError(
            f"the parser has the {len(parser.label_set)} classes of {parser.label_set.name}; regions on training images"
            f" are evaluated on the {len(LIP)} of LIP: give --parser schp:CHECKPOINT or labels:FOLDER:lip"
        )
    masks = MASKS if set(schema.names) <= set(REGIONS.names) else {"foreground": (MASKS["foreground"][0], ())}
    counts = {name: np.zeros((2, 2), dtype=np.int64) for name in masks}
    learnt = np.zeros((len(schema), len(schema)), dtype=np.int64)
    skipped: dict[str, int] = {}
    for start in range(0, len(paths), extractor.batch_size):
        rows, images, classes = [], [], []
        for row in range(start, min(start + extractor.batch_size, len(paths))):
            try:
                images.append(read_image(paths[row]))
                classes.append(parser.parse(images[-1], paths[row].name).labels)
                rows.append(row)
            except BadInput as error:
                skipped[error.reason] = skipped.get(error.reason, 0) + 1
                del images[len(rows) :]
        if rows:
            predicted = extractor.regions(images).argmax(axis=3).astype(np.uint8)
            size = (predicted.shape[2], predicted.shape[1])
            truth = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in classes])
            for name, (ids, regions) in masks.items():
                shown = np.isin(predicted, regions) if regions else predicted > 0
                counts[name] += confusion(np.isin(truth, ids), shown, 2)
            if labels is not None:
                known = labels[rows] < len(schema)
                learnt += confusion(labels[rows][known], predicted[known], len(schema))
        progress(min(start + extractor.batch_size, len(paths)), len(paths))
    shares = {name: iou(cells) for name, cells in counts.items()}
    by_region = iou(learnt)
    return TrainingRegionMetrics(
        two_class={name: to_percent(pair.mean()) for name, pair in shares.items()},
        iou={name: to_percent(pair[1]) for name, pair in shares.items()},
        labels_mean=None if np.isnan(by_region).all() else 100 * float(np.nanmean(by_region)),
        images=len(paths) - sum(skipped.values()),
        skipped=skipped,
    )
