"""The state of a training, its steps, and its checkpoints."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vestigo_models.arrays import Int64Array, UInt8Array
from vestigo_models.errors import ConfigError, ModelError, WorkError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.networks.backbones import BACKBONES
from vestigo_models.networks.build import build_network
from vestigo_models.networks.efficientnet import EfficientNetLite0
from vestigo_models.networks.outputs import PretrainedBackbone, ReidNetwork
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.progress import ProgressCallback
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.checkpoint import load_checkpoint, write_checkpoint
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader, TrainingSet, batches, identity_batches
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import BatchTargets, Objective
from vestigo_models.training.relabel import compare_maps, initial_labels, is_refresh_due, refresh_labels

CHECKPOINT = "checkpoint.pt"
MAX_SKIPPED_STEPS = 20
"""Steps in a row that may be skipped; float16 finds its scale in fewer."""
OVERFLOW = "the scaled gradient overflows float16"
"""Why a step is skipped while the scale of float16 is adapted, which is usual and not counted."""
STATEFUL = ("network", "objective", "adam", "sgd", "scaler")
"""Parts of a training whose `state_dict` a checkpoint holds."""
IMAGENET = "imagenet"
"""Weights that come with Vestigo."""
ONE_CYCLE_START = 1 / 25
"""Rate at the start of one cycle, as a fraction of the highest."""
PACKAGE_PREFIX = "package:"
"""Prefix of weights that are the backbone of a model package."""


def learning_rate(epoch: int, config: TrainConfig, fraction: float = 0.0) -> float:
    """Return the learning rate of the 1-based `epoch`, of which the `fraction` 0 to 1 is over.

    The schedule `steps` is constant in an epoch: a linear warm-up, then a factor at each milestone. `one_cycle` (Smith
    and Topin, 2019) rises from a 25th to the full rate during the warm-up and falls to 0, both along a cosine.
    Warm-up and milestones are stated for `schedule_epochs` epochs and scaled to those of the training.
    """
    if config.schedule == "one_cycle":
        t = (epoch - 1 + fraction) / config.epochs
        rise = config.warmup_epochs / config.schedule_epochs
        if t < rise:
            return config.learning_rate * (1 - (1 - ONE_CYCLE_START) * (1 + math.cos(math.pi * t / rise)) / 2)
        return config.learning_rate * (1 + math.cos(math.pi * (t - rise) / (1 - rise))) / 2
    t = epoch * config.schedule_epochs / config.epochs
    if t < config.warmup_epochs:
        return config.learning_rate * (0.01 + 0.99 * t / config.warmup_epochs)
    passed = sum(t >= milestone for milestone in config.milestones)
    return config.learning_rate * config.decay**passed


class TrainingRun:
    """A training at a step of an epoch, on one of the workers that train together."""

    def __init__(self, config: TrainConfig, data: TrainingSet, device: str, ranks: Ranks) -> None:
        self.config, self.data, self.ranks = config, data, ranks
        self.device = torch.device(device)
        self.size = config.input_size or BACKBONES[config.network.backbone].native_size
        self.schema = data.schema if config.network.attributes != "none" else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = build_network(
                config.network,
                identities=data.identities,
                schema=self.schema,
                regions=config.region_schema,
                attr_dropout=config.attr_dropout,
                awm_dropout=config.awm_dropout,
            )
            objective = Objective(network, config, data.identities, self.schema, data.attributes)
        load_weights(network, config, self.schema)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = objective.to(self.device)
        self.frozen = _freeze_stages(self.network, config.frozen_stages)
        optimiser = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
        self.adam = optimiser(_parameter_groups(self.network, config), lr=config.learning_rate)
        self.sgd = torch.optim.SGD(self.objective.parameters(), lr=config.centre_learning_rate)
        automatic = "float16" if self.device.type == "cuda" else "float32"
        dtype = getattr(torch, automatic if config.precision == "auto" else config.precision)
        self.autocast = torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.epoch, self.step, self.log_bytes = 1, 0, 0
        self.skipped, self.skipped_in_row = 0, 0
        self.reader = ImageReader(data.paths, self.size, config.cache_gib)
        regions = config.network.regions
        self.maps = initial_labels(data, feature_grid(config), regions, config.fls.labels) if regions else None

    def train(self, out: Path, log: TextIO, progress: ProgressCallback) -> None:
        """Train to the end; log the loss terms, and save every epoch and every `checkpoint_steps` steps.

        Raises:
            WorkError: If many steps in a row, or all of the last ones, were skipped. The checkpoint lies behind them.
        """
        config = self.config
        width = config.batch_size // self.ranks.size
        share = slice(self.ranks.rank * width, (self.ranks.rank + 1) * width)
        for epoch in range(self.epoch, config.epochs + 1):
            plan = identity_batches(self.data.pids, config, epoch)
            extra: dict[str, Any] = {}
            if self.step == 0 and is_refresh_due(epoch, config):
                extra["refresh"] = self.refresh_maps()
            upcoming = batches(
                self.reader,
                plan,
                config.augmentation,
                seed=config.seed,
                epoch=epoch,
                first=self.step,
                share=share,
                maps=self.maps,
            )
            for step, (images, maps) in enumerate(upcoming, start=self.step):
                rate = learning_rate(epoch, config, step / len(plan))
                for group in self.adam.param_groups:
                    group["lr"] = rate * group["factor"]
                terms = self.update(images, maps, plan[step, share])
                record = {"epoch": epoch, "step": step + 1, "steps": len(plan), "learning_rate": rate, **terms, **extra}
                log.write(json.dumps(record) + "\n")
                extra = {}
                last = step + 1 == len(plan)
                self.epoch, self.step = (epoch + 1, 0) if last else (epoch, step + 1)
                is_stuck = self.skipped_in_row >= MAX_SKIPPED_STEPS
                if last or is_stuck or (config.checkpoint_steps and (step + 1) % config.checkpoint_steps == 0):
                    self.save(out, log)
                if is_stuck:
                    raise self._not_finite()
                progress((epoch - 1) * len(plan) + step + 1, config.epochs * len(plan))
        steps = len(identity_batches(self.data.pids, config, config.epochs))
        if self.skipped_in_row >= min(max(2, steps), config.epochs * steps):
            raise self._not_finite()

    def _not_finite(self) -> WorkError:
        return WorkError(
            f"the loss or its gradient was not finite in {self.skipped_in_row} steps in a row, the last before epoch"
            f" {self.epoch}, step {self.step + 1}; lower learning_rate and start anew"
        )

    def refresh_maps(self) -> dict[str, float | None]:
        """Compute the label maps of the training images from the current network; return what `compare_maps` does."""
        assert self.maps is not None
        assert isinstance(self.network, SemanticNetwork)
        old = self.maps
        self.maps = refresh_labels(self.network, self.reader, self.data, old, self.config, self.ranks, self.device)
        return compare_maps(old, self.maps, self.config.region_schema)

    def update(self, images: UInt8Array, maps: UInt8Array | None, rows: Int64Array) -> dict[str, Any]:
        """Take one step on this worker's images (B, H, W, 3), with label maps (B, h, w) and indices `rows` (B,).

        A loss or a gradient that is not finite on any worker skips the step on all of them. Return the terms of the
        objective, averaged over the workers, None where they are not finite, and if it was skipped why, as `skipped`.
        """
        self.network.train()
        for stage in self.frozen:
            stage.eval()
        x = normalise(images, IMAGENET_MEAN, IMAGENET_STD, self.device)
        targets = BatchTargets(
            pids=self._tensor(self.data.pids[rows]),
            maps=None if maps is None else self._tensor(maps.astype(np.int64)),
            attributes=None if self.data.attributes is None else self._tensor(self.data.attributes[rows]),
        )
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        with self._seeded(), self.autocast:
            output = self.network(x)
        terms = self.objective(output, targets, self.ranks)
        values = self.ranks.mean(torch.stack(list(terms.values())).detach()).tolist()
        skipped = ""
        if not np.isfinite(values).all():
            skipped = "the loss is not finite"
            # Running means and variances of BatchNorm are not finite either.
            for buffer, before in buffers:
                buffer.copy_(before)
        elif not self._step(terms["total"]):
            skipped = OVERFLOW if self.scaler.is_enabled() else "the gradient is not finite"
        self.skipped += skipped not in ("", OVERFLOW)
        self.skipped_in_row = self.skipped_in_row + 1 if skipped else 0
        known = (value if np.isfinite(value) else None for value in values)
        return dict(zip(terms, known, strict=True)) | ({"skipped": skipped} if skipped else {})

    def _step(self, total: Tensor) -> bool:
        """Take a step down the gradient of the loss; return whether it is finite, else no optimiser takes one."""
        self.adam.zero_grad()
        self.sgd.zero_grad()
        self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        parameters = [*self.network.parameters(), *self.objective.parameters()]
        # Averaged before they are unscaled: an overflow on one worker is one on all, and all decide alike.
        self.ranks.average_gradients(parameters)
        self.scaler.unscale_(self.adam)
        self.scaler.unscale_(self.sgd)
        is_finite = all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None)
        if is_finite:
            self.objective.rescale_gradients()
            self.scaler.step(self.adam)
            self.scaler.step(self.sgd)
        self.scaler.update()
        return is_finite

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        key = (self.config.seed, self.epoch, self.step, self.ranks.rank)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            yield

    def _tensor(self, values: Int64Array) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def save(self, out: Path, log: TextIO) -> None:
        """Write a checkpoint on worker 0, after syncing the log up to the length that the checkpoint records."""
        if self.ranks.rank == 0:
            log.flush()
            os.fsync(log.fileno())
            state = {
                "config": self.config.model_dump(mode="json"),
                "epoch": self.epoch,
                "step": self.step,
                "log_bytes": log.tell(),
                "skipped": [self.skipped, self.skipped_in_row],
                "maps": None if self.maps is None else torch.from_numpy(self.maps),
                **{name: getattr(self, name).state_dict() for name in STATEFUL},
            }
            write_checkpoint(out / CHECKPOINT, state)
        self.ranks.barrier()

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint.

        Raises:
            ModelError: If the number of identities differs.
        """
        identities = state["objective"]["centres.global.centres"].shape[0]
        if identities != self.data.identities:
            raise ModelError(f"the checkpoint has {identities} identities, the data {self.data.identities}")
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.maps = None if state["maps"] is None else state["maps"].numpy()
        self.epoch, self.step, self.log_bytes = state["epoch"], state["step"], state["log_bytes"]
        self.skipped, self.skipped_in_row = state.get("skipped", (0, 0))


def _freeze_stages(network: ReidNetwork, count: int) -> list[nn.Module]:
    """Stop gradients of the finest stages of the backbone, and return those stages."""
    stages = network.backbone.finest_stages(count) if isinstance(network.backbone, EfficientNetLite0) else []
    for stage in stages:
        stage.requires_grad_(requires_grad=False)
    return stages


def _parameter_groups(network: ReidNetwork, config: TrainConfig) -> list[dict[str, Any]]:
    """Return the parameter groups of Adam with weight decays, and factors on the learning rate."""
    awm_decay = config.weight_decay if config.awm_weight_decay is None else config.awm_weight_decay
    groups: dict[tuple[bool, float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        factor, decay, is_awm = 1.0, config.weight_decay, name.startswith("reweight.")
        if is_awm:
            factor, decay = config.awm_rate, awm_decay
        elif config.optimiser == "adamw" and parameter.ndim < 2:
            decay = 0.0
        if name.startswith("backbone."):
            factor = config.backbone_rate
        groups.setdefault((is_awm, factor, decay), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (_, factor, decay), parameters in groups.items()
    ]


def feature_grid(config: TrainConfig) -> tuple[int, int]:
    """Return rows and columns of the network's feature map and of label maps.

    Raises:
        ConfigError: If the input size is not a multiple of the cells.
    """
    backbone = BACKBONES[config.network.backbone]
    height, width = config.input_size or backbone.native_size
    stride = backbone.strides[0]
    if height % stride or width % stride:
        raise ConfigError(f"input_size={height},{width}: give multiples of {stride}, the cells of the feature map")
    return height // stride, width // stride


def read_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any] | None:
    """Return the checkpoint in `folder`, on the CPU; None if there is none.

    Raises:
        ModelError: If it cannot be read, or has another configuration.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    state = load_checkpoint(path)
    try:
        # A checkpoint of an earlier version lacks newer keys, whose defaults it was trained with.
        saved = TrainConfig.model_validate(state["config"]).model_dump(mode="json")
    except ValidationError:
        saved = state["config"]
    changes = [
        f"{key} ({saved.get(key)!r} there, {value!r} now)"
        for key, value in config.model_dump(mode="json").items()
        if saved.get(key) != value
    ]
    if changes:
        raise ModelError(f"{path} has another configuration: {', '.join(changes)}; resume with that configuration")
    return state


def read_label_maps(folder: Path) -> UInt8Array | None:
    """Return the last label maps of the training whose package is in `folder`, (N, rows, columns); None without any.

    Raises:
        ModelError: If its checkpoint cannot be read.
    """
    path = folder / CHECKPOINT
    maps: Tensor | None = load_checkpoint(path)["maps"] if path.exists() else None
    return None if maps is None else maps.numpy()


def load_weights(network: ReidNetwork, config: TrainConfig, schema: AttributeSchema | None) -> None:
    """Load the weights of a configuration, first `weights`, then `base`, into a network.

    Raises:
        ConfigError: If they are for another network or for other attributes than those of `schema`.
        ModelError: If there are no such weights.
    """
    backbone, ref, name = network.backbone, config.weights, config.network.backbone
    if ref is not None and ref.startswith(PACKAGE_PREFIX):
        package = ModelPackage.from_pretrained(ref.removeprefix(PACKAGE_PREFIX))
        if package.config.network.backbone != name:
            raise ConfigError(f"weights={ref!r}: its backbone is {package.config.network.backbone}, not {name}")
        backbone.load_state_dict(package.network.backbone.state_dict())
    elif ref is not None:
        if not isinstance(backbone, PretrainedBackbone):
            raise ConfigError(
                f"weights={ref!r}: there are no ImageNet weights for {name}; give a model package with that backbone:"
                f" {PACKAGE_PREFIX}FOLDER"
            )
        if ref == IMAGENET and backbone.shipped is None:
            raise ConfigError(f"weights={ref}: none come with Vestigo for {name}; give a file, a folder or a hub id")
        backbone.load_imagenet(str(backbone.shipped) if ref == IMAGENET else ref)
    if config.base is not None:
        base = ModelPackage.from_pretrained(config.base)
        if base.config.network != config.network:
            raise ConfigError(f"base={config.base!r}: that package has another network, {base.config.network!r}")
        if base.schema is not None and schema is not None and base.schema.digest != schema.digest:
            raise ConfigError(
                f"base={config.base!r}: that package predicts the attributes of {base.schema.name}, the data has those "
                f"of {schema.name}; start from a package of that schema"
            )
        network.load_state_dict({**network.state_dict(), **base.network.state_dict()})
