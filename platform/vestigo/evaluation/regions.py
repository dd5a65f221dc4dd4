"""Evaluate the regions of a network against a dataset's label maps, as in docs/method.md, "Region overlap".

Both are compared on the network's grid: P by its most probable region, the label map by the region that covers most of
a cell, as label maps for training are made. Counts are added image by image, so memory is one batch of maps.

Training images are evaluated against the class ids of SCHP, as ISP does: the reference is the label map of a parser
with the classes of LIP, resized to the network's grid by nearest neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vestigo.datasets.reid import REGIONS as FOLDER
from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.metrics.regions import RegionMetrics, area_auc, region_metrics, to_percent, two_class_iou
from vestigo.ingest.embedding import FileFeatures
from vestigo_models.arrays import Float32Array, Int64Array, UInt8Array
from vestigo_models.errors import BadInput, ConfigError, DatasetError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.label_maps import LIP, confusion, iou, label_cells
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import HEAD, LOWER, REGIONS, SHOES, RegionSchema

CARRIED = ("backpack", "bag", "handbag")
"""Attributes of a person who carries belongings."""
BELONGINGS = "belongings"
MASKS = {
    "foreground": (tuple(range(1, len(LIP))), tuple(range(1, len(REGIONS)))),
    "head": ((1, 2, 4, 13), (HEAD,)),
    "legs": ((8, 9, 16, 17), (LOWER,)),
    "shoes": ((18, 19), (SHOES,)),
}
"""Mask -> class ids of LIP, and regions, that it consists of (Zhu et al., ECCV 2020). Masks of body parts are formed
from class ids, not from merged regions."""


def carried_attributes(schema: AttributeSchema) -> list[str]:
    """Return the attributes of a schema that say whether a person carries a belonging."""
    return [name for name in CARRIED if name in schema.names and "yes" in schema[name].values]


class RegionCounter:
    """Counts the cells where predicted regions and label maps agree, as a `vestigo.ingest.embedding.OnBatch`.

    `cells` (K, K) are int64 counts by true and predicted region; those of several counters add up.

    Args:
        extractor: A model with regions that have names of `REGIONS`.
        maps: Label map of each image.
    """

    def __init__(self, extractor: Extractor, maps: Sequence[Path]) -> None:
        self._extractor, self._maps = extractor, maps
        self._ids = np.array([REGIONS.names.index(name) for name in _region_names(extractor.package)], dtype=np.uint8)
        self.cells = np.zeros((len(REGIONS), len(REGIONS)), dtype=np.int64)

    def __call__(self, rows: Sequence[int], crops: Sequence[UInt8Array]) -> None:
        """Count for the images `rows` of the split, RGB uint8 pixels `crops`."""
        if not rows:
            return
        predicted = self._ids[self._extractor.regions(crops).argmax(axis=3)]
        truth = np.stack([read_truth(self._maps[row], predicted.shape[1:]) for row in rows])
        self.cells += confusion(truth, predicted, len(REGIONS))


def evaluated_maps(dataset: ReidDataset, package: ModelPackage) -> tuple[tuple[Path, ...] | None, str]:
    """Return the label maps of a dataset's gallery that a model's regions are evaluated against, and a note.

    Without label maps, the note says why; it is "" if the model or the dataset has no regions.

    Raises:
        DatasetError: If the dataset has label maps, but not of all gallery images.
    """
    schema = package.regions
    if schema is None or not (dataset.root / FOLDER).is_dir():
        return None, ""
    if not set(schema.names) <= set(REGIONS.names):
        return None, f"regions were not evaluated: the model has {schema.name}, the dataset {REGIONS.name}"
    return region_maps(dataset.root, dataset.gallery.paths), ""


def count_metrics(files: FileFeatures, package: ModelPackage) -> RegionMetrics:
    """Return the overlap over all images that were compared with label maps."""
    cells = np.zeros((len(REGIONS), len(REGIONS)), dtype=np.int64) if files.region_cells is None else files.region_cells
    return region_metrics(cells, len(files.rows), _region_names(package))


def _region_names(package: ModelPackage) -> tuple[str, ...]:
    assert package.regions is not None
    return package.regions.names


def belongings_auc(
    areas: Float32Array, regions: RegionSchema | None, dataset: ReidDataset, rows: Int64Array
) -> float | None:
    """Compute how well the area of belongings predicts that a person carries a backpack, bag or handbag.

    `areas` (n, K) are those of the gallery images `rows` (n,). Returns the area under the ROC curve over images, 0 to
    1; None if the model has no belongings, the dataset has no such labels, or all or none carry something.
    """
    labels = dataset.gallery.labels[rows]
    columns = [dataset.schema.index(name) for name in carried_attributes(dataset.schema)]
    if regions is None or BELONGINGS not in regions.names or not columns:
        return None
    known = (labels[:, columns] >= 0).all(axis=1)
    yes = np.array([dataset.schema.attributes[column].values.index("yes") for column in columns])
    carried = (labels[:, columns] == yes).any(axis=1)
    return area_auc(areas[:, regions.names.index(BELONGINGS)], np.where(known, carried, -1))


def label_overlap(labels: UInt8Array, schema: RegionSchema, maps: Sequence[Path]) -> dict[str, float | None]:
    """Compute the overlap of the label maps that a network learnt from with the true ones.

    `labels` (N, rows, columns) are region ids of `schema`, ids beyond it (unknown) count as background; `maps` are the
    files of the N true ones. Returns the IoU in percent of `foreground`, then of each region that has a name; None if
    neither map shows it.
    """
    is_named = set(schema.names) <= set(REGIONS.names)
    ids = np.array([REGIONS.names.index(name) if is_named else min(k, 1) for k, name in enumerate(schema.names)])
    to_region = np.zeros(256, dtype=np.uint8)
    to_region[: len(ids)] = ids
    cells = np.zeros((len(REGIONS), len(REGIONS)), dtype=np.int64)
    for learnt, path in zip(to_region[labels], maps, strict=True):
        cells += confusion(read_truth(path, learnt.shape), learnt, len(REGIONS))
    by_region = region_metrics(cells, len(maps), schema.names[1:]).iou if is_named else {}
    return {"foreground": to_percent(two_class_iou(cells, np.arange(len(REGIONS)) > 0)[1]), **by_region}


def read_truth(path: Path, grid: tuple[int, ...]) -> UInt8Array:
    """Read a label map on a grid, (rows, columns); raise DatasetError for other files. See `downsample_labels`."""
    try:
        labels = read_labels(path)
    except BadInput as error:
        raise DatasetError(f"label map {path}: {error.detail}; restore it") from None
    if labels.max(initial=0) >= len(REGIONS):
        raise DatasetError(f"label map {path} holds region {labels.max()}; ids go from 0 to {len(REGIONS) - 1}")
    return downsample_labels(labels, grid)


def downsample_labels(labels: UInt8Array, grid: tuple[int, ...]) -> UInt8Array:
    """Return the region that covers most of each cell of a grid, the smaller id if several do."""
    planes = (labels == np.arange(len(REGIONS), dtype=np.uint8)[:, None, None]).astype(np.float32)
    return label_cells(planes, (grid[0], grid[1]))


@dataclass(frozen=True, kw_only=True)
class TrainingRegionMetrics:
    """Overlap on training images in percent; None for a mask that neither side shows or the model has no region for."""

    two_class: dict[str, float | None]  # ISP's "IoU" of each mask: the mean of its own and that of everything else
    iou: dict[str, float | None]  # IoU of the mask alone
    # Mean IoU over regions of P with the label maps that the network learnt from; None without them
    labels_mean: float | None
    images: int  # Number of evaluated images
    skipped: dict[str, int]  # Number of images that could not be read or parsed, by reason


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRegionCounts:
    """Counts over some of the training images, which add up with those of others."""

    masks: Mapping[str, Int64Array]  # Mask -> cells by reference and prediction, (2, 2)
    learnt: Int64Array  # Cells by learnt and predicted region, (K, K)
    skipped: dict[int, str]  # Row of each image that could not be read or parsed to the reason

    def metrics(self, images: int, *, has_labels: bool) -> TrainingRegionMetrics:
        """Return the overlap over N images; `has_labels` says whether the learnt label maps were given."""
        shares = {name: iou(cells) for name, cells in self.masks.items()}
        by_region = iou(self.learnt)
        is_known = has_labels and not np.isnan(by_region).all()
        return TrainingRegionMetrics(
            two_class={name: to_percent(pair.mean()) for name, pair in shares.items()},
            iou={name: to_percent(pair[1]) for name, pair in shares.items()},
            labels_mean=100 * float(np.nanmean(by_region)) if is_known else None,
            images=images - len(self.skipped),
            skipped=dict(Counter(reason for _, reason in sorted(self.skipped.items()))),
        )

    @classmethod
    def joined(cls, parts: Mapping[int, TrainingRegionCounts], lost: Mapping[int, str]) -> TrainingRegionCounts:
        """Add up the counts of parts, at least one, by the position of a part's first image; `lost` are in no part."""
        counts = list(parts.values())
        skipped = {first + row: reason for first, part in parts.items() for row, reason in part.skipped.items()}
        return cls(
            masks={name: sum_cells([part.masks[name] for part in counts]) for name in counts[0].masks},
            learnt=sum_cells([part.learnt for part in counts]),
            skipped={**skipped, **lost},
        )


def sum_cells(cells: Sequence[Int64Array]) -> Int64Array:
    """Return the sum of counts of equal shape, at least one."""
    return np.asarray(np.sum(cells, axis=0), dtype=np.int64)


def evaluate_training_regions(
    paths: Sequence[Path],
    extractor: Extractor,
    parser: Parser,
    labels: UInt8Array | None = None,
    progress: ProgressCallback = ignore_progress,
) -> TrainingRegionMetrics:
    """Compare the most probable region of each cell with a parser's label maps of the same N training images.

    Arguments and errors are those of `count_training_regions`.
    """
    counts = count_training_regions(paths, extractor, parser, labels, progress)
    return counts.metrics(len(paths), has_labels=labels is not None)


def count_training_regions(
    paths: Sequence[Path],
    extractor: Extractor,
    parser: Parser,
    labels: UInt8Array | None = None,
    progress: ProgressCallback = ignore_progress,
) -> TrainingRegionCounts:
    """Count where the most probable regions and a parser's label maps of N training images agree.

    `extractor` has regions and `parser` the classes of LIP. `labels` are the label maps that the network learnt from,
    (N, rows, columns); ids beyond its regions are unknown. `progress` receives the number of images done and N.

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
    skipped: dict[int, str] = {}
    for start in range(0, len(paths), extractor.batch_size):
        rows, images, classes = [], [], []
        for row in range(start, min(start + extractor.batch_size, len(paths))):
            try:
                image = read_image(paths[row])
                classes.append(parser.parse(image, paths[row].name).labels)
            except BadInput as error:
                skipped[row] = error.reason
                continue
            rows.append(row)
            images.append(image)
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
    return TrainingRegionCounts(masks=counts, learnt=learnt, skipped=skipped)
