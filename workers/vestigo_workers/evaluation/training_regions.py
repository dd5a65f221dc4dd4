"""Evaluate regions on training images on an executor, with the metrics of one process."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vestigo.evaluation.regions import TrainingRegionCounts, TrainingRegionMetrics, count_training_regions
from vestigo_models.arrays import UInt8Array
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.parsing.registry import PARSERS, make_parser
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.executors.batches import Batch, BatchPool, cut_batches

TrainingInput = tuple[Path, UInt8Array | None]
"""A training image, and the label map (rows, columns) that the network learnt from."""


class TrainingRegionWorker:
    """Loads a model and a parser once and compares their regions on batches of training images."""

    def __init__(self, package: ModelPackage, parser: str, device: str) -> None:
        self._extractor = Extractor(package, resolve_device(device))
        self._parser = make_parser(parser, device=str(self._extractor.device))

    def process(self, batch: Batch[TrainingInput]) -> TrainingRegionCounts:
        """Count where the regions of a batch agree."""
        maps = [labels for _, labels in batch.inputs if labels is not None]
        paths = [path for path, _ in batch.inputs]
        return count_training_regions(paths, self._extractor, self._parser, np.stack(maps) if maps else None)


def evaluate_training_images(
    paths: Sequence[Path],
    package: ModelPackage,
    parser: str,
    settings: ExecutorSettings,
    labels: UInt8Array | None = None,
    progress: ProgressCallback = ignore_progress,
) -> TrainingRegionMetrics:
    """Evaluate as `vestigo.evaluation.regions.evaluate_training_regions` does, on an executor.

    `parser` is the reference of a parser. `shard_size` images are a batch, and the workers must see them under the same
    paths.

    Raises:
        ConfigError: The model has no regions, or the parser has other classes than LIP.
        WorkError: No worker starts, or workers die of every image.
    """
    maps: Sequence[UInt8Array | None] = [None] * len(paths) if labels is None else list(labels)
    images = list(zip([path.absolute() for path in paths], maps, strict=True))
    factory = partial(TrainingRegionWorker, package, PARSERS.absolute(parser), settings.device)
    parts: dict[int, TrainingRegionCounts] = {}
    lost: dict[int, str] = {}
    pool: BatchPool[TrainingInput, TrainingRegionCounts] = BatchPool(factory, settings)
    with pool:
        for batch, result in pool.process(cut_batches(images, settings.shard_size), progress):
            if isinstance(result, BadInput):
                lost[batch.first] = result.reason
            else:
                parts[batch.first] = result
        if not parts:
            parts = dict(_empty_part(pool))
    return TrainingRegionCounts.joined(parts, lost).metrics(len(paths), has_labels=labels is not None)


def _empty_part(pool: BatchPool[TrainingInput, TrainingRegionCounts]) -> list[tuple[int, TrainingRegionCounts]]:
    results = pool.process(cut_batches([], 1), ignore_progress)
    return [(batch.first, result) for batch, result in results if not isinstance(result, BadInput)]
