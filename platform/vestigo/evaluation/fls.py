"""Label maps from fusion beside those of its parts and of an oracle (specification, section 5.3): what does FLS add?

All are compared on the network's grid with what covers most of each cell in truth. Counts add up over identities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vestigo.datasets.reid import ReidDataset, region_maps
from vestigo.evaluation.metrics.regions import RegionCounts, RegionMetrics, count_regions
from vestigo.evaluation.regions import CARRIED, reduced, region_truth
from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.oracle import oracle_labels
from vestigo_models.inference.region_finder import RegionMap
from vestigo_models.parsing.overlap import confusion, iou
from vestigo_models.schemas.regions import BELONGINGS, REGIONS

Labels = NDArray[np.uint8]
METHODS = ("parser", "clustering", "fls", "oracle")


@dataclass(frozen=True, kw_only=True)
class MethodMetrics:
    """One way to make label maps.

    Attributes:
        regions: overlap with the true regions.
        belongings: carried attribute -> IoU of belongings in percent over the images of those who carry it; None where
            neither truth nor maps show any.
    """

    regions: RegionMetrics
    belongings: dict[str, float | None]


class FusionJudge:
    """Watches label maps pass by, identity by identity, and counts where they agree with the dataset's.

    Raises:
        ConfigError: there are more clusters than regions to name them by.
        DatasetError: the dataset lacks a label map.
    """

    def __init__(self, dataset: ReidDataset, config: FlsConfig) -> None:
        if config.clusters > len(REGIONS):
            raise ConfigError(f"fls.clusters={config.clusters}: at most {len(REGIONS)} can be judged")
        self._config = config
        self._truth: dict[Path, Path] = {}
        self._carried: dict[Path, tuple[str, ...]] = {}
        names = [name for name in CARRIED if name in dataset.schema.names]
        yes = {name: dataset.schema[name].values.index("yes") for name in names}
        for split in (dataset.train, dataset.query, dataset.gallery):
            self._truth |= dict(zip(split.paths, region_maps(dataset.root, split.paths), strict=True))
            for path, row in zip(split.paths, split.labels, strict=True):
                self._carried[path] = tuple(n for n in names if row[dataset.schema.index(n)] == yes[n])
        self._counts = {method: RegionCounts.merge(REGIONS, []) for method in METHODS}
        self._belongings = {(method, name): np.zeros((2, 2), dtype=np.int64) for method in METHODS for name in names}
        self._names = names

    def __call__(self, paths: Sequence[Path], maps: Sequence[RegionMap]) -> None:
        """Count for the images of one identity; those that the dataset does not know, as junk, are left out."""
        known = [(path, found) for path, found in zip(paths, maps, strict=True) if path in self._truth]
        if not known:
            return
        grid = known[0][1].grid.shape
        truth = np.stack([region_truth(self._truth[path], grid) for path, _ in known])
        found: dict[str, Labels] = {
            "parser": np.stack([reduced(one.body, grid) for _, one in known]),
            "clustering": np.stack([np.zeros(grid, np.uint8) if o.clusters is None else o.clusters for _, o in known]),
            "fls": np.stack([one.grid for _, one in known]),
            "oracle": oracle_labels(truth, self._config),
        }
        for method, labels in found.items():
            counts = count_regions(truth, labels, REGIONS)
            self._counts[method] = RegionCounts.merge(REGIONS, [self._counts[method], counts])
            for index, (path, _) in enumerate(known):
                both = confusion(
                    (truth[index] == BELONGINGS).astype(np.uint8), (labels[index] == BELONGINGS).astype(np.uint8), 2
                )
                for name in self._carried[path]:
                    self._belongings[method, name] += both

    def judgement(self) -> dict[str, MethodMetrics]:
        """The methods in the order of `METHODS`. Clusters have no names: they get those that suit them best, and as
        they have none of belongings either, those are judged only as one of the regions."""
        return {
            method: MethodMetrics(
                regions=(named(self._counts[method]) if method == "clustering" else self._counts[method]).summary(),
                belongings={
                    name: None if method == "clustering" else _percent(self._belongings[method, name])
                    for name in self._names
                },
            )
            for method in METHODS
        }


def named(counts: RegionCounts) -> RegionCounts:
    """The same counts with the clusters 1..K-1 (columns) in the order in which they overlap most with the regions."""
    cells = counts.cells
    either = cells.sum(axis=0)[None, :] + cells.sum(axis=1)[:, None] - cells
    overlap = np.divide(cells, either, out=np.zeros(cells.shape), where=either > 0)
    _, chosen = linear_sum_assignment(overlap[1:, 1:], maximize=True)
    return RegionCounts(schema=counts.schema, images=counts.images, cells=cells[:, [0, *(chosen + 1)]])


def shares_of_oracle(judged: Mapping[str, MethodMetrics]) -> dict[str, float | None]:
    """Carried attribute -> IoU of belongings with FLS in percent of the oracle's; None where that has none."""
    ours, best = judged["fls"].belongings, judged["oracle"].belongings
    return {name: 100 * (ours[name] or 0.0) / value if (value := best[name]) else None for name in best}


def _percent(counts: NDArray[np.int64]) -> float | None:
    share = float(iou(counts)[1])
    return None if np.isnan(share) else 100.0 * share
