"""Regions that a network sees beside the dataset's label maps, and what the area of belongings tells (specification,
sections 2.6 and 5.3).

Both are compared on the network's own grid: P by its likeliest region, the label map by what covers most of a cell,
as label maps for training are made. Counts add up image by image, so no map outlives its lot of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import REGIONS as FOLDER
from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.metrics.regions import RegionCounts, RegionMetrics, area_auc, count_regions
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.overlap import confusion, iou
from vestigo_models.parsing.region_merge import label_cells
from vestigo_models.schemas.regions import REGIONS, RegionSchema

CARRIED = ("backpack", "bag", "handbag")
"""Attributes of somebody who carries a belonging."""
BELONGINGS = "belongings"


class RegionJudge:
    """Counts where predicted regions and label maps agree, as a `vestigo.ingest.embedding.Watch`."""

    def __init__(self, extractor: Extractor, maps: Sequence[Path]) -> None:
        schema = extractor.package.regions
        assert schema is not None
        self._extractor, self._maps, self._names = extractor, maps, schema.names
        self._ids = np.array([REGIONS.names.index(name) for name in schema.names], dtype=np.uint8)
        self._counts = RegionCounts.merge(REGIONS, [])

    def __call__(self, rows: Sequence[int], crops: Sequence[NDArray[np.uint8]]) -> None:
        """Count for the images `rows` of the split, RGB uint8 pixels `crops`."""
        if not rows:
            return
        found = self._ids[self._extractor.regions(crops).argmax(axis=3)]
        truth = np.stack([region_truth(self._maps[row], found.shape[1:]) for row in rows])
        self._counts = RegionCounts.merge(REGIONS, [self._counts, count_regions(truth, found, REGIONS)])

    def judgement(self) -> RegionMetrics:
        """What was found, once all images passed by."""
        return self._counts.summary(self._names)


def region_judge(dataset: ReidDataset, extractor: Extractor) -> tuple[RegionJudge | None, str]:
    """What judges a model's regions on the dataset's gallery, and "", or None and why not ("" where nobody expects it).

    Raises:
        DatasetError: the dataset has label maps, but not of all gallery images.
    """
    schema = extractor.package.regions
    if schema is None or not (dataset.root / FOLDER).is_dir():
        return None, ""
    if not set(schema.names) <= set(REGIONS.names):
        return None, (
            f"regions were not judged: the model's {schema.name} have no meaning, the dataset's are {REGIONS.name}"
        )
    return RegionJudge(extractor, region_maps(dataset.root, dataset.gallery.paths)), ""


def belongings_auc(
    areas: NDArray[np.float32], regions: RegionSchema | None, dataset: ReidDataset, rows: NDArray[np.int64]
) -> float | None:
    """How well the area of belongings tells who carries something: area under the ROC curve (0 to 1) over images.

    Args:
        areas: (n, K) float32, of the gallery images `rows` (n,); the label is the identity's: backpack, bag or handbag.

    Returns None for a model without belongings, a dataset without such labels, or where all or none carry something.
    """
    labels = dataset.gallery.labels[rows]
    columns = [dataset.schema.index(name) for name in CARRIED if name in dataset.schema.names]
    if regions is None or BELONGINGS not in regions.names or not columns:
        return None
    known = (labels[:, columns] >= 0).all(axis=1)
    yes = np.array([dataset.schema.attributes[column].values.index("yes") for column in columns])
    carried = (labels[:, columns] == yes).any(axis=1)
    return area_auc(areas[:, regions.names.index(BELONGINGS)], np.where(known, carried, -1))


def label_overlap(labels: NDArray[np.uint8], schema: RegionSchema, maps: Sequence[Path]) -> dict[str, float | None]:
    """How far label maps that a network learnt from agree with the truth: IoU in percent, None where neither has any.

    Args:
        labels: (N, rows, columns) uint8 region ids of `schema`; ids beyond it (nobody knows) count as background.
        maps: the true label map of each of the N images.

    Returns `foreground` first, then every region that the truth knows by name: clusters have no such regions.
    """
    known = set(schema.names) <= set(REGIONS.names)
    ids = np.array([REGIONS.names.index(name) if known else min(k, 1) for k, name in enumerate(schema.names)])
    to_region = np.zeros(256, dtype=np.uint8)
    to_region[: len(ids)] = ids
    foreground = np.zeros((2, 2), dtype=np.int64)
    parts = []
    for found, path in zip(to_region[labels], maps, strict=True):
        truth = region_truth(path, found.shape)
        foreground += confusion((truth > 0).astype(np.uint8), (found > 0).astype(np.uint8), 2)
        parts.append(count_regions(truth[None], found[None], REGIONS))
    share = float(iou(foreground)[1])
    named = RegionCounts.merge(REGIONS, parts).summary(schema.names[1:]).iou if known else {}
    return {"foreground": None if np.isnan(share) else 100.0 * share, **named}


def region_truth(path: Path, grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """The label map in a file, on a grid (see `reduced`): rows x columns uint8.

    Raises:
        DatasetError: the file is no label map.
    """
    try:
        labels = read_labels(path)
    except BadInput as error:
        raise DatasetError(f"label map {path}: {error.detail}; restore it") from None
    if labels.max(initial=0) >= len(REGIONS):
        raise DatasetError(f"label map {path} holds region {labels.max()}; ids go from 0 to {len(REGIONS) - 1}")
    return reduced(labels, grid)


def reduced(labels: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """A label map of region ids on a grid: what covers most of each cell; of equal shares, the smaller id."""
    planes = (labels == np.arange(len(REGIONS), dtype=np.uint8)[:, None, None]).astype(np.float32)
    return label_cells(planes, (grid[0], grid[1]))
