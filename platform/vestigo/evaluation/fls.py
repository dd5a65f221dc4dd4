"""Evaluate label maps of FLS against those of its inputs and of an oracle, as in docs/method.md, "Fusion".

All are compared on the network's grid with the region that covers most of each cell. Counts add up over identities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.metrics.regions import RegionMetrics, region_metrics, to_percent
from vestigo.evaluation.regions import carried_attributes, downsample_labels, read_truth
from vestigo_models.arrays import Int64Array, UInt8Array
from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import oracle_labels
from vestigo_models.inference.region_finder import RegionMap
from vestigo_models.parsing.label_maps import confusion, iou
from vestigo_models.schemas.regions import BELONGINGS, REGIONS

METHODS = ("parser", "clustering", "fls", "oracle")


@dataclass(frozen=True, kw_only=True)
class MethodMetrics:
    """Metrics of one method to make label maps."""

    regions: RegionMetrics
    # Carried attribute -> IoU of belongings in percent, over the images of people who carry it; None if neither the
    # truth nor the maps show belongings
    belongings: dict[str, float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class FusionCounts:
    """Counts of some identities, which add up with those of others."""

    cells: dict[str, Int64Array]  # Method -> cells by true and predicted region, (K, K)
    belongings: dict[tuple[str, str], Int64Array]  # Method and carried attribute -> cells by belongings or not, (2, 2)
    images: int

    def __add__(self, other: FusionCounts) -> FusionCounts:
        return FusionCounts(
            cells={method: cells + other.cells[method] for method, cells in self.cells.items()},
            belongings={key: cells + other.belongings[key] for key, cells in self.belongings.items()},
            images=self.images + other.images,
        )


class FusionEvaluator:
    """Counts where label maps agree with the dataset's, identity by identity; workers count with copies of it.

    Raises:
        ConfigError: If there are more clusters than regions.
        DatasetError: If the dataset lacks a label map.
    """

    def __init__(self, dataset: ReidDataset, config: FlsConfig) -> None:
        if config.clusters > len(REGIONS):
            raise ConfigError(f"fls.clusters={config.clusters}: at most {len(REGIONS)} can be evaluated")
        self._config = config
        self._truth: dict[Path, Path] = {}
        self._carried: dict[Path, tuple[str, ...]] = {}
        names = carried_attributes(dataset.schema)
        yes = {name: dataset.schema[name].values.index("yes") for name in names}
        for split in (dataset.train, dataset.query, dataset.gallery):
            paths = [path.absolute() for path in split.paths]
            maps = [path.absolute() for path in region_maps(dataset.root, split.paths)]
            self._truth |= dict(zip(paths, maps, strict=True))
            for path, row in zip(paths, split.labels, strict=True):
                self._carried[path] = tuple(n for n in names if row[dataset.schema.index(n)] == yes[n])
        self._names = names
        self._counts = self.no_counts()

    def no_counts(self) -> FusionCounts:
        """Return the counts of no identity."""
        return FusionCounts(
            cells={method: np.zeros((len(REGIONS), len(REGIONS)), dtype=np.int64) for method in METHODS},
            belongings={(method, name): np.zeros((2, 2), np.int64) for method in METHODS for name in self._names},
            images=0,
        )

    def add(self, counts: FusionCounts) -> None:
        """Add the counts of some identities to the result."""
        self._counts += counts

    def count(self, paths: Sequence[Path], maps: Sequence[RegionMap]) -> FusionCounts:
        """Count for the images of one identity; images that are not in the dataset, such as junk, are skipped."""
        counts = self.no_counts()
        images = zip([path.absolute() for path in paths], maps, strict=True)
        known = [(path, region_map) for path, region_map in images if path in self._truth]
        if not known:
            return counts
        grid = known[0][1].grid.shape
        truth = np.stack([read_truth(self._truth[path], grid) for path, _ in known])
        by_method: dict[str, UInt8Array] = {
            "parser": np.stack([downsample_labels(made.body, grid) for _, made in known]),
            "clustering": np.stack([np.zeros(grid, np.uint8) if m.clusters is None else m.clusters for _, m in known]),
            "fls": np.stack([made.grid for _, made in known]),
            "oracle": oracle_labels(truth, self._config),
        }
        for method, labels in by_method.items():
            counts.cells[method][:] += confusion(truth, labels, len(REGIONS))
            for index, (path, _) in enumerate(known):
                both = confusion(truth[index] == BELONGINGS, labels[index] == BELONGINGS, 2)
                for name in self._carried[path]:
                    counts.belongings[method, name][:] += both
        return replace(counts, images=len(known))

    def result(self) -> dict[str, MethodMetrics]:
        """Return the metrics in the order of `METHODS`.

        Clusters are named by the regions that they overlap most, and have no belongings by attribute.
        """
        return {
            method: MethodMetrics(
                regions=region_metrics(name_clusters(cells) if method == "clustering" else cells, self._counts.images),
                belongings={
                    name: None if method == "clustering" else to_percent(iou(self._counts.belongings[method, name])[1])
                    for name in self._names
                },
            )
            for method, cells in self._counts.cells.items()
        }


def name_clusters(cells: Int64Array) -> Int64Array:
    """Return counts with clusters 1 to K-1 (columns) in the order in which they overlap most with the regions."""
    either = cells.sum(axis=0)[None, :] + cells.sum(axis=1)[:, None] - cells
    overlap = np.divide(cells, either, out=np.zeros(cells.shape), where=either > 0)
    _, columns = linear_sum_assignment(overlap[1:, 1:], maximize=True)
    return np.asarray(cells[:, [0, *(columns + 1)]])


def shares_of_oracle(metrics: Mapping[str, MethodMetrics]) -> dict[str, float | None]:
    """Return carried attribute -> IoU of belongings with FLS in percent of the oracle's, None if that is zero."""
    fls, oracle = metrics["fls"].belongings, metrics["oracle"].belongings
    return {name: 100 * (fls[name] or 0.0) / value if (value := oracle[name]) else None for name in oracle}
