"""The training configuration. All unknown keys and wrong values of a file are reported together."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from vestigo_models.config_files import read_yaml
from vestigo_models.errors import ConfigError, key_path, quote
from vestigo_models.fls.config import FlsConfig
from vestigo_models.networks.config import InputSize, NetworkConfig
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, RegionSchema, cluster_regions
from vestigo_models.strict_model import StrictModel

CONFIGS = Path(str(resources.files("vestigo_models") / "configs"))
PAPER = "paper"
"""The recipe of the configurations themselves."""
DEFAULT_RECIPES = {"tiny": "rendered", "small": "rendered"}
"""Recipes of backbones for CPUs where none is chosen."""


class AugmentationConfig(StrictModel):
    """Augmentation of training images. The first group is that of BoT; the rest randomises the camera."""

    flip_probability: float = Field(default=0.5, ge=0, le=1, description="mirror left and right")
    pad: int = Field(default=10, ge=0, description="pixels of black border before a random crop of the input size")
    erase_probability: float = Field(default=0.5, ge=0, le=1, description="random erasing with the ImageNet mean")
    erase_area: tuple[float, float] = Field(default=(0.02, 0.4), description="erased fraction of the image, from-to")
    erase_aspect: float = Field(default=0.3, gt=0, le=1, description="height over width is sampled from [a, 1/a]")

    zoom: float = Field(default=0.0, ge=0, lt=1, description="largest shift of a side of the box, as a fraction")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="factor sampled from 1 ± this")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="factor sampled from 1 ± this, around the mean")
    saturation: float = Field(default=0.0, ge=0, le=1, description="factor sampled from 1 ± this")
    channel_gain: float = Field(default=0.0, ge=0, lt=1, description="white balance: a factor per channel, 1 ± this")
    gamma: float = Field(default=0.0, ge=0, le=2, description="exponent sampled from exp(± this)")
    grey_probability: float = Field(default=0.0, ge=0, le=1, description="remove all colour")
    shrink_probability: float = Field(default=0.0, ge=0, le=1, description="scale down and up again: a distant person")
    shrink_factor: float = Field(default=0.3, gt=0, le=1, description="the smallest scale of a shrunken image")
    blur_probability: float = Field(default=0.0, ge=0, le=1, description="Gaussian blur")
    blur_sigma: float = Field(default=1.5, gt=0, description="the largest sigma, in pixels of the input size")
    noise_probability: float = Field(default=0.0, ge=0, le=1, description="Gaussian noise")
    noise_sigma: float = Field(default=8.0, gt=0, description="the largest sigma, in grey levels of 255")
    jpeg_probability: float = Field(default=0.0, ge=0, le=1, description="JPEG compression")
    jpeg_quality: int = Field(default=25, ge=1, le=95, description="the lowest JPEG quality; the highest is 95")


class TrainConfig(StrictModel):
    """Configuration of one training; defaults and equations are those of docs/method.md."""

    network: NetworkConfig = Field(default=NetworkConfig(backbone="resnet50"), description="the network")
    weights: str | None = Field(
        default=None, description="of the backbone: ImageNet weights (a file, a folder or a hub id), or package:FOLDER"
    )
    base: str | None = Field(default=None, description="start from this package: default, a folder or hub:ID")
    input_size: InputSize | None = Field(default=None, description="height and width in pixels; null: the backbone's")
    seed: int = Field(default=0, ge=0, description="seed of everything random")
    duke_top_override: bool = Field(
        default=False,
        description="the two DukeMTMC-reID training identities without upper-body length get that of the public"
        " attribute baseline",
    )

    epochs: int = Field(default=120, ge=1, description="passes over the identities")
    batch_identities: int = Field(default=16, ge=2, description="identities in a batch (P)")
    images_per_identity: int = Field(default=4, ge=2, description="images of each (K)")
    optimiser: Literal["adam", "adamw"] = Field(
        default="adam", description="adam adds weight decay to gradients; adamw decays weights, not biases and norms"
    )
    learning_rate: float = Field(default=3.5e-4, gt=0, description="the highest rate, after the warm-up")
    backbone_rate: float = Field(default=1.0, gt=0, le=1, description="factor on the learning rate of the backbone")
    frozen_stages: int = Field(
        default=0, ge=0, le=7, description="stages of the backbone `small`, the finest first, that keep their weights"
    )
    schedule: Literal["steps", "one_cycle"] = Field(
        default="steps", description="of the rate: milestones, or one cycle of a cosine (warmup_epochs rise)"
    )
    schedule_epochs: int = Field(default=120, ge=1, description="number of epochs that warm-up and milestones refer to")
    warmup_epochs: int = Field(default=10, ge=0, description="rise of the rate, in steps from about a hundredth of it")
    milestones: tuple[int, ...] = Field(default=(40, 70), description="epochs at which the rate is multiplied by decay")
    decay: float = Field(default=0.1, gt=0, le=1, description="factor at each milestone")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay")

    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="of the identity loss")
    triplet_margin: float = Field(default=0.3, ge=0, description="of the batch-hard triplet loss")
    triplet_weight: float = Field(default=1.0, ge=0, description="weight of the triplet loss")
    contrastive_weight: float = Field(
        default=0.0, ge=0, description="weight of the supervised contrastive loss after the BNNeck; not in the paper"
    )
    contrastive_temperature: float = Field(default=0.1, gt=0, description="divides the cosines of that loss")
    centre_weight: float = Field(default=5e-4, gt=0, description="beta of equation 15")
    centre_learning_rate: float = Field(default=0.5, gt=0, description="learning rate of the centres (SGD)")
    globalattr_weight: float = Field(default=1.0, gt=0, description="weight of L_globalattr, equation 20")
    alpha: float = Field(default=0.01, ge=0, description="weight of the parsing loss, equation 20")
    parsing_reduction: Literal["mean", "sum"] = Field(default="mean", description="of the parsing loss, over cells")
    belongings_weight: float = Field(default=1.0, gt=0, description="weight of cells of belongings in the parsing loss")
    lambda_attr: float = Field(default=1.0, ge=0, description="weight of the attribute loss")
    attr_balance: float = Field(
        default=0.0, ge=0, le=1, description="weight of rare values: 0 as in equation 18, 1 all values alike"
    )
    attr_noise: float = Field(default=0.0, ge=0, lt=0.5, description="share of the attribute labels that are wrong")
    attr_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout of the input of attribute heads")
    awm_dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="AWM learns separately, from heads with this dropout; null: with the heads, as in the paper",
    )
    awm_rate: float = Field(default=1.0, gt=0, description="factor on the learning rate of V and b of AWM")
    awm_weight_decay: float | None = Field(default=None, ge=0, description="weight decay of V and b; null: that of all")
    awm_aux_loss: float = Field(default=0.0, ge=0, description="weight of the attribute loss before AWM")

    fls: FlsConfig = Field(default=FlsConfig(), description="label maps of regions")
    parser: str = Field(default="default", description="parser of the training images, see `vestigo train --help`")
    atr_bag_seed: bool = Field(default=False, description="class bag of a parser with ATR's classes is belongings")
    relabel_every: int = Field(default=2, ge=1, description="epochs between two refreshes of the label maps")
    relabel_until: int = Field(default=101, ge=1, description="last epoch that may begin with a refresh")
    fls_start_epoch: int = Field(default=11, ge=1, description="first epoch whose label maps contain belongings")

    augmentation: AugmentationConfig = Field(default=AugmentationConfig(), description="random changes of images")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of the forward pass; auto is float16 on CUDA and float32 on a CPU"
    )
    checkpoint_steps: int = Field(default=0, ge=0, description="steps between checkpoints within an epoch; 0: none")
    cache_gib: float = Field(default=4.0, ge=0, description="decoded images are cached if they fit into this memory")

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        expected = len(self.region_schema) if self.network.regions else 0
        if self.network.regions != expected:
            raise ValueError(
                f"network.regions={self.network.regions}: label maps from fls.labels={self.fls.labels} have {expected}"
            )
        known = self.region_schema.names[1:] if self.network.regions else ()
        if unknown := sorted(set(self.network.compared_regions or ()) - set(known)):
            raise ValueError(
                f"network.compared_regions: no region {', '.join(unknown)} (known: {', '.join(known) or 'none'})"
            )
        if self.frozen_stages and self.network.backbone != "small":
            raise ValueError(f"frozen_stages={self.frozen_stages}: only the backbone small keeps stages; set 0")
        if self.network.awm and self.awm_dropout is not None and self.lambda_attr and not self.awm_aux_loss:
            raise ValueError(
                f"awm_dropout={self.awm_dropout}: attribute heads get no gradient from AWM; set awm_aux_loss"
            )
        return self

    @property
    def region_schema(self) -> RegionSchema:
        """Regions of the label maps that the network learns from."""
        if self.fls.labels == "cluster":
            return cluster_regions(self.fls.clusters)
        return REGIONS if self.fls.labels == "fls" else BODY_REGIONS

    @property
    def needs_parser(self) -> bool:
        """Whether label maps need a parser."""
        return self.network.regions > 0 and self.fls.labels != "cluster"

    @property
    def batch_size(self) -> int:
        """Images in a batch, over all workers."""
        return self.batch_identities * self.images_per_identity

    @classmethod
    def load(
        cls,
        ref: str | Path,
        overrides: Mapping[str, Any] | None = None,
        *,
        backbone: str | None = None,
        recipe: str | None = None,
    ) -> Self:
        """Read a configuration by the name of a shipped one, or from a YAML file.

        Another `backbone` comes with the values of `configs/backbones` and, unless it is another, the recipe of
        `DEFAULT_RECIPES`. Values of a `recipe` of `configs/recipes` replace those of the configuration; `paper` keeps
        them. Values of `overrides`, with keys such as `network.channels`, are applied last.

        Raises:
            ConfigError: If there is no such configuration or recipe; or all unknown keys and wrong values in one line.
        """
        name, backbone = ("full", backbone or "tiny") if str(ref) == "tiny" else (str(ref), backbone)
        path = CONFIGS / f"{name}.yaml" if name in shipped_configs() else Path(name)
        if not path.is_file():
            known = ", ".join(shipped_configs())
            raise ConfigError(f"no configuration {name!r}; give a YAML file or one of the shipped ones: {known}")
        values = _mapping(path, name)
        if backbone is not None:
            values = _merge(values, _backbone_values(backbone, values))
        values = _merge(values, _recipe_values(recipe or DEFAULT_RECIPES.get(backbone or "", PAPER)))
        for dotted, value in (overrides or {}).items():
            *parents, key = dotted.split(".")
            section = values
            for parent in parents:
                section = section.setdefault(parent, {})
                if not isinstance(section, dict):
                    raise ConfigError(f"{dotted}: {parent} has no keys; it is {quote(section)}")
            section[key] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{ref}: " + "; ".join(_mistake(dict(e)) for e in error.errors())) from None


def shipped_configs() -> list[str]:
    """Return the names of the shipped configurations."""
    return sorted(["tiny", *(path.stem for path in CONFIGS.glob("*.yaml"))])


def is_shipped(ref: str | Path) -> bool:
    """Whether a reference names a shipped configuration, not a file."""
    return str(ref) in shipped_configs()


def shipped_recipes() -> list[str]:
    """Return the names of the recipes."""
    return sorted([PAPER, *(path.stem for path in (CONFIGS / "recipes").glob("*.yaml"))])


def _recipe_values(name: str) -> dict[str, Any]:
    if name not in shipped_recipes():
        raise ConfigError(f"no recipe {name!r}; choose one of {', '.join(shipped_recipes())}")
    return {} if name == PAPER else _mapping(CONFIGS / "recipes" / f"{name}.yaml", name)


def _backbone_values(backbone: str, values: Mapping[str, Any]) -> dict[str, Any]:
    table = CONFIGS / "backbones" / f"{backbone}.yaml"
    network = values.get("network", {})
    has_neck = isinstance(network, dict) and network.get("neck", "none") != "none"
    changes = _mapping(table, table.name) if has_neck and table.is_file() else {}
    return _merge(changes, {"network": {"backbone": backbone}})


def _merge(values: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the keys of `others` replaced recursively."""
    result = dict(values)
    for key, value in others.items():
        old = result.get(key)
        if isinstance(value, Mapping) and not isinstance(old, dict | None):
            raise ConfigError(f"{key}: expected keys and values, found {quote(old)}")
        result[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result


def _mapping(path: Path, name: str) -> dict[str, Any]:
    values = read_yaml(path, name)
    if not isinstance(values, dict | None):
        raise ConfigError(f"{name}: expected keys and values, found {type(values).__name__}")
    return values or {}


def _mistake(error: dict[str, Any]) -> str:
    key = key_path(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key"
    if not key:
        return str(error["msg"]).removeprefix("Value error, ")
    return f"{key}={quote(error['input'])}: {error['msg']}"
