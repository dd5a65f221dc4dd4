"""The embedding that tracking compares: that of the shipped `tiny`, whichever model the crops are indexed with.

Tracklets are then those of the footage and the detector alone, and the limits of `TrackingConfig` fit its distances.
"""

from collections.abc import Callable, Sequence
from functools import cache

from vestigo_models.arrays import UInt8Array
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.shipped import shipped_folder

PACKAGE = shipped_folder("tiny")
BATCH = 32

Embed = Callable[[Sequence[UInt8Array]], Descriptors]
"""Returns the descriptors of RGB crops; that of a crop does not depend on the others."""


@cache
def appearance_digest() -> str:
    """Return the SHA-256 (hex) of the model that tracking compares people with."""
    return ModelPackage.from_pretrained(PACKAGE).digest


def appearance_embed(device: str = "cpu") -> Embed:
    """Load the model that tracking compares people with, and return its embedding function."""
    extractor = Extractor(ModelPackage.from_pretrained(PACKAGE), device=device, batch_size=BATCH)
    return lambda crops: extractor.extract(crops).descriptors
