"""Training of the small parser on crops with label maps; batches depend on seed and epoch only."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput, ConfigError, DatasetError, ModelError, WorkError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise, resize
from vestigo_models.networks.weights import CONFIG
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.small import EmbeddedParser, ParserConfig, ParserNetwork
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.strict_model import StrictModel
from vestigo_models.training.augmentation import augment_pair
from vestigo_models.training.config import AugmentationConfig
from vestigo_models.training.state import MAX_SKIPPED_STEPS
from vestigo_models.training.trainer import TrainingResult

TERMS = ("total", "cross_entropy", "dice")
DICE_FLOOR = 1.0
"""Pixels added to numerator and denominator of soft Dice, so that a class absent from a batch has no loss."""


class ParserTrainConfig(StrictModel):
    """Configuration of one training of the small parser."""

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    epochs: int = Field(default=8, ge=1, description="passes over the images")
    batch_size: int = Field(default=32, ge=1, description="images in a batch")
    learning_rate: float = Field(default=3e-3, gt=0, description="first rate of AdamW, which falls to 0 along a cosine")
    weight_decay: float = Field(default=1e-3, ge=0, description="weight decay of AdamW")
    dice_weight: float = Field(default=1.0, ge=0, description="weight of soft Dice; 1 for the cross-entropy")
    hidden_weight: float = Field(default=1.0, gt=0, description="weight of background pixels that show belongings")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of the network's layers")
    augmentation: AugmentationConfig = Field(
        default=AugmentationConfig(
            pad=0,
            erase_probability=0.2,
            erase_area=(0.02, 0.2),
            zoom=0.15,
            brightness=0.3,
            contrast=0.3,
            saturation=0.5,
            channel_gain=0.12,
            gamma=0.4,
            grey_probability=0.1,
            shrink_probability=0.3,
            blur_probability=0.3,
            noise_probability=0.3,
            jpeg_probability=0.4,
        ),
        description="random changes of images",
    )


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """N image files and their label maps, PNGs of the same size; ids beyond the parser's classes are background."""

    images: tuple[Path, ...]
    maps: tuple[Path, ...]

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError("the training split holds no image; check the dataset's folder")
        if len(self.images) != len(self.maps):
            raise ValueError("every image has one label map")


def train_parser(
    config: ParserTrainConfig,
    data: LabelledImages,
    out: Path,
    *,
    package: ParserConfig | None = None,
    base: str | Path | None = None,
    device: str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> TrainingResult:
    """Train a parser, from random weights or those of the package `base`, and write its package into the folder `out`.

    `package` has the input size, the classes and other content of `config.json`.

    Raises:
        ConfigError: If `base` has other classes.
        DatasetError: If an image or a label map cannot be read, or the two differ in size.
        ModelError: If `out` already holds a package.
        WorkError: If the loss stays not finite; single steps are skipped and counted.
    """
    started = time.monotonic()
    if (out / CONFIG).exists():
        raise ModelError(f"{out} already holds a package; give another folder")
    package = package or ParserConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = ParserNetwork(len(package.classes)) if base is None else _load_base(base, package)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    reader = PairReader(data, package)
    steps = max(1, len(data.images) // config.batch_size)
    total = config.epochs * steps
    terms: list[list[float]] = []
    skipped = skipped_in_row = 0
    for epoch in range(config.epochs):
        terms = []
        for step, (images, labels) in enumerate(batches(reader, config, epoch), start=epoch * steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            if taken := _update(network, optimiser, images, labels, config, device):
                terms.append(taken)
            skipped += taken is None
            skipped_in_row = skipped_in_row + 1 if taken is None else 0
            if skipped_in_row >= min(MAX_SKIPPED_STEPS, steps):
                raise WorkError(
                    f"the loss or its gradient was not finite in {skipped_in_row} steps in a row, the last of them step"
                    f" {step + 1}; lower learning_rate"
                )
            progress(step + 1, total)
    EmbeddedParser(package, network).save_pretrained(out)
    losses = dict(zip(TERMS, np.mean(terms, axis=0).tolist(), strict=True))
    return TrainingResult(out, config.epochs, losses, time.monotonic() - started, skipped)


def _load_base(base: str | Path, package: ParserConfig) -> ParserNetwork:
    parser = EmbeddedParser.from_pretrained(base)
    if parser.config.classes != package.classes:
        raise ConfigError(
            f"base={str(base)!r} has the classes {', '.join(parser.config.classes)}, the training"
            f" {', '.join(package.classes)}; start from a parser of the same classes"
        )
    return parser.trainable()


class PairReader:
    """Images and label maps at the input size, cached in memory (32 KiB for a pair of 128 x 64)."""

    def __init__(self, data: LabelledImages, package: ParserConfig) -> None:
        self._data = data
        self._size, self._classes = package.input_size, len(package.classes)
        self.read = cache(self._read)

    def __len__(self) -> int:
        return len(self._data.images)

    def _read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Return an RGB image (H, W, 3) and class ids (H, W); the id after the last class stands for all others."""
        path = self._data.images[index]
        try:
            image, labels = read_image(path), read_labels(self._data.maps[index])
        except BadInput as error:
            raise DatasetError(f"training image {path.name}: {error.detail}; restore the file") from None
        if labels.shape != image.shape[:2]:
            raise DatasetError(
                f"{self._data.maps[index]} is {labels.shape[1]}x{labels.shape[0]}, its image"
                f" {image.shape[1]}x{image.shape[0]}; a label map must have the size of its image"
            )
        height, width = self._size
        labels = np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        return resize(image, self._size), np.minimum(labels, self._classes).astype(np.uint8)


def batches(reader: PairReader, config: ParserTrainConfig, epoch: int) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Yield the augmented images (B, H, W, 3) and label maps (B, H, W) of an epoch, without incomplete batches."""
    order = np.random.default_rng((config.seed, epoch)).permutation(len(reader))
    steps = max(1, len(order) // config.batch_size)

    def prepare(step: int) -> tuple[UInt8Array, UInt8Array]:
        images, maps = [], []
        for index in order[step * config.batch_size : (step + 1) * config.batch_size]:
            rng = np.random.default_rng((config.seed, epoch, 1, index))
            image, labels = augment_pair(*reader.read(index), config.augmentation, rng)
            images.append(image)
            maps.append(labels)
        return np.stack(images), np.stack(maps)  # type: ignore[arg-type]

    # One batch ahead on one thread is enough: the network takes most of the time.
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, 0)
        for step in range(1, steps + 1):
            ready = ahead.result()
            if step < steps:
                ahead = pool.submit(prepare, step)
            yield ready


def _update(
    network: ParserNetwork,
    optimiser: torch.optim.Optimizer,
    images: UInt8Array,
    labels: UInt8Array,
    config: ParserTrainConfig,
    device: str,
) -> list[float] | None:
    """Take one step and return the loss terms in the order of `TERMS`; None if they or a gradient are not finite."""
    network.train()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    known = torch.from_numpy(labels.astype(np.int64)).to(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = network(normalise(images, IMAGENET_MEAN, IMAGENET_STD, device))
    # At the resolution of the input, since `EmbeddedParser` enlarges logits to that of the image.
    logits = functional.interpolate(logits.float(), known.shape[1:], mode="bilinear", align_corners=False)
    entropy = cross_entropy(logits, known, config.hidden_weight)
    dice = dice_loss(logits, mark_background(known, logits))
    total = entropy + config.dice_weight * dice
    optimiser.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    terms = [float(term.detach()) for term in (total, entropy, dice)]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    if not (np.isfinite(terms).all() and all(gradient.isfinite().all() for gradient in gradients)):
        for buffer, before in buffers:
            buffer.copy_(before)
        return None
    optimiser.step()
    return terms


def mark_background(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels (B x H x W) with the id after the last class of `logits` (B x classes x H x W) as background."""
    return labels.masked_fill(labels == logits.shape[1], 0)


def cross_entropy(logits: Tensor, labels: Tensor, hidden_weight: float) -> Tensor:
    """Return the mean over pixels; the id after the last class is background with the weight `hidden_weight`."""
    weights = torch.where(labels == logits.shape[1], hidden_weight, 1.0)
    losses = functional.cross_entropy(logits, mark_background(labels, logits), reduction="none")
    return (losses * weights).sum() / weights.sum()


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - soft Dice (Milletari et al., 3DV 2016), averaged over classes; the batch counts as one image.

    `logits` are B x classes x H x W, `labels` class ids, B x H x W.
    """
    predicted = logits.softmax(dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(predicted.dtype)
    intersection = (predicted * truth).sum(dim=(0, 2, 3))
    total = predicted.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    return (1 - (2 * intersection + DICE_FLOOR) / (total + DICE_FLOOR)).mean()
