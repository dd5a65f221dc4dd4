"""Checkpoint files of trainings and adaptations: tensors and plain values, written atomically."""

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vestigo_models.errors import ModelError


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU; objects are never unpickled.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError):
        raise ModelError(f"{path} cannot be read; delete it to start from the beginning") from None
    return state
