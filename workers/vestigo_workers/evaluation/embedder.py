"""Embed image files on the workers of an executor, with the features of one process bit for bit."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

from vestigo.evaluation.images import LocalEmbedder
from vestigo.ingest.embedding import FileFeatures
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.executors.batches import Batch, BatchPool, cut_batches

ImageInput = tuple[Path, Path | None]
"""An image file, and its label map if the model's regions are compared with it."""


class EmbeddingWorker:
    """Puts a model on a device once and embeds batches of image files."""

    def __init__(self, package: ModelPackage, device: str) -> None:
        self._embedder = LocalEmbedder(Extractor(package, resolve_device(device)))

    def process(self, batch: Batch[ImageInput]) -> FileFeatures:
        """Extract the features of the files of a batch; unreadable files are skipped and counted."""
        paths = [path for path, _ in batch.inputs]
        maps = [region_map for _, region_map in batch.inputs if region_map is not None]
        return self._embedder.embed(paths, region_maps=maps or None)


class ExecutorEmbedder:
    """Embeds image files on an executor; a `vestigo.evaluation.images.Embedder`.

    The workers start with the first images and stay until `close`. They must see the files under the same paths.

    Args:
        package: The model; the workers receive it, and need no folder of it.
        settings: The executor; `shard_size` images are a batch.
    """

    def __init__(self, package: ModelPackage, settings: ExecutorSettings) -> None:
        self._package = package
        self._settings = settings
        factory = partial(EmbeddingWorker, package, settings.device)
        self._pool: BatchPool[ImageInput, FileFeatures] = BatchPool(factory, settings)

    @property
    def package(self) -> ModelPackage:
        """See `Embedder.package`."""
        return self._package

    def embed(
        self,
        paths: Sequence[Path],
        progress: ProgressCallback = ignore_progress,
        region_maps: Sequence[Path] | None = None,
    ) -> FileFeatures:
        """See `Embedder.embed`; memory is the features.

        Raises:
            DatasetError: A label map cannot be read.
            WorkError: No worker starts, or workers die of every image.
        """
        maps = [None] * len(paths) if region_maps is None else [path.absolute() for path in region_maps]
        images = list(zip([path.absolute() for path in paths], maps, strict=True))
        parts: dict[int, FileFeatures] = {}
        lost: dict[int, str] = {}
        for batch, result in self._pool.process(cut_batches(images, self._settings.shard_size), progress):
            if isinstance(result, BadInput):
                lost[batch.first] = result.reason
            else:
                parts[batch.first] = result.copy()
        if not parts:
            parts = {0: self.embed(())}
        return FileFeatures.joined(parts, lost)

    def close(self) -> None:
        """Release the workers."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
