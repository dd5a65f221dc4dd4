"""Names of devices, as users write them, to devices that exist."""

from __future__ import annotations

import torch

from vestigo_models.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return `name` as torch knows it; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: an unknown device, or CUDA where there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but torch finds no CUDA device here; use cpu or auto")
    return name
