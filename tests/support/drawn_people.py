"""Drawn people for tests of label maps: bright on black, so that brightness is a feature that FLS can cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, RegionSchema

HEIGHT, WIDTH = 128, 64
GRID = (64, 32)
HEAD, UPPER, LOWER, SHOES, BAG = 1, 2, 3, 4, 5
COLOURS = np.array(
    [(0, 0, 0), (240, 200, 180), (60, 120, 250), (120, 250, 90), (250, 250, 250), (250, 60, 200)], dtype=np.uint8
)
BAG_BOX = (slice(48, 72), slice(42, 56))


def drawn(*, bag: bool = True, shift: int = 0) -> NDArray[np.uint8]:
    """The truth of a person, 128 x 64 region ids: head, body, shoes, and beside the body a bag."""
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    labels[12:28, 26 + shift : 38 + shift] = HEAD
    labels[28:68, 20 + shift : 40 + shift] = UPPER
    labels[68:108, 22 + shift : 38 + shift] = LOWER
    labels[108:116, 20 + shift : 40 + shift] = SHOES
    if bag:
        rows, columns = BAG_BOX
        labels[rows, columns.start + shift : columns.stop + shift] = BAG
    return labels


def image_of(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture of a drawn person: RGB uint8."""
    return np.asarray(COLOURS[truth])


def parsed_of(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a parser without belongings says of it."""
    return np.where(truth == BAG, 0, truth).astype(np.uint8)


class BrightFeatures:
    """Stands in for `Extractor`: F is the mean colour of every cell, N x 64 x 32 x 3.

    With `sees`, a classifier is as sure of the background as that says; without, there is none.
    """

    device = torch.device("cpu")

    def __init__(self, sees: float | None = None, regions: RegionSchema = REGIONS) -> None:
        self.sees = sees
        self.package = SimpleNamespace(regions=regions)

    def feature_maps(
        self, crops: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        cells = [cv2.resize(crop, GRID[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) for crop in crops]
        features = np.stack(cells) if cells else np.empty((0, *GRID, 3), dtype=np.float32)
        if self.sees is None:
            return features, None
        return features, np.full((len(crops), *GRID, 6), self.sees, dtype=np.float32)


def write_people(folder: Path, truths: dict[str, NDArray[np.uint8]], maps: Path | None = None) -> Path:
    """Write a PNG a drawn person, as lossless as its truth; with `maps` also what a parser says of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, truth in truths.items():
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(image_of(truth), cv2.COLOR_RGB2BGR))
    if maps is not None:
        write_maps(maps, truths)
    return folder


def write_maps(folder: Path, truths: dict[str, NDArray[np.uint8]]) -> Path:
    """Write what a parser without belongings says of drawn people, as `labels:FOLDER` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"name": BODY_REGIONS.name, "classes": list(BODY_REGIONS.names)}
    (folder / "labels.json").write_text(json.dumps(description))
    for name, truth in truths.items():
        cv2.imwrite(str(folder / f"{name}.png"), parsed_of(truth))
    return folder


def write_model(folder: Path, *, neck: str = "concat", regions: bool = False) -> Path:
    """Write an untrained model package: with `neck` "none" one that has no feature map."""
    torch.manual_seed(0)
    config: dict[str, Any] = {"backbone": "tiny", "neck": neck, "channels": 16, "regions": len(REGIONS) * regions}
    network = NetworkConfig.model_validate(config)
    schema = REGIONS if regions else None
    package = PackageConfig(
        name="untrained",
        network=network,
        input_size=(HEIGHT, WIDTH),
        region_schema=None if schema is None else schema.to_dict(),
    )
    ModelPackage(package, build_network(network, regions=schema)).save_pretrained(folder)
    return folder
