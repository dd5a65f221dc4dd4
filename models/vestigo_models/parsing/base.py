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
    """The result of parsing one image."""

    labels: UInt8Array  # (h, w), the parser's class ids at the image's size
    regions: Float32Array  # (K, rows, columns), region probabilities on the grid


class Parser(ABC):
    """Parses crops of people. The result for an image is deterministic and independent of other images."""

    label_set: ParserLabels  # the parser's classes and their regions
    digest: str  # SHA-256 (hex) of the weights and of every setting that changes the result

    @abstractmethod
    def parse(self, image: UInt8Array, name: str, /) -> Parsed:
        """Parse one RGB image, (h, w, 3); `name` is that of the image file, "" if it has none.

        Raises:
            BadInput: If the image cannot be parsed.
        """

    def parse_many(self, images: Sequence[UInt8Array], names: Sequence[str], /) -> Sequence[Parsed | BadInput]:
        """Parse several images, in the order given; an image that cannot be parsed gives its error."""
        results: list[Parsed | BadInput] = []
        for image, name in zip(images, names, strict=True):
            try:
                results.append(self.parse(image, name))
            except BadInput as error:
                results.append(error)
        return results
