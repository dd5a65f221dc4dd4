"""What a reader of a model's crops must know of the model without loading its weights."""

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
    """How the columns `embedding`, `visible`, `attributes` and `regions` of a model's crops are read.

    Attributes:
        always: features of a descriptor that are always present.
        parts: K-1 parts that may be invisible.
        blocks: lengths of a descriptor's blocks, the always-present ones first, then the parts; () for one block of
            whatever length, as models have it that were registered before this was kept.
        attributes: the schema of the probabilities, None for a model without.
        regions: the schema of the shares, None for a model without.
        calibration: as in the model's package (`vestigo_models.attribute_filter.record.Calibration` reads it).
    """

    always: int = 1
    parts: int = 0
    blocks: tuple[int, ...] = ()
    attributes: AttributeSchema | None = None
    regions: RegionSchema | None = None
    calibration: dict[str, Any] | None = None

    @classmethod
    def of(cls, package: ModelPackage) -> ModelFacts:
        """The facts of a model package."""
        return cls(
            always=package.always,
            parts=package.parts,
            blocks=package.blocks,
            attributes=package.schema,
            regions=package.regions,
            calibration=package.config.calibration,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the catalogue; `from_dict` reads it back."""
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
        """Read what `to_dict` gave; {} for a model `name` that was registered before this was kept.

        Raises StoreError for anything else.
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
