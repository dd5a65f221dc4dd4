"""Names of the models that ship with Vestigo."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = ("small", "tiny")
"""The default model first; `tiny` is for machines where `small` is too slow."""


def shipped_name(ref: str) -> str | None:
    """Return the name of a shipped model, or of the one that `default` is; None for any other reference."""
    name = SHIPPED[0] if ref == "default" else ref
    return name if name in SHIPPED else None


def shipped_folder(name: str) -> Path:
    """Return the folder of a shipped model."""
    return Path(str(resources.files("vestigo_models") / "packages" / name))
