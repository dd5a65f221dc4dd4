"""The region schema: what a pixel of a person can belong to (specification section 4, region merge)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Region:
    """One semantic region: its id in label maps, its name, and the colour (RGB, 0-255) it is drawn in."""

    id: int
    name: str
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True)
class RegionSchema:
    """Named regions with ids 0..K-1, background first. Label maps that follow it are uint8."""

    name: str
    regions: tuple[Region, ...]

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of ids."""
        return tuple(region.name for region in self.regions)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML."""
        return {
            "name": self.name,
            "regions": [
                {"id": region.id, "name": region.name, "colour_rgb": list(region.colour_rgb)} for region in self.regions
            ],
        }


REGIONS = RegionSchema(
    name="person-regions",
    regions=(
        Region(id=0, name="background", colour_rgb=(0, 0, 0)),
        Region(id=1, name="head", colour_rgb=(230, 159, 0)),
        Region(id=2, name="upper", colour_rgb=(86, 180, 233)),
        Region(id=3, name="lower", colour_rgb=(0, 158, 115)),
        Region(id=4, name="shoes", colour_rgb=(240, 228, 66)),
        Region(id=5, name="belongings", colour_rgb=(213, 94, 0)),
    ),
)
"""The K = 6 regions of the specification, in colours that colour-blind readers can tell apart."""
