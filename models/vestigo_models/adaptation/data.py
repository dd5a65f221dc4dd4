"""The crops of an adaptation, their embeddings, and the predictions of the base for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vestigo_models.adaptation.clusters import unit_length
from vestigo_models.arrays import Float32Array, Int64Array, UInt8Array
from vestigo_models.errors import UsageError
from vestigo_models.inference.extractor import Extractor, build_descriptors, region_areas
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import normalise
from vestigo_models.networks.build import fold_batch_norms
from vestigo_models.networks.outputs import NetworkOutput
from vestigo_models.progress import ProgressCallback
from vestigo_models.training.data import ImageReader
from vestigo_models.training.distributed import Ranks

MIN_CROPS = 64
"""Fewest crops that can be adapted to: a batch."""
CROPS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptationSet:
    """N unlabelled crops.

    Raises:
        UsageError: There are too few crops, or all are of one camera.
    """

    paths: tuple[Path, ...]
    tracklets: Int64Array  # (N,) numbered 0, 1, ...; a still image is a tracklet of its own
    cameras: Int64Array  # (N,) numbered 0, 1, ...

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.tracklets) == len(self.cameras):
            raise ValueError("paths, tracklets and cameras must be equally long")
        if len(self) < MIN_CROPS:
            raise UsageError(f"{len(self)} crops: adaptation needs at least {MIN_CROPS}; index more footage first")
        if not self.cameras.any():
            raise UsageError(
                f"all {len(self)} crops are of one camera, and adaptation learns across cameras: index footage of "
                "another one, or say which files are of which camera (camera=NAME/ folders, --name-pattern)"
            )

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseTargets:
    """What the base predicts for N crops: targets against forgetting."""

    attributes: Float32Array | None  # (N, M) probabilities; None without attributes
    maps: UInt8Array | None  # (N, h, w) most probable regions; None without regions

    @classmethod
    def predict(
        cls, base: ModelPackage, reader: ImageReader, device: torch.device, ranks: Ranks, progress: ProgressCallback
    ) -> BaseTargets:
        """Compute the predictions of the base, shared by the workers; attributes are not calibrated."""
        network = fold_batch_norms(base.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        count, config = len(reader.paths), base.config
        attributes = None if base.schema is None else np.zeros((count, base.schema.classes), dtype=np.float32)
        maps = np.zeros((count, *base.grid), dtype=np.uint8) if config.network.regions else None

        @torch.inference_mode()
        def predict(rows: Int64Array) -> None:
            images = np.stack([reader.read(int(row)) for row in rows])
            output = network(normalise(images, config.mean, config.std, device))
            if attributes is not None:
                attributes[rows] = output.attributes.float().exp().cpu().numpy()
            if maps is not None:
                maps[rows] = output.region_logits.argmax(dim=1).cpu().numpy()

        _by_rows(count, ranks, progress, predict)
        return cls(
            attributes=None if attributes is None else _sum(attributes, ranks, device),
            maps=None if maps is None else _sum(maps, ranks, device),
        )


def embed_crops(
    package: ModelPackage, reader: ImageReader, device: torch.device, ranks: Ranks, progress: ProgressCallback
) -> Float32Array:
    """Return the descriptors of all crops as (N, D) unit vectors, computed by all workers together."""
    extractor, count = Extractor(package, str(device)), len(reader.paths)
    vectors = np.zeros((count, package.embedding_dim), dtype=np.float32)

    def embed(rows: Int64Array) -> None:
        vectors[rows] = extractor.extract([reader.read(int(row)) for row in rows]).descriptors.vectors

    _by_rows(count, ranks, progress, embed)
    return unit_length(_sum(vectors, ranks, device))


def output_vectors(output: NetworkOutput, package: ModelPackage) -> Tensor:
    """Return the descriptors of B crops as (B, D) unit vectors with gradients."""
    least = package.config.network.visibility_min_cells
    visible = region_areas(output)[:, 1:] * prod(package.grid) >= least
    posts = {kind: features.post for kind, features in output.features.items()}
    return functional.normalize(build_descriptors(posts, visible, package.compared_parts), dim=1)


def _by_rows(count: int, ranks: Ranks, progress: ProgressCallback, work: Callable[[Int64Array], None]) -> None:
    own = np.arange(ranks.rank, count, ranks.size)
    for start in range(0, len(own), CROPS_AT_ONCE):
        rows = own[start : start + CROPS_AT_ONCE]
        work(rows)
        progress(min(count, (start + len(rows)) * ranks.size), count)


def _sum(values: np.ndarray, ranks: Ranks, device: torch.device) -> np.ndarray:  # type: ignore[type-arg]
    """Return the sum of arrays that are zero but in a worker's own rows."""
    return ranks.sum(torch.from_numpy(values).to(device)).cpu().numpy()
