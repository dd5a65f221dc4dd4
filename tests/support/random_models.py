"""Models with random weights: everything that a trained one says, in the time of a test."""

from __future__ import annotations

from pathlib import Path

import torch

from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, RegionSchema

INPUT_SIZE = (64, 32)


def random_package(
    name: str = "random",
    *,
    schema: AttributeSchema | None = MARKET_1501,
    regions: RegionSchema | None = REGIONS,
    seed: int = 0,
) -> ModelPackage:
    """A small network with the attributes of `schema` and these regions, or without; `seed` decides its weights."""
    config = NetworkConfig(
        backbone="tiny",
        neck="concat" if regions else "none",
        channels=16,
        regions=len(regions) if regions else 0,
        attributes="none" if schema is None else "regions" if regions else "global",
        awm=schema is not None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(config, schema=schema, regions=regions or BODY_REGIONS)
    network.drop_classifiers()
    package = PackageConfig(
        name=name,
        network=config,
        input_size=INPUT_SIZE,
        attribute_schema=None if schema is None else schema.to_dict(),
        region_schema=None if regions is None else regions.to_dict(),
    )
    return ModelPackage(package, network)


def random_model(folder: Path, **choices: object) -> Path:
    """The same, saved in a new folder."""
    random_package(**choices).save_pretrained(folder)  # type: ignore[arg-type]
    return folder
