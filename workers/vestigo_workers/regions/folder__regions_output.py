"""What `vestigo regions` writes to a folder: label maps with their description, and pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.reports.panels import panel
from vestigo_models.errors import UsageError
from vestigo_models.inference.region_finder import RegionMap
from vestigo_models.parsing.label_folder import DESCRIPTION

PANELS = "panels"
"""Sub-folder for the pictures: beside the maps they would be taken for maps."""
PARTIAL = ".partial"


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Say in a folder of label maps what their ids are.

    Raises:
        UsageError: it says something else already.
    """
    path = folder / DESCRIPTION
    text = (json.dumps(description, indent=2) + "\n").encode()
    if path.is_file():
        if path.read_bytes() != text:
            raise UsageError(f"{folder} holds label maps of another kind ({DESCRIPTION}): give another folder")
        return
    write_whole(path, text)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(data)
    os.replace(partial, path)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes of a label map (h x w) or an RGB picture (h x w x 3), uint8."""
    done, buffer = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape}")
    return bytes(buffer.tobytes())


def picture_of(image: NDArray[np.uint8], found: RegionMap, *, fused: bool) -> NDArray[np.uint8]:
    """The panel of one image: what the parser said, what clustering saw, and (with FLS) what came out of both."""
    layers = [("parser", found.body)]
    if found.clusters is not None:
        layers.append(("clusters", found.clusters))
    if fused:
        layers.append(("regions", found.labels))
    return panel(image, layers)
