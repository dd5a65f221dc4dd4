"""Devices by name, and the memory of this machine."""

import os

from vestigo_models.errors import ConfigError

_is_pinned = False


def memory_bytes() -> int:
    """Return the physical memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pin_device() -> None:
    """Record that this process sees only the GPU that a scheduler gave it, whatever number the GPU has elsewhere."""
    global _is_pinned
    _is_pinned = True


def resolve_device(name: str) -> str:
    """Return a device that torch has, by its name in torch or `auto`: CUDA if there is any, else the CPU.

    In a process with a GPU of its own (`pin_device`), `cuda:N` is that GPU.

    Raises:
        ConfigError: If the device is unknown, or CUDA is not available or has no such number.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch finds no CUDA device here; use cpu or auto")
    if device.type == "cuda" and device.index is not None:
        if _is_pinned:
            return "cuda"
        if device.index >= (count := torch.cuda.device_count()):
            raise ConfigError(f"device {name!r}: torch finds {count} CUDA devices here, cuda:0 to cuda:{count - 1}")
    return name
