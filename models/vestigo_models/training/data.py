"""Training images and batches, which depend on (seed, epoch, step) only."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vestigo_models.arrays import Int64Array, UInt8Array
from vestigo_models.errors import BadInput, ConfigError, DatasetError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import resize
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.augmentation import augment_pair
from vestigo_models.training.config import AugmentationConfig, TrainConfig

LOADER_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """N training images."""

    paths: tuple[Path, ...]
    pids: Int64Array  # identities, (N,), numbered 0..identities-1
    camids: Int64Array  # cameras, (N,)
    schema: AttributeSchema | None = None  # schema of the attributes; None without attributes
    attributes: Int64Array | None = None  # labels (N, n), -1 if missing; None without attributes
    # region ids of a parser on the network's grid, (N, rows, columns); None without a parser
    parsed: UInt8Array | None = None

    def __post_init__(self) -> None:
        if len(self.paths) == 0:
            raise DatasetError("the training split holds no image; check the dataset's folder")
        if not np.array_equal(np.unique(self.pids), np.arange(self.identities)):
            raise ValueError("pids must be relabelled to 0..identities-1")

    @property
    def identities(self) -> int:
        """Number of identities."""
        return int(self.pids.max()) + 1


class ImageReader:
    """Reads images at the input size and caches them in memory if all fit into `cache_gib`."""

    def __init__(self, paths: tuple[Path, ...], size: tuple[int, int], cache_gib: float) -> None:
        self.paths, self.size = paths, size
        self._fits = len(paths) * size[0] * size[1] * 3 <= cache_gib * 2**30
        self._cache: dict[int, UInt8Array] = {}

    def read(self, index: int) -> UInt8Array:
        """Return image `index` as RGB uint8 of the input size.

        Raises:
            DatasetError: If the file cannot be read as an image.
        """
        if index in self._cache:
            return self._cache[index]
        try:
            image = resize(read_image(self.paths[index]), self.size)
        except BadInput as error:
            raise DatasetError(f"training image {error.detail}; remove the file or restore it") from None
        if self._fits:
            self._cache[index] = image
        return image


def batches(
    reader: ImageReader,
    plan: Int64Array,
    augmentation: AugmentationConfig,
    *,
    seed: int,
    epoch: int,
    first: int,
    share: slice,
    maps: UInt8Array | None = None,
) -> Iterator[tuple[UInt8Array, UInt8Array | None]]:
    """Yield the augmented images (B, H, W, 3) of each step of an epoch with their label maps.

    The random generator of an image depends on its place in the plan, and so on neither resuming nor workers. The plan
    has the indices of the images of each step, (steps, whole batch), of which this worker takes the columns `share`
    from the step `first` on. `epoch` is 1-based. `maps` are the label maps of all images, (N, h, w).
    """
    places = np.arange(plan.size).reshape(plan.shape)

    def prepare(index: int, place: int) -> tuple[UInt8Array, UInt8Array | None]:
        rng = np.random.default_rng((seed, epoch, 1, place))
        return augment_pair(reader.read(index), None if maps is None else maps[index], augmentation, rng)

    with ThreadPoolExecutor(LOADER_THREADS) as pool:
        # One step ahead: the images of the next step are prepared while the network computes.
        started = (pool.map(prepare, plan[step, share], places[step, share]) for step in range(first, len(plan)))
        ahead = next(started, None)
        while ahead is not None:
            ready, ahead = ahead, next(started, None)
            images, labels = zip(*ready, strict=True)
            yield np.stack(images), None if labels[0] is None else np.stack(labels)


def identity_batches(pids: Int64Array, config: TrainConfig, epoch: int) -> Int64Array:
    """Return the batches of an epoch (Hermans et al., 2017) for images of the identities `pids` (N,).

    The images of each identity are shuffled and divided into groups of `images_per_identity`, sampled with replacement
    if it has fewer; incomplete groups are dropped. Each batch takes one group of `batch_identities` random identities,
    until fewer have groups left. They are indices of images, (steps, batch size), with those of an identity adjacent.

    Raises:
        ConfigError: If there are fewer identities than a batch needs.
    """
    identities, images = config.batch_identities, config.images_per_identity
    rng = np.random.default_rng((config.seed, epoch, 0))
    groups: dict[int, list[Int64Array]] = {}
    for pid in np.unique(pids).tolist():
        members = np.flatnonzero(pids == pid)
        if len(members) < images:
            members = rng.choice(members, images, replace=True)
        whole = len(members) // images
        groups[pid] = list(rng.permutation(members)[: whole * images].reshape(whole, images))
    if len(groups) < identities:
        raise ConfigError(
            f"batch_identities={identities}: the training set has only {len(groups)} identities; set at most that many"
        )
    available = np.array(sorted(groups))
    batches = []
    while len(available) >= identities:
        chosen = rng.choice(available, identities, replace=False)
        batches.append(np.concatenate([groups[pid].pop() for pid in chosen.tolist()]))
        available = np.array([pid for pid in available.tolist() if groups[pid]], dtype=np.int64)
    return np.stack(batches).astype(np.int64)
