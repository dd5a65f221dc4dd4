"""The interface of human parsers: pixels of one person to classes of body parts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from vestigo_models.arrays import Float32Array, UInt8Array
from vestigo_models.errors import BadInput
from vestigo_models.parsing.label_maps import ParserLabels

MAX_CLASSES = 256
"""Label maps are uint8."""


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The result of parsing one image.

    Attributes:
        labels: (h, w) uint8, the parser's class ids at the image's size.
        regions: (K, rows, columns) float32, region probabilities on the grid.
    """

    labels: UInt8Array
    regions: Float32Array


class Parser(ABC):
    """Parses crops of people. The result for an image is deterministic and independent of other images.

    Attributes:
        label_set: The parser's classes and their regions.
        digest: SHA-256 (hex) of the weights and of every setting that changes the result.
    """

    label_set: ParserLabels
    digest: str

    @abstractmethod
    def parse(self, image: UInt8Array, name: str, /) -> Parsed:
        """Parse one image.

        Args:
            image: RGB uint8, (h, w, 3).
            name: Name of the image file, "" if it has none.

        Raises:
            BadInput: If the image cannot be parsed.
        """

    def parse_many(self, images: Sequence[UInt8Array], names: Sequence[str], /) -> Sequence[Parsed | BadInput]:
        """Parse several images, in the order given; an image that cannot be parsed gives its error."""
        return [self._parse_or_error(image, name) for image, name in zip(images, names, strict=True)]

    def _parse_or_error(self, image: UInt8Array, name: str) -> Parsed | BadInput:
        try:
            return self.parse(image, name)
        except BadInput as error:
            return error
