"""Region schemas: the semantic areas of a person (docs/method.md, section "Parsing and region merge")."""

from dataclasses import dataclass
from itertools import cycle
from typing import Any, Self

from vestigo_models.errors import ConfigError

GLOBAL, FOREGROUND = "global", "foreground"
"""Sources of features besides single regions: the whole image, and all regions but the background."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A semantic region: its value in label maps, its name, and the colour (0-255) that it is drawn in."""

    id: int
    name: str
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True)
class RegionSchema:
    """Named regions with ids 0..K-1, background first; label maps are uint8."""

    name: str
    regions: tuple[Region, ...]

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of ids."""
        return tuple(region.name for region in self.regions)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON or YAML; `from_dict` reads it back."""
        return {
            "name": self.name,
            "regions": [
                {"id": region.id, "name": region.name, "colour_rgb": list(region.colour_rgb)} for region in self.regions
            ],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build a schema from what `to_dict` returned.

        Raises:
            ConfigError: If the data are not a schema, or the ids are not 0, 1, ...
        """
        try:
            regions = []
            for entry in data["regions"]:
                red, green, blue = map(int, entry["colour_rgb"])
                regions.append(Region(id=int(entry["id"]), name=str(entry["name"]), colour_rgb=(red, green, blue)))
            schema = cls(name=str(data["name"]), regions=tuple(regions))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ConfigError("region schema: give 'name' and 'regions', each with id, name and colour_rgb") from None
        if [region.id for region in regions] != list(range(len(regions))):
            raise ConfigError(f"region schema {schema.name}: ids must be 0, 1, ... in order")
        return schema


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
"""The K = 6 regions, in colours that colour-blind readers can distinguish."""
BACKGROUND, HEAD, UPPER, LOWER, SHOES, BELONGINGS = (region.id for region in REGIONS.regions)

BODY_REGIONS = RegionSchema(name="body-regions", regions=REGIONS.regions[:-1])
"""The K = 5 regions of a parser without belongings."""


def cluster_regions(count: int) -> RegionSchema:
    """Return `count` regions of part clusters, background included; they mean no more than their order.

    Colours are those of `REGIONS`, repeated if there are more clusters.
    """
    colours = [region.colour_rgb for region in REGIONS.regions[1:]]
    pairs = zip(range(1, count), cycle(colours), strict=False)
    clusters = (Region(id=index, name=f"cluster-{index}", colour_rgb=colour) for index, colour in pairs)
    return RegionSchema(name="clusters", regions=(REGIONS.regions[0], *clusters))
