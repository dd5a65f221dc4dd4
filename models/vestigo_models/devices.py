"""Devices by name."""

from __future__ import annotations

from vestigo_models.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return a device that torch has, by its name in torch or `auto`: CUDA if there is any, else the CPU.

    Raises:
        ConfigError: If the device is unknown, or CUDA is not available.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch finds no CUDA device here; use cpu or auto")
    return name
