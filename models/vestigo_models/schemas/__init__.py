"""Attribute and region schemas: the typed objects that heads, filters, labels and screens read."""

from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501, SCHEMAS
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, Region, RegionSchema, cluster_regions

__all__ = [
    "BODY_REGIONS",
    "DUKEMTMC_REID",
    "MARKET_1501",
    "REGIONS",
    "SCHEMAS",
    "Attribute",
    "AttributeSchema",
    "Region",
    "RegionSchema",
    "cluster_regions",
]
