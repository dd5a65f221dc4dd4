"""Label maps of people: what a parser says of them, and with a model's features what they carry as well.

The same for a folder of images and for the crops of an archive. Everything that a map depends on is the images of one
identity, a parser, a model and an `FlsConfig`: neither the other identities nor how many are worked off together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import BadInput, ModelError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import add_belongings, cluster_labels, fls_labels
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.region_merge import merge_labels
from vestigo_models.schemas.regions import BELONGINGS, REGIONS
from vestigo_models.training.relabel import resampled

Labels = NDArray[np.uint8]

TOGETHER = 64
"""Images that are parsed and put through the model together, at least; memory is the features of these."""
MOST_IMAGES = 256
"""Images of one identity that are clustered together, at most: 0.5 GB of the paper's features."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedImage:
    """An RGB uint8 image (h x w x 3) of one person, and the name under which a parser may know it."""

    name: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionMap:
    """What the pixels of one image show.

    Attributes:
        labels: h x w, at the image's size: region ids 0-5 with FLS, the parser's own class ids without.
        grid: rows x columns, region ids on the network's grid (the parser's without FLS).
        body: h x w, region ids of the parser alone.
        clusters: rows x columns, part clusters from top to bottom; None unless asked for, or too little foreground.
    """

    labels: Labels
    grid: Labels
    body: Labels
    clusters: Labels | None = None

    @property
    def areas(self) -> NDArray[np.float32]:
        """K float32, the share of the grid's cells that each region has."""
        return (np.bincount(self.grid.ravel(), minlength=len(REGIONS)) / self.grid.size).astype(np.float32)

    @property
    def belongings(self) -> bool:
        """Whether any cell shows something carried."""
        return bool((self.grid == BELONGINGS).any())


Identity = Sequence[NamedImage]
Found = RegionMap | BadInput


class RegionFinder:
    """Finds the regions of people, identity by identity.

    Args:
        parser: what tells parts of the body apart.
        extractor: a model whose features are clustered (see `feature_model`); None for the parser alone.
        config: keys of FLS.
        clusters: keep the part clusters as well, which the default fusion does not need.
    """

    def __init__(
        self, parser: Parser, extractor: Extractor | None, config: FlsConfig, *, clusters: bool = False
    ) -> None:
        self.parser = parser
        self.extractor = extractor
        self.config = config
        self._clusters = clusters

    @property
    def fuses(self) -> bool:
        """Whether belongings are found, and fused with what the parser says."""
        return self.extractor is not None

    @property
    def description(self) -> dict[str, Any]:
        """What the ids of `RegionMap.labels` are: `name`, and `classes` in the order of ids."""
        if self.fuses:
            return {"name": REGIONS.name, "classes": list(REGIONS.names)}
        return {"name": self.parser.label_set.name, "classes": list(self.parser.label_set.classes)}

    def find(self, identities: Iterable[Identity]) -> Iterator[list[Found]]:
        """Yield for every identity, in order, what was found in each of its images, or why nothing could be."""
        lot: list[Identity] = []
        for identity in identities:
            lot.append(identity)
            if sum(map(len, lot)) >= TOGETHER:
                yield from self._lot(lot)
                lot = []
        yield from self._lot(lot)

    def _lot(self, lot: Sequence[Identity]) -> Iterator[list[Found]]:
        images = [image for identity in lot for image in identity]
        parsed = self.parser.parse_many([image.pixels for image in images], [image.name for image in images])
        good = [image.pixels for image, said in zip(images, parsed, strict=True) if isinstance(said, Parsed)]
        features, seen = (None, None) if self.extractor is None else _maps(self.extractor, good)
        first = used = 0
        for identity in lot:
            said = parsed[first : first + len(identity)]
            kept = [one for one in said if isinstance(one, Parsed)]
            own = slice(used, used + len(kept))
            likely = None if seen is None else seen[own]
            maps = iter(self._identity(kept, None if features is None else features[own], likely) if kept else [])
            yield [one if isinstance(one, BadInput) else next(maps) for one in said]
            first, used = first + len(identity), used + len(kept)

    def _identity(
        self, parsed: Sequence[Parsed], features: NDArray[np.float32] | None, likely: NDArray[np.float32] | None
    ) -> list[RegionMap]:
        """The maps of one identity: `parsed` of N images, their F (N x rows x columns x C), and P."""
        label_set = self.parser.label_set
        bodies = [merge_labels(one.labels, label_set) for one in parsed]
        if features is None:
            grids = [one.regions.argmax(axis=0).astype(np.uint8) for one in parsed]
            return [
                RegionMap(labels=one.labels, grid=grid, body=body)
                for one, grid, body in zip(parsed, grids, bodies, strict=True)
            ]
        grid = (features.shape[1], features.shape[2])
        said = np.stack([resampled(one.regions, grid).transpose(1, 2, 0) for one in parsed])
        device = "cpu" if self.extractor is None else self.extractor.device
        fused = fls_labels(features, said.argmax(axis=3).astype(np.uint8), self.config, likely, said, device)
        found = cluster_labels(features, self.config, device) if self._clusters else None
        return [
            RegionMap(
                labels=add_belongings(body, labels, self.config),
                grid=labels,
                body=body,
                clusters=None if found is None else found[index],
            )
            for index, (body, labels) in enumerate(zip(bodies, fused, strict=True))
        ]


def _maps(
    extractor: Extractor, images: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """F and P of images; of regions that are no `REGIONS`, such as clusters, only the background means the same."""
    features, seen = extractor.feature_maps(images)
    regions = extractor.package.regions
    if seen is None or (regions is not None and regions.names == REGIONS.names):
        return features, seen
    return features, seen[..., :1]


def feature_model(ref: str) -> ModelPackage:
    """Load a model whose features can be clustered.

    Raises:
        ModelError: there is no such model, or it has no feature map.
    """
    package = ModelPackage.from_pretrained(ref)
    if not isinstance(package.network, SemanticNetwork):
        raise ModelError(
            f"model {ref!r} has no feature map that FLS could cluster: give one that `vestigo train full` made"
        )
    return package
