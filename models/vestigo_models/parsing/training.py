"""Training the embedded parser on crops whose pixels are labelled: a plain loop, every batch fixed by its place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from vestigo_models.errors import BadInput, ConfigError, DatasetError, ModelError, WorkError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise, resize
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.small import CONFIG, EmbeddedParser, ParserConfig, ParserNetwork
from vestigo_models.training.augmentation import augment_pair
from vestigo_models.training.config import AugmentationConfig

TERMS = ("total", "cross_entropy", "dice")
DICE_FLOOR = 1.0
"""Pixels added above and below the fraction of soft Dice, so that a class absent from a batch costs nothing."""


class ParserTrainConfig(BaseModel):
    """One training of the embedded parser."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="every random choice follows from it")
    epochs: int = Field(default=8, ge=1, description="passes over the images")
    batch_size: int = Field(default=32, ge=1, description="images in a batch")
    learning_rate: float = Field(default=3e-3, gt=0, description="AdamW's first rate; a cosine takes it to 0")
    weight_decay: float = Field(default=1e-3, ge=0, description="AdamW's")
    dice_weight: float = Field(default=1.0, ge=0, description="of the soft Dice loss beside the cross-entropy")
    hidden_weight: float = Field(
        default=1.0, gt=0, description="in the cross-entropy, of pixels that are background for want of a class"
    )
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of the network's own layers")
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
        description="see its own keys",
    )


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """N image files, and the label map of each: a PNG of the image's size; ids beyond the parser's are background."""

    images: tuple[Path, ...]
    maps: tuple[Path, ...]

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError("the training split holds no image; check the dataset's folder")
        if len(self.images) != len(self.maps):
            raise ValueError("every image has one label map")


@dataclass(frozen=True, kw_only=True)
class ParserTraining:
    """The package that was written, and the loss terms averaged over the last epoch."""

    model: Path
    epochs: int
    losses: dict[str, float]
    seconds: float


def train_parser(
    config: ParserTrainConfig,
    data: LabelledImages,
    out: Path,
    *,
    package: ParserConfig | None = None,
    base: str | Path | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], object] | None = None,
) -> ParserTraining:
    """Train from random weights, or on from the package `base`, and write a parser package into the folder `out`.

    `package` says the input's size and the classes, and may say what else enters `config.json`; `progress` is called
    with the steps done and their total.

    Raises:
        ConfigError: `base` has other classes.
        DatasetError: an image or a label map cannot be read, or the two differ in size.
        ModelError: `out` already holds a package.
        WorkError: the loss is no longer a number.
    """
    started = time.monotonic()
    if (out / CONFIG).exists():
        raise ModelError(f"{out} already holds a package; give another folder")
    package = package or ParserConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = ParserNetwork(len(package.classes)) if base is None else _continued(base, package)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    reader = PairReader(data, package)
    steps = max(1, len(data.images) // config.batch_size)
    total = config.epochs * steps
    terms: list[list[float]] = []
    for epoch in range(config.epochs):
        terms = []
        for step, (images, labels) in enumerate(batches(reader, config, epoch), start=epoch * steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            terms.append(_update(network, optimiser, images, labels, config, device))
            if not np.isfinite(terms[-1]).all():
                raise WorkError(f"the loss is {terms[-1][0]} in step {step + 1}; lower learning_rate")
            if progress:
                progress(step + 1, total)
    EmbeddedParser(package, network).save_pretrained(out)
    losses = dict(zip(TERMS, np.mean(terms, axis=0).tolist(), strict=True))
    return ParserTraining(model=out, epochs=config.epochs, losses=losses, seconds=time.monotonic() - started)


def _continued(base: str | Path, package: ParserConfig) -> ParserNetwork:
    started = EmbeddedParser.from_pretrained(base)
    if started.config.classes != package.classes:
        raise ConfigError(
            f"base={str(base)!r} tells {', '.join(started.config.classes)} apart, the training"
            f" {', '.join(package.classes)}; start from a parser of the same classes"
        )
    return started.trainable()


class PairReader:
    """Images and label maps at the input size, kept in memory after the first reading (32 KiB a pair of 128 x 64)."""

    def __init__(self, data: LabelledImages, package: ParserConfig) -> None:
        self._data = data
        self._size, self._classes = package.input_size, len(package.classes)
        self._images = np.empty((len(data.images), *self._size, 3), dtype=np.uint8)
        self._labels = np.empty((len(data.images), *self._size), dtype=np.uint8)
        self._is_kept = np.zeros(len(data.images), dtype=bool)

    def __len__(self) -> int:
        return len(self._data.images)

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB uint8 H x W x 3 and class ids uint8 H x W, one more than the last for what the parser has no class for.

        Raises:
            DatasetError: a file cannot be read, or the two differ in size.
        """
        if not self._is_kept[index]:
            self._images[index], self._labels[index] = self._load(index)
            self._is_kept[index] = True
        return self._images[index], self._labels[index]

    def _load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = self._data.images[index]
        try:
            image, labels = read_image(path), read_labels(self._data.maps[index])
        except BadInput as error:
            raise DatasetError(f"training image {path.name}: {error.detail}; restore the file") from None
        if labels.shape != image.shape[:2]:
            raise DatasetError(
                f"{self._data.maps[index]} is {labels.shape[1]}x{labels.shape[0]}, its image"
                f" {image.shape[1]}x{image.shape[0]}; a label map has the size of its image"
            )
        height, width = self._size
        labels = np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        return resize(image, self._size), np.minimum(labels, self._classes).astype(np.uint8)


def batches(
    reader: PairReader, config: ParserTrainConfig, epoch: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield the changed images (B x H x W x 3 uint8) and label maps (B x H x W uint8) of an epoch, prepared ahead.

    What is left of the images after the last whole batch waits for another epoch's order.
    """
    order = np.random.default_rng((config.seed, epoch)).permutation(len(reader))
    steps = max(1, len(order) // config.batch_size)

    def prepare(step: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, maps = [], []
        for index in order[step * config.batch_size : (step + 1) * config.batch_size]:
            rng = np.random.default_rng((config.seed, epoch, 1, index))
            image, labels = augment_pair(*reader.read(index), config.augmentation, rng)
            images.append(image)
            maps.append(labels)
        return np.stack(images), np.stack(maps)  # type: ignore[arg-type]

    # One batch ahead is enough, and one thread: the network's own takes most of the time.
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
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    config: ParserTrainConfig,
    device: str,
) -> list[float]:
    """One step; returns the loss terms in the order of `TERMS`."""
    network.train()
    x = normalise(images, IMAGENET_MEAN, IMAGENET_STD, device)
    known = torch.from_numpy(labels.astype(np.int64)).to(device)
    kind = torch.device(device).type
    with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = network(x)
    # Judged at the pixels of the input, as `EmbeddedParser` enlarges to those of the image.
    logits = functional.interpolate(logits.float(), known.shape[1:], mode="bilinear", align_corners=False)
    entropy, dice = cross_entropy(logits, known, config.hidden_weight), dice_loss(logits, as_background(known, logits))
    total = entropy + config.dice_weight * dice
    optimiser.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return [float(term.detach()) for term in (total, entropy, dice)]


def as_background(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels B x H x W int64 in which the id after the last class of `logits` (B x classes x H x W) is background."""
    return labels.masked_fill(labels == logits.shape[1], 0)


def cross_entropy(logits: Tensor, labels: Tensor, hidden_weight: float) -> Tensor:
    """The mean over pixels, in which those of the id after the last class are background and count `hidden_weight`."""
    weights = torch.where(labels == logits.shape[1], hidden_weight, 1.0)
    losses = functional.cross_entropy(logits, as_background(labels, logits), reduction="none")
    return (losses * weights).sum() / weights.sum()


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice (Milletari et al., 3DV 2016), averaged over classes; the batch counts as one image.

    Logits B x classes x H x W, labels B x H x W int64.
    """
    found = logits.softmax(dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(found.dtype)
    both = (found * truth).sum(dim=(0, 2, 3))
    each = found.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    return (1 - (2 * both + DICE_FLOOR) / (each + DICE_FLOOR)).mean()
