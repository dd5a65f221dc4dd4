"""Training images: read once, augmented ahead of the network, every batch a function of (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import BadInput, ConfigError, DatasetError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import resize
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.augmentation import augment_pair
from vestigo_models.training.config import AugmentationConfig

LOADER_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """N training images.

    Attributes:
        paths: their files.
        pids: (N,) int64, identities relabelled to 0..identities-1.
        camids: (N,) int64, cameras.
        schema, attributes: labels (N, n) int64 of a schema, -1 where missing; both None where there are none.
        parsed: (N, rows, columns) uint8, region ids of an external parser on the network's grid; None without one.
    """

    paths: tuple[Path, ...]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    schema: AttributeSchema | None = None
    attributes: NDArray[np.int64] | None = None
    parsed: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if len(self.paths) == 0:
            raise DatasetError("the training split holds no image; check the dataset's folder")
        if not np.array_equal(np.unique(self.pids), np.arange(self.identities)):
            raise ValueError("pids must be relabelled to 0..identities-1")

    @property
    def identities(self) -> int:
        """How many people there are."""
        return int(self.pids.max()) + 1


class ImageReader:
    """Images at the input size; kept in memory after the first reading when all of them fit in `cache_gib`."""

    def __init__(self, paths: tuple[Path, ...], size: tuple[int, int], cache_gib: float) -> None:
        self.paths = paths
        self.size = size
        fits = len(paths) * size[0] * size[1] * 3 <= cache_gib * 2**30
        self._kept = np.empty((len(paths) if fits else 0, *size, 3), dtype=np.uint8)
        self._is_kept = np.zeros(len(self._kept), dtype=bool)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Image `index` as RGB uint8 of the input size.

        Raises:
            DatasetError: the file cannot be read as an image.
        """
        if len(self._kept) and self._is_kept[index]:
            kept: NDArray[np.uint8] = self._kept[index]
            return kept
        try:
            image = resize(read_image(self.paths[index]), self.size)
        except BadInput as error:
            raise DatasetError(f"training image {error.detail}; remove the file or restore it") from None
        if len(self._kept):
            self._kept[index] = image
            self._is_kept[index] = True
        return image


def batches(
    reader: ImageReader,
    plan: NDArray[np.int64],
    config: AugmentationConfig,
    *,
    seed: int,
    epoch: int,
    first: int,
    share: slice,
    maps: NDArray[np.uint8] | None = None,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield the augmented images of steps `first`, `first` + 1, ... of an epoch, B x H x W x 3 uint8, and their maps.

    `plan` holds the indices of every step (steps x whole batch), `share` the columns that this worker takes, `maps` the
    label maps of all images (N x h x w). The generator of an image is keyed by its place in the plan, so neither
    resuming nor the number of workers changes it.
    """
    places = np.arange(plan.size).reshape(plan.shape)

    def prepare(index: int, place: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        rng = np.random.default_rng((seed, epoch, 1, place))
        return augment_pair(reader.read(index), None if maps is None else maps[index], config, rng)

    with ThreadPoolExecutor(LOADER_THREADS) as pool:
        ahead = None
        for step in range(first, len(plan)):
            coming = pool.map(prepare, plan[step, share], places[step, share])
            if ahead is not None:
                yield _stacked(ahead)
            ahead = coming
        if ahead is not None:
            yield _stacked(ahead)


def _stacked(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    images, maps = zip(*pairs, strict=True)
    return np.stack(images), None if maps[0] is None else np.stack(maps)


def identity_batches(
    pids: NDArray[np.int64], *, identities: int, images: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """All batches of one epoch: steps x (identities * images) indices into `pids`, images of an identity adjacent.

    The images of every identity are shuffled and cut into groups of `images` (drawn with replacement where it has
    fewer; the incomplete last group is left out). Each batch takes one group of `identities` random identities, until
    fewer have groups left. The result depends on the arguments alone, so an epoch can be entered at any step.

    Raises:
        ConfigError: the set holds fewer identities than one batch needs.
    """
    rng = np.random.default_rng((seed, epoch, 0))
    groups: dict[int, list[NDArray[np.int64]]] = {}
    for pid in np.unique(pids):
        members = np.flatnonzero(pids == pid)
        if len(members) < images:
            members = rng.choice(members, images, replace=True)
        members = rng.permutation(members)
        whole = len(members) // images
        groups[int(pid)] = list(members[: whole * images].reshape(whole, images))
    if len(groups) < identities:
        raise ConfigError(
            f"batch_identities={identities}: the training set has only {len(groups)} identities; set at most that many"
        )
    left = np.array(sorted(groups))
    batches = []
    while len(left) >= identities:
        chosen = rng.choice(left, identities, replace=False)
        batches.append(np.concatenate([groups[int(pid)].pop() for pid in chosen]))
        left = np.array([pid for pid in left if groups[int(pid)]], dtype=np.int64)
    return np.stack(batches).astype(np.int64)
