"""Evaluate the regions of a network against a dataset's label maps, as in docs/method.md, "Region overlap".

Both are compared on the network's grid: P by its most probable region, the label map by the region that covers most of
a cell, as label maps for training are made. Counts are added image by image, so memory is one batch of maps.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vestigo.datasets.reid import REGIONS as FOLDER
from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.metrics.regions import RegionMetrics, area_auc, region_metrics, to_percent, two_class_iou
from vestigo_models.arrays import Float32Array, Int64Array, UInt8Array
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.label_maps import confusion, label_cells
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import REGIONS, RegionSchema

CARRIED = ("backpack", "bag", "handbag")
"""Attributes of a person who carries belongings."""
BELONGINGS = "belongings"


def carried_attributes(schema: AttributeSchema) -> list[str]:
    """Return the attributes of a schema that say whether a person carries a belonging."""
    return [name for name in CARRIED if name in schema.names and "yes" in schema[name].values]


class RegionEvaluator:
    """Counts where predicted regions and label maps agree, as a `vestigo.ingest.embedding.Watch`."""

    def __init__(self, extractor: Extractor, maps: Sequence[Path]) -> None:
        schema = extractor.package.regions
        assert schema is not None
        self._extractor, self._maps, self._names = extractor, maps, schema.names
        self._ids = np.array([REGIONS.names.index(name) for name in schema.names], dtype=np.uint8)
        self._cells, self._images = np.zeros((len(REGIONS), len(REGIONS)), dtype=np.int64), 0

    def __call__(self, rows: Sequence[int], crops: Sequence[UInt8Array]) -> None:
        """Count for the images `rows` of the split, RGB uint8 pixels `crops`."""
        if not rows:
            return
        predicted = self._ids[self._extractor.regions(crops).argmax(axis=3)]
        truth = np.stack([read_truth(self._maps[row], predicted.shape[1:]) for row in rows])
        self._cells += confusion(truth, predicted, len(REGIONS))
        self._images += len(rows)

    def result(self) -> RegionMetrics:
        """Return the overlap over all counted images."""
        return region_metrics(self._cells, self._images, self._names)


def make_region_evaluator(dataset: ReidDataset, extractor: Extractor) -> tuple[RegionEvaluator | None, str]:
    """Return the evaluator of a model's regions on a dataset's gallery, and a note.

    Without an evaluator, the note says why; it is "" if the model or the dataset has no regions.

    Raises:
        DatasetError: If the dataset has label maps, but not of all gallery images.
    """
    schema = extractor.package.regions
    if schema is None or not (dataset.root / FOLDER).is_dir():
        return None, ""
    if not set(schema.names) <= set(REGIONS.names):
        return None, f"regions were not evaluated: the model has {schema.name}, the dataset {REGIONS.name}"
    return RegionEvaluator(extractor, region_maps(dataset.root, dataset.gallery.paths)), ""


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
