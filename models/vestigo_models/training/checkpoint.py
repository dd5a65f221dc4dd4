"""Checkpoints of a training, written atomically and read without unpickling objects."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vestigo_models.errors import ModelError
from vestigo_models.training.config import TrainConfig

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in `folder` atomically: a crash leaves the old or the new one."""
    partial = folder / f"{CHECKPOINT}.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / CHECKPOINT)


def read_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any] | None:
    """Return the checkpoint in `folder`, on the CPU; None if there is none.

    Raises:
        ModelError: If it cannot be read, or has another configuration.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError):
        raise ModelError(f"{path} cannot be read; delete it to start from the beginning") from None
    saved = state["config"]
    changes = [
        f"{key} ({saved.get(key)!r} there, {value!r} now)"
        for key, value in config.model_dump(mode="json").items()
        if saved.get(key) != value
    ]
    if changes:
        raise ModelError(f"{path} has another configuration: {', '.join(changes)}; resume with that configuration")
    return state
