"""Attribute and region schemas: the typed objects that heads, filters, labels and screens read."""

from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501, SCHEMAS
from vestigo_models.schemas.regions import REGIONS, Region, RegionSchema

__all__ = [
    "DUKEMTMC_REID",
    "MARKET_1501",
    "REGIONS",
    "SCHEMAS",
    "Attribute",
    "AttributeSchema",
    "Region",
    "RegionSchema",
]
