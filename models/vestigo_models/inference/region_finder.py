"""Label maps of people: the regions of a parser, and with a model the belongings that FLS adds.

The maps of an image depend on the images of its identity, the parser, the model and the `FlsConfig` only, not on other
identities or on how many images are processed together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestigo_models.arrays import Float32Array, UInt8Array
from vestigo_models.errors import BadInput, ModelError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import add_belongings, cluster_labels, fls_labels
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.label_maps import merge_labels, resample_regions
from vestigo_models.schemas.regions import BELONGINGS, REGIONS

IMAGES_AT_ONCE = 64  # smallest number of images that are parsed and embedded together; memory is the features of these
MOST_IMAGES = 256
"""Largest number of images of one identity that are clustered together: 0.5 GB of the paper's features."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedImage:
    """An RGB image of one person, (h, w, 3), and the name of its file, by which some parsers find label maps."""

    name: str
    pixels: UInt8Array


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionMap:
    """The regions of one image."""

    labels: UInt8Array  # h x w pixels: region ids 0-5 with FLS, else the parser's own class ids
    grid: UInt8Array  # H x W cells: region ids, with FLS on the network's grid, else on the parser's
    body: UInt8Array  # h x w: region ids of the parser alone
    # H x W: part clusters from top to bottom; None if not requested, or if the foreground is too small
    clusters: UInt8Array | None = None

    @property
    def areas(self) -> Float32Array:
        """Share of the grid's cells that each of the K regions has, (K,)."""
        return (np.bincount(self.grid.ravel(), minlength=len(REGIONS)) / self.grid.size).astype(np.float32)

    @property
    def has_belongings(self) -> bool:
        """Whether any cell is belongings."""
        return bool((self.grid == BELONGINGS).any())


class RegionFinder:
    """Finds the regions of people, one identity after the other.

    With an `extractor` (see `load_feature_model`), FLS clusters its features; without one the regions are the parser's.
    `clusters` keeps the part clusters, which the default fusion does not need.
    """

    def __init__(
        self, parser: Parser, extractor: Extractor | None, config: FlsConfig, *, clusters: bool = False
    ) -> None:
        self.parser = parser
        self.extractor = extractor
        self.config = config
        self._clusters = clusters

    @property
    def adds_belongings(self) -> bool:
        """Whether FLS adds belongings to the parser's regions."""
        return self.extractor is not None

    @property
    def description(self) -> dict[str, Any]:
        """The meaning of the ids of `RegionMap.labels`: `name`, and `classes` in the order of ids."""
        labels = self.parser.label_set
        name, classes = (REGIONS.name, REGIONS.names) if self.adds_belongings else (labels.name, labels.classes)
        return {"name": name, "classes": list(classes)}

    def find(self, identities: Iterable[Sequence[NamedImage]]) -> Iterator[list[RegionMap | BadInput]]:
        """Yield the map of each image of each identity, in order, or the error of an image that cannot be parsed."""
        batch: list[Sequence[NamedImage]] = []
        for identity in identities:
            batch.append(identity)
            if sum(map(len, batch)) >= IMAGES_AT_ONCE:
                yield from self._find_batch(batch)
                batch = []
        yield from self._find_batch(batch)

    def _find_batch(self, identities: Sequence[Sequence[NamedImage]]) -> Iterator[list[RegionMap | BadInput]]:
        images = [image for identity in identities for image in identity]
        results = self.parser.parse_many([image.pixels for image in images], [image.name for image in images])
        readable = [image.pixels for image, result in zip(images, results, strict=True) if isinstance(result, Parsed)]
        features, probabilities = (None, None) if self.extractor is None else _compute(self.extractor, readable)
        first = used = 0
        for identity in identities:
            own = results[first : first + len(identity)]
            parsed = [result for result in own if isinstance(result, Parsed)]
            rows = slice(used, used + len(parsed))
            own_features, own_probabilities = (
                None if values is None else values[rows] for values in (features, probabilities)
            )
            maps = iter(self._label_identity(parsed, own_features, own_probabilities) if parsed else [])
            yield [result if isinstance(result, BadInput) else next(maps) for result in own]
            first, used = first + len(identity), used + len(parsed)

    def _label_identity(
        self, parsed: Sequence[Parsed], features: Float32Array | None, probabilities: Float32Array | None
    ) -> list[RegionMap]:
        """Label N images of one identity from the parser's results, F (N x H x W x C) and P."""
        bodies = [merge_labels(image.labels, self.parser.label_set) for image in parsed]
        if features is None:
            grids = [image.regions.argmax(axis=0).astype(np.uint8) for image in parsed]
            return [
                RegionMap(labels=image.labels, grid=grid, body=body)
                for image, grid, body in zip(parsed, grids, bodies, strict=True)
            ]
        size = (features.shape[1], features.shape[2])
        parser_probabilities = np.stack([resample_regions(image.regions, size).transpose(1, 2, 0) for image in parsed])
        labels = parser_probabilities.argmax(axis=3).astype(np.uint8)
        device = "cpu" if self.extractor is None else self.extractor.device
        fused = fls_labels(features, labels, self.config, probabilities, parser_probabilities, device)
        clusters = cluster_labels(features, self.config, device) if self._clusters else None
        return [
            RegionMap(
                labels=add_belongings(body, grid, self.config),
                grid=grid,
                body=body,
                clusters=None if clusters is None else clusters[index],
            )
            for index, (body, grid) in enumerate(zip(bodies, fused, strict=True))
        ]


def _compute(extractor: Extractor, images: Sequence[UInt8Array]) -> tuple[Float32Array, Float32Array | None]:
    """Compute F and P; of regions other than `REGIONS`, such as clusters, the background alone is kept."""
    features, probabilities = extractor.feature_maps(images)
    regions = extractor.package.regions
    if probabilities is None or (regions is not None and regions.names == REGIONS.names):
        return features, probabilities
    return features, probabilities[..., :1]


def load_feature_model(ref: str) -> ModelPackage:
    """Load a model with a feature map, which FLS clusters; raise ModelError if there is none of this `ref`."""
    package = ModelPackage.from_pretrained(ref)
    if not isinstance(package.network, SemanticNetwork):
        raise ModelError(
            f"model {ref!r} has no feature map that FLS could cluster: give one that `vestigo train full` made"
        )
    return package
