"""The recipe that all cells of an ablation share: what it changes in the shipped configurations, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vestigo_models.errors import ConfigError
from vestigo_models.networks.build import BACKBONES
from vestigo_models.training.config import TrainConfig

CONFIGS = ("baseline", "control", "clustering", "parser", "fls", "global-attr", "alm", "full")
"""The configurations of the paper's tables 4 to 7, and the control."""
EPOCHS = 20
CHANGES: Mapping[str, Any] = {"relabel_every": 5, "fls_start_epoch": 6}
"""In 20 epochs: labels refreshed every 5, belongings from the first refresh after 5 epochs on."""
BOT: Mapping[str, Any] = {"flip_probability": 0.5, "erase_probability": 0.5, "erase_area": [0.02, 0.3]}
"""Augmentation: BoT's alone, with `pad`; the camera is not randomised, because all images come from one world."""
PAD, SMALL_PAD, SMALL_HEIGHT = 10, 5, 128
"""Pixels of border, and those of inputs that are not higher than `SMALL_HEIGHT`."""


@dataclass(frozen=True, kw_only=True)
class AblationRecipe:
    """What is common to all cells.

    Attributes:
        weights: of the backbone, as `TrainConfig.weights`.
        parser: that of `parser` and `fls`, as `TrainConfig.parser`.
        overrides: further keys of every configuration, `network.channels` style.
    """

    backbone: str
    epochs: int = EPOCHS
    weights: str | None = None
    parser: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def config(self, name: str, seed: int) -> TrainConfig:
        """The training of one cell.

        Raises:
            ConfigError: an unknown configuration, key or value.
        """
        if name not in CONFIGS:
            raise ConfigError(f"no configuration {name!r} in the ablation; choose of {', '.join(CONFIGS)}")
        if self.backbone not in BACKBONES:
            raise ConfigError(f"unknown backbone {self.backbone!r}; choose of {', '.join(sorted(BACKBONES))}")
        height = (self.overrides.get("input_size") or BACKBONES[self.backbone].native_size)[0]
        changes = {
            "epochs": self.epochs,
            "seed": seed,
            "weights": self.weights,
            "parser": self.parser,
            "augmentation": {**BOT, "pad": SMALL_PAD if height <= SMALL_HEIGHT else PAD},
            **CHANGES,
            **self.overrides,
        }
        return TrainConfig.load(name, changes, backbone=self.backbone)

    @property
    def parser_words(self) -> str:
        """What to call the parser on a page: no path of this machine."""
        kind, _, rest = self.parser.partition(":")
        return f"{kind}:{Path(rest).name}" if rest else "the default one"
