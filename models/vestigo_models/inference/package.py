"""Model packages: a folder with `model.safetensors` and `config.json`, local or on the Hugging Face hub."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, FiniteFloat
from safetensors import SafetensorError
from torch import Tensor

from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.errors import BadInput, ConfigError, ModelError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vestigo_models.networks.backbones import BACKBONES
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import InputSize, NetworkConfig
from vestigo_models.networks.outputs import PART, ReidNetwork
from vestigo_models.networks.weights import (
    CONFIG,
    WEIGHTS,
    read_config,
    read_safetensors,
    weights_digest,
    write_package,
)
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import RegionSchema
from vestigo_models.shipped import SHIPPED, shipped_folder, shipped_name
from vestigo_models.strict_model import StrictModel

HUB_PREFIX = "hub:"
Triple = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Scale = Annotated[float, Field(ge=1e-6, allow_inf_nan=False)]


class PackageConfig(StrictModel):
    """`config.json`: everything about a model but its weights."""

    format_version: Literal[1] = Field(default=1, description="version of this file; other versions are refused")
    name: str = Field(description="name of the model")
    network: NetworkConfig = Field(description="what `build_network` builds")
    input_size: InputSize = Field(description="height and width of the input in pixels")
    mean: Triple = Field(default=IMAGENET_MEAN, description="subtracted from R, G, B (fractions of full scale)")
    std: tuple[Scale, Scale, Scale] = Field(default=IMAGENET_STD, description="then divided by")
    flip_average: bool = Field(default=False, description="average a crop with its mirror image: twice the work")
    attribute_schema: dict[str, Any] | None = Field(default=None, description="attributes that the network predicts")
    region_schema: dict[str, Any] | None = Field(default=None, description="regions that the network predicts")
    calibration: dict[str, Any] | None = Field(default=None, description="temperatures and thresholds")
    fls: FlsConfig | None = Field(default=None, description="recommended settings of FLS with this model")
    trained_on: dict[str, Any] = Field(default={}, description="data, command and recipe")
    judged: dict[str, Any] = Field(default={}, description="figures, and on what they were measured")

    @cached_property
    def attributes(self) -> AttributeSchema | None:
        """The attributes that the network predicts."""
        data = self.attribute_schema
        return None if data is None else AttributeSchema.from_dict(data, origin="attribute schema of the model")

    @cached_property
    def regions(self) -> RegionSchema | None:
        """The regions that the network predicts."""
        return None if self.region_schema is None else RegionSchema.from_dict(self.region_schema)

    def output_settings(self) -> dict[str, Any]:
        """Return the keys that change the model's output; of a calibration these are the temperatures."""
        settings = self.model_dump(mode="json", exclude={"name", "trained_on", "judged", "fls", "calibration"})
        if self.network.compared_regions is None:
            # Digests of packages that were made before there was a choice stay.
            del settings["network"]["compared_regions"]
        return {**settings, "temperatures": (self.calibration or {}).get("temperatures")}


class ModelPackage:
    """A network for inference, in evaluation mode, with its configuration.

    `schema`, `regions` and `calibration` are None where the model has none. Stored features are bound to `digest`, the
    SHA-256 (hex) of weights and output settings.

    Raises:
        ConfigError: If the calibration is invalid or that of other attributes, or a compared region is unknown.
    """

    def __init__(self, config: PackageConfig, network: ReidNetwork) -> None:
        self.config = config
        self.network = network.eval().requires_grad_(False)
        self.schema = config.attributes
        self.regions = config.regions
        self.calibration = _read_calibration(config)
        self.compared_parts = _compared_parts(config)
        self.digest = weights_digest(config.output_settings(), network.state_dict())

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.name

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.config.input_size

    @property
    def embedding_dim(self) -> int:
        """D, the length of a descriptor."""
        return sum(self.blocks)

    @property
    def parts(self) -> int:
        """Number of parts in a descriptor that may be invisible."""
        return len(self.compared_parts or ())

    @property
    def part_names(self) -> tuple[str, ...]:
        """The regions of these parts."""
        return tuple(self.regions.names[part + 1] for part in self.compared_parts or ()) if self.regions else ()

    @property
    def always(self) -> int:
        """Number of always-present features in a descriptor."""
        return 1 if self.config.network.distance == "concat" else len(self.network.dims.keys() - {PART})

    @property
    def blocks(self) -> tuple[int, ...]:
        """Lengths of the blocks of a descriptor: the always-present ones in their order, then the compared parts."""
        dims = self.network.dims
        if self.config.network.distance == "concat":
            return (sum(dims.values()),)
        whole = tuple(dim for kind, dim in dims.items() if kind != PART)
        return whole if self.regions is None else whole + (dims[PART] // (len(self.regions) - 1),) * self.parts

    @property
    def grid(self) -> tuple[int, int]:
        """H and W, rows and columns of F."""
        stride = BACKBONES[self.config.network.backbone].strides[0]
        return self.input_size[0] // stride, self.input_size[1] // stride

    @classmethod
    def from_pretrained(cls, ref: str | Path) -> ModelPackage:
        """Load a package, with weights in float32; raise ModelError as `resolve_model`, or if its files do not fit."""
        folder = resolve_model(ref)
        config = read_config(folder, PackageConfig, "model")
        network = build_network(config.network, schema=config.attributes, regions=config.regions)
        try:
            state = read_safetensors(folder / WEIGHTS)
        except (SafetensorError, OSError, BadInput) as error:
            raise ModelError(f"{folder / WEIGHTS} cannot be read ({error}); fetch or train the model again") from None
        expected = network.state_dict()
        differing = sorted(k for k in state.keys() | expected.keys() if _shape(state, k) != _shape(expected, k))
        if differing:
            raise ModelError(
                f"{folder / WEIGHTS} does not fit the network of its {CONFIG}: {len(differing)} tensors differ, the"
                f" first is {differing[0]}; fetch or train the model again"
            )
        network.load_state_dict(state)
        return cls(config, network.float())

    def with_calibration(self, calibration: Calibration | None) -> ModelPackage:
        """Return the same network with another calibration, or without one."""
        data = None if calibration is None else calibration.model_dump(mode="json")
        return ModelPackage(self.config.model_copy(update={"calibration": data}), self.network)

    def save_pretrained(self, folder: Path, *, half: bool = False) -> None:
        """Write the package into a folder; `half` rounds weights to float16, which halves the size."""
        write_package(folder, self.config, self.network.state_dict(), half=half)


def _compared_parts(config: PackageConfig) -> tuple[int, ...] | None:
    """Return the indices of the parts, of K-1, that are compared one by one, None if all features are one block.

    Raises:
        ConfigError: A region is unknown.
    """
    if config.network.distance == "concat":
        return None
    if config.regions is None:
        return ()
    names = config.regions.names[1:]
    compared = config.network.compared_regions
    if compared is None:
        return tuple(range(len(names)))
    if unknown := [name for name in compared if name not in names]:
        raise ConfigError(f"network.compared_regions: no region {', '.join(unknown)} (known: {', '.join(names)})")
    return tuple(index for index, name in enumerate(names) if name in compared)


def package_network(config: PackageConfig, trained: ReidNetwork) -> ModelPackage:
    """Package a copy of a trained network, on the CPU and without the classifiers of the training identities."""
    network = copy.deepcopy(trained).cpu()
    network.drop_classifiers()
    return ModelPackage(config, network)


def resolve_model(ref: str | Path) -> Path:
    """Return the folder of a package: `default`, a name of `SHIPPED`, a folder, or `hub:ID`; ModelError without one."""
    name = str(ref)
    if (shipped := shipped_name(name)) is not None:
        if name != "default" and (Path(name) / CONFIG).is_file():
            raise ModelError(
                f"{name} is a model that ships with Vestigo, and a folder here; give ./{name} for the folder"
            )
        return shipped_folder(shipped)
    if name.startswith(HUB_PREFIX):
        return _fetch(name)
    folder = Path(ref)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"model {name!r}: no folder with {CONFIG} and {WEIGHTS}, and none of those that ship with Vestigo"
            f" ({', '.join(SHIPPED)}); give `default`, such a folder or `hub:ID`"
        )
    return folder


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name.removeprefix(HUB_PREFIX), allow_patterns=[WEIGHTS, CONFIG]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        raise ModelError(f"{name}: not on the Hugging Face hub, or the hub cannot be reached; check the id") from None


def _read_calibration(config: PackageConfig) -> Calibration | None:
    calibration = Calibration.read(config.calibration)
    known = () if config.attributes is None else config.attributes.names
    if calibration is not None and (unknown := sorted(calibration.temperatures.keys() - set(known))):
        raise ConfigError(
            f"calibration.temperatures: the model predicts no {', '.join(unknown)}; calibrate the model again"
        )
    return calibration


def _shape(state: dict[str, Tensor], key: str) -> torch.Size | None:
    return state[key].shape if key in state else None
