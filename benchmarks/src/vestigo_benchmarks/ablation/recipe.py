"""The recipe that all cells of an ablation share.

A short ablation changes the shipped configurations as below; from `FULL_EPOCHS` on it trains as `vestigo train` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vestigo_models.errors import ConfigError
from vestigo_models.networks.backbones import BACKBONES
from vestigo_models.training.config import TrainConfig

CONFIGS = ("baseline", "control", "clustering", "parser", "fls", "global-attr", "alm", "full")
"""The configurations that docs/method.md compares in tables 4 to 7, and the control."""
EPOCHS = 20
FULL_EPOCHS = int(TrainConfig.model_fields["schedule_epochs"].default)
"""Epochs of the shipped configurations."""
CHANGES: Mapping[str, Any] = {"relabel_every": 5, "fls_start_epoch": 6}
"""Label maps are refreshed every 5 epochs, with belongings from the first refresh after epoch 5."""
BOT: Mapping[str, Any] = {"flip_probability": 0.5, "erase_probability": 0.5, "erase_area": [0.02, 0.3]}
"""Augmentation of BoT with `pad`; cameras are not randomised, as all images come from one world."""
PAD, SMALL_PAD, SMALL_HEIGHT = 10, 5, 128
"""Border in pixels, and that of inputs up to `SMALL_HEIGHT` high."""


@dataclass(frozen=True, kw_only=True)
class AblationRecipe:
    """Settings that all cells share.

    Attributes:
        recipe: name of a recipe of `vestigo train`; None for that of the backbone.
        weights: of the backbone, as `TrainConfig.weights`.
        parser: of the configurations `parser` and `fls`, as `TrainConfig.parser`.
        overrides: further keys of every configuration, such as `network.channels`.
    """

    backbone: str
    epochs: int = EPOCHS
    recipe: str | None = None
    weights: str | None = None
    parser: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def config(self, name: str, seed: int) -> TrainConfig:
        """Return the training configuration of one cell.

        Raises:
            ConfigError: The configuration, a key or a value is unknown.
        """
        if name not in CONFIGS:
            raise ConfigError(f"no configuration {name!r} in the ablation; choose of {', '.join(CONFIGS)}")
        if self.backbone not in BACKBONES:
            raise ConfigError(f"unknown backbone {self.backbone!r}; choose of {', '.join(sorted(BACKBONES))}")
        height = (self.overrides.get("input_size") or BACKBONES[self.backbone].native_size)[0]
        short = {"augmentation": {**BOT, "pad": SMALL_PAD if height <= SMALL_HEIGHT else PAD}, **CHANGES}
        changes = {
            "epochs": self.epochs,
            "seed": seed,
            "weights": self.weights,
            "parser": self.parser,
            **({} if self.is_full else short),
            **self.overrides,
        }
        return TrainConfig.load(name, changes, backbone=self.backbone, recipe=self.recipe)

    @property
    def is_full(self) -> bool:
        """Whether the trainings have the epochs, refreshes and augmentation of `vestigo train`."""
        return self.epochs >= FULL_EPOCHS

    @property
    def parser_name(self) -> str:
        """The parser as reports show it, without a path of this machine."""
        kind, _, rest = self.parser.partition(":")
        return f"{kind}:{Path(rest).name}" if rest else "the default one"
