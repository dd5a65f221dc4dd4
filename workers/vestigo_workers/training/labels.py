"""Parse training images on an executor, with the label maps of one process bit for bit."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vestigo_models.arrays import UInt8Array
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.parsing.registry import PARSERS, make_parser
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.relabel import parse_labels
from vestigo_models.training.state import feature_grid
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.executors.batches import Batch, BatchPool, cut_batches


class TrainingParser:
    """Loads a parser once and parses batches of training images."""

    def __init__(
        self,
        reference: str,
        label_map: Mapping[str, str] | None,
        device: str,
        grid: tuple[int, int],
        atr_bag_seed: bool,
    ) -> None:
        self._parser = make_parser(reference, label_map, resolve_device(device))
        self._grid = grid
        self._atr_bag_seed = atr_bag_seed

    def process(self, batch: Batch[Path]) -> UInt8Array:
        """Return the label maps of a batch, region ids (N, rows, columns) on the network's grid."""
        return parse_labels(batch.inputs, self._parser, self._grid, atr_bag_seed=self._atr_bag_seed)


def parse_training_images(
    paths: Sequence[Path],
    recipe: TrainConfig,
    settings: ExecutorSettings,
    *,
    label_map: Mapping[str, str] | None = None,
    progress: ProgressCallback = ignore_progress,
) -> UInt8Array:
    """Return the label maps of training images by a recipe's parser, see `parse_labels`; memory is the maps.

    Args:
        paths: The N images; the workers must see them under the same paths.
        recipe: Training configuration with a parser.
        settings: The executor; `shard_size` images are a batch.
        label_map: Regions of the classes that the parser does not name.
        progress: Receives the number of images done and N.

    Raises:
        ConfigError: There is no such parser.
        ModelError: The parser cannot be loaded.
        DatasetError: An image cannot be read or parsed.
        WorkError: No worker starts.
    """
    grid = feature_grid(recipe)
    reference = PARSERS.absolute(recipe.parser)
    factory = partial(TrainingParser, reference, label_map, settings.device, grid, recipe.atr_bag_seed)
    labels = np.empty((len(paths), *grid), dtype=np.uint8)
    pool: BatchPool[Path, UInt8Array] = BatchPool(factory, settings)
    with pool:
        images = [path.absolute() for path in paths]
        for batch, result in pool.process(cut_batches(images, settings.shard_size), progress):
            if isinstance(result, BadInput):
                path = batch.inputs[0]
                raise DatasetError(f"training image {path}: its worker died ({result.detail}); remove the file")
            labels[batch.first : batch.first + len(batch.inputs)] = result
    return labels
