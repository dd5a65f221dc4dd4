"""Fine-tuning of a whole network from the weights of a package."""

from pathlib import Path

import numpy as np

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vestigo_models.schemas.regions import BODY_REGIONS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader

EPOCHS = 3
LEARNING_RATE_FACTOR = 0.1
"""Learning rate as a fraction of that of a training from the start."""
MIN_LABEL_PROBABILITY = 0.9
"""Least probability of a prediction that counts as a label."""


def finetuning_config(
    package: ModelPackage, folder: Path, identities: int, *, epochs: int = EPOCHS, noise: float = 0.0, seed: int = 0
) -> TrainConfig:
    """Return the configuration that trains all weights of a package further.

    Network and input are those of the package, losses and augmentation those of `full` with its backbone. The learning
    rate is constant. Label maps are not refreshed, see `predict_label_maps`, except those of clusters. `folder` is that
    of the base, `identities` the number of training identities, and `noise` the error rate of attribute labels.

    Raises:
        ConfigError: If there are fewer than two identities, or the package has another normalisation of its input.
    """
    if identities < 2:
        raise ConfigError(f"{identities} identities: training needs at least 2; annotate more, or replay some")
    config = package.config
    if (config.mean, config.std) != (IMAGENET_MEAN, IMAGENET_STD):
        raise ConfigError(f"model {package.name!r}: its input has another mean and std; refit its heads only")
    backbone = config.network.backbone
    default = TrainConfig.load("full", backbone=backbone)
    fls = config.fls or FlsConfig(labels="parser" if config.network.regions == len(BODY_REGIONS) else "fls")
    changes = {
        "network": config.network.model_dump(),
        "input_size": config.input_size,
        "base": str(folder),
        "seed": seed,
        "epochs": epochs,
        "warmup_epochs": 0,
        "milestones": (),
        "learning_rate": LEARNING_RATE_FACTOR * default.learning_rate,
        "batch_identities": min(default.batch_identities, identities),
        "attr_noise": noise,
        "fls": fls.model_dump(),
        "fls_start_epoch": epochs + 1,
    }
    return TrainConfig.load("full", changes, backbone=backbone)


def predict_label_maps(
    package: ModelPackage, paths: tuple[Path, ...], device: str = "cpu", batch_size: int = 32
) -> UInt8Array:
    """Return the most probable region of each cell by the package's pixel classifier, (N, rows, columns).

    As label maps they keep the pixel classifier constant while the network learns attributes.
    """
    extractor, reader = Extractor(package, device, batch_size), ImageReader(paths, package.input_size, 0.0)
    maps = np.empty((len(paths), *package.grid), dtype=np.uint8)
    for start in range(0, len(paths), batch_size):
        images = [reader.read(row) for row in range(len(paths))[start : start + batch_size]]
        maps[start : start + batch_size] = extractor.regions(images).argmax(axis=3)
    return maps
