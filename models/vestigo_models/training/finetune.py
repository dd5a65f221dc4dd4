"""How a whole network is trained on: from the weights of a package, gently, with the regions that it sees already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vestigo_models.schemas.regions import BODY_REGIONS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader

EPOCHS = 3
GENTLY = 0.1
"""The learning rate beside that of a training from the start."""
SURE = 0.9
"""From this probability on, what a model thinks of an attribute counts as its label."""


def retraining_recipe(
    package: ModelPackage, folder: Path, identities: int, *, epochs: int = EPOCHS, noise: float = 0.0, seed: int = 0
) -> TrainConfig:
    """The recipe that trains all weights of a package on.

    The network, its input and losses are those of the package, augmentation that of its backbone, the rate a tenth of
    the usual and constant. Label maps are not made anew, see `own_maps`; a network of clusters makes its own.

    Args:
        package: the base, saved in `folder`.
        identities: how many people there are to train on; a batch holds 16 of them, or all where there are fewer.
        noise: share of the attribute labels that are wrong (fraction).

    Raises:
        ConfigError: fewer than two identities, or a package whose input is not normalised as trainings do it.
    """
    if identities < 2:
        raise ConfigError(f"{identities} identities: a network learns from at least 2; correct more, or replay some")
    config = package.config
    if (config.mean, config.std) != (IMAGENET_MEAN, IMAGENET_STD):
        raise ConfigError(
            f"model {package.name!r}: its input is normalised otherwise (mean, std); refit its heads only"
        )
    backbone = config.network.backbone
    usual = TrainConfig.load("full", backbone=backbone)
    fls = config.fls or FlsConfig(labels="parser" if config.network.regions == len(BODY_REGIONS) else "fls")
    changes = {
        "network": config.network.model_dump(),
        "input_size": config.input_size,
        "base": str(folder),
        "seed": seed,
        "epochs": epochs,
        "warmup_epochs": 0,
        "milestones": (),
        "learning_rate": GENTLY * usual.learning_rate,
        "batch_identities": min(usual.batch_identities, identities),
        "attr_noise": noise,
        "fls": fls.model_dump(),
        "fls_start_epoch": epochs + 1,
    }
    return TrainConfig.load("full", changes, backbone=backbone)


def own_maps(
    package: ModelPackage, paths: tuple[Path, ...], device: str = "cpu", batch_size: int = 32
) -> NDArray[np.uint8]:
    """The likeliest region of each cell as the package sees it, N x rows x columns uint8.

    As label maps they hold the pixel classifier where it is while the network learns something else.

    Raises:
        DatasetError: an image cannot be read.
        ValueError: the model has no regions.
    """
    extractor, reader = Extractor(package, device, batch_size), ImageReader(paths, package.input_size, 0.0)
    maps = np.empty((len(paths), *package.grid), dtype=np.uint8)
    for start in range(0, len(paths), batch_size):
        rows = range(start, min(start + batch_size, len(paths)))
        maps[rows.start : rows.stop] = extractor.regions([reader.read(row) for row in rows]).argmax(axis=3)
    return maps
