"""The training set of a recipe, taken from a dataset's training split."""

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet


def training_set(dataset: ReidDataset, recipe: TrainConfig, parsed: NDArray[np.uint8] | None) -> TrainingSet:
    """Return the training split of a dataset with the labels that a recipe learns from.

    Args:
        dataset: Dataset; with attributes if the recipe trains attribute heads.
        recipe: Training configuration.
        parsed: (N, rows, columns) region ids of the parser, None if the recipe needs no parser.
    """
    split = dataset.train
    has_attributes = recipe.network.attributes != "none"
    return TrainingSet(
        paths=split.paths,
        pids=split.relabelled()[0],
        camids=split.camids,
        schema=dataset.schema if has_attributes else None,
        attributes=split.labels if has_attributes else None,
        parsed=parsed,
    )
