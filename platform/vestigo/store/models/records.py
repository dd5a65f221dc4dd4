"""Models, what readers of their crops need without loading their weights, and promotions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from vestigo_models.errors import StoreError, VestigoError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import RegionSchema

if TYPE_CHECKING:
    from vestigo_models.inference.package import ModelPackage


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Interpretation of the columns `embedding`, `visible`, `attributes` and `regions` of a model's crops.

    Attributes:
        always: Number of features of a descriptor that are always present.
        parts: Number of parts that can be invisible.
        blocks: Lengths of a descriptor's blocks, the always present ones first; () for models of older stores, whose
            descriptors are one block.
        attributes: Schema of the attribute probabilities, None without attributes.
        regions: Schema of the region shares, None without regions.
        part_names: Regions of the parts; by default the first ones of the schema behind the background.
        calibration: Calibration of the package; read by `vestigo_models.attribute_filter.record.Calibration`.
    """

    always: int = 1
    parts: int = 0
    blocks: tuple[int, ...] = ()
    attributes: AttributeSchema | None = None
    regions: RegionSchema | None = None
    part_names: tuple[str, ...] = ()
    calibration: dict[str, Any] | None = None

    @classmethod
    def of(cls, package: ModelPackage) -> ModelFacts:
        """Return the facts of a model package."""
        return cls(
            always=package.always,
            parts=package.parts,
            blocks=package.blocks,
            attributes=package.schema,
            regions=package.regions,
            part_names=package.part_names,
            calibration=package.config.calibration,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON for the catalogue."""
        return {
            "always": self.always,
            "parts": self.parts,
            "blocks": list(self.blocks),
            "attribute_schema": None if self.attributes is None else self.attributes.to_dict(),
            "region_schema": None if self.regions is None else self.regions.to_dict(),
            "part_names": list(self.part_names),
            "calibration": self.calibration,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], name: str) -> ModelFacts:
        """Return the facts of the model `name` from JSON of `to_dict`; {} gives the defaults.

        Raises:
            StoreError: If `data` is invalid.
        """
        if not data:
            return cls()
        try:
            attributes, regions = data["attribute_schema"], data["region_schema"]
            return cls(
                always=int(data["always"]),
                parts=int(data["parts"]),
                blocks=tuple(map(int, data["blocks"])),
                attributes=None if attributes is None else AttributeSchema.from_dict(attributes),
                regions=None if regions is None else RegionSchema.from_dict(regions),
                part_names=tuple(map(str, data.get("part_names", ()))),
                calibration=data["calibration"],
            )
        except (KeyError, TypeError, ValueError, VestigoError) as error:
            raise StoreError(
                f"the store's facts about model {name} cannot be read ({error}): index with it again"
            ) from None


@dataclass(frozen=True)
class Model:
    """A registered model version.

    Attributes:
        digest: Digest of its package.
        location: `default`, a folder or `hub:ID`.
        facts: Interpretation of its crops.
        parent: Digest of the model that it was trained from.
        origin: Data, label set and configuration of its training; {} if it was not trained here.
        scores: Results of its evaluations by key.
    """

    digest: str
    name: str
    location: str
    registered: datetime
    facts: ModelFacts = field(default_factory=ModelFacts)
    parent: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """A change of the serving model from `before` to `model`; both are digests, None for no promoted model."""

    kind: Literal["promotion", "rollback"]
    model: str | None
    before: str | None
    at: datetime
    by: str
    reasons: tuple[str, ...]


def promotions_in_force(promotions: Iterable[Promotion]) -> list[Promotion]:
    """Return the promotions that a rollback can still undo, the next one to be undone last.

    Args:
        promotions: All promotions and rollbacks of a store, oldest first.
    """
    in_force: list[Promotion] = []
    for promotion in promotions:
        if promotion.kind == "promotion":
            in_force.append(promotion)
        elif in_force:
            in_force.pop()
    return in_force
