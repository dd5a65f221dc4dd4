"""Facts about a model that readers of its crops need without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
        parts: Number K-1 of parts that can be invisible.
        blocks: Lengths of a descriptor's blocks, the always present ones first; () for models of older stores, whose
            descriptors are one block.
        attributes: Schema of the attribute probabilities, None without attributes.
        regions: Schema of the region shares, None without regions.
        calibration: Calibration of the package; read by `vestigo_models.attribute_filter.record.Calibration`.
    """

    always: int = 1
    parts: int = 0
    blocks: tuple[int, ...] = ()
    attributes: AttributeSchema | None = None
    regions: RegionSchema | None = None
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
                calibration=data["calibration"],
            )
        except (KeyError, TypeError, ValueError, VestigoError) as error:
            raise StoreError(
                f"the store's facts about model {name} cannot be read ({error}): index with it again"
            ) from None
