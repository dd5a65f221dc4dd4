"""Checkpoints of a training: written whole or not at all, read without unpickling objects."""

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
    """Replace the checkpoint of `folder`; a crash at any moment leaves the old or the new one."""
    partial = folder / f"{CHECKPOINT}.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / CHECKPOINT)


def read_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any] | None:
    """Read the checkpoint of `folder`; None where a training was stopped before its first.

    Raises:
        ModelError: it cannot be read, or it belongs to another configuration.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError):
        raise ModelError(f"{path} cannot be read; delete it to train from the beginning") from None
    ours, theirs = config.model_dump(mode="json"), state["config"]
    differing = [
        f"{key} ({theirs.get(key)!r} there, {value!r} now)" for key, value in ours.items() if theirs.get(key) != value
    ]
    if differing:
        raise ModelError(
            f"{path} was written under another configuration: {', '.join(differing)}; resume with that one"
        )
    return state
