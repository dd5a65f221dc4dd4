"""Embed the images of a dataset's split: in this process, or where an `Embedder` computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vestigo.datasets.reid import Split
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.regions import RegionCounter
from vestigo.ingest.embedding import FileFeatures, embed_files
from vestigo.ranking.camera_bias import CameraBias, sum_by_camera
from vestigo_models.arrays import Int64Array
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import ProgressCallback, ignore_progress


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFeatures:
    """N images and what a model computes for them."""

    images: ImageSet
    features: CropFeatures
    labels: Int64Array  # (N, n) int64 attribute labels, -1 = missing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | Int64Array) -> ImageFeatures:
        return ImageFeatures(images=self.images[rows], features=self.features[rows], labels=self.labels[rows])


class Embedder(Protocol):
    """Computes the features of image files; all embedders of a model compute the same.

    `LocalEmbedder` computes in this process, `vestigo_workers.evaluation.embedder` on the workers of an executor.
    """

    @property
    def package(self) -> ModelPackage:
        """The model."""
        ...

    def embed(
        self,
        paths: Sequence[Path],
        progress: ProgressCallback = ignore_progress,
        region_maps: Sequence[Path] | None = None,
    ) -> FileFeatures:
        """Extract the features of N image files.

        Args:
            paths: The files.
            progress: Receives the number of files done and N.
            region_maps: True label maps of the files; the regions of the model are compared with them.
        """
        ...


class LocalEmbedder:
    """Embeds image files in this process."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    @property
    def package(self) -> ModelPackage:
        """See `Embedder.package`."""
        return self._extractor.package

    def embed(
        self,
        paths: Sequence[Path],
        progress: ProgressCallback = ignore_progress,
        region_maps: Sequence[Path] | None = None,
    ) -> FileFeatures:
        """See `Embedder.embed`."""
        if region_maps is None:
            return embed_files(paths, self._extractor, progress)
        counter = RegionCounter(self._extractor, region_maps)
        return replace(embed_files(paths, self._extractor, progress, counter), region_cells=counter.cells)


def as_embedder(model: Extractor | Embedder) -> Embedder:
    """Return an embedder as it is, and that of this process for an extractor."""
    return LocalEmbedder(model) if isinstance(model, Extractor) else model


def embed_split(
    split: Split,
    model: Extractor | Embedder,
    progress: ProgressCallback = ignore_progress,
    region_maps: Sequence[Path] | None = None,
) -> tuple[ImageFeatures, FileFeatures]:
    """Embed the readable images of a split; returns them and which they are. Arguments are those of `Embedder`."""
    embedded = as_embedder(model).embed(split.paths, progress, region_maps)
    rows = embedded.rows
    images = ImageSet(pids=split.pids[rows], camids=split.camids[rows], ids=embedded.ids)
    return ImageFeatures(images=images, features=embedded.features, labels=split.labels[rows]), embedded


def without_camera_bias(
    query: ImageFeatures, gallery: ImageFeatures, blocks: Sequence[int]
) -> tuple[ImageFeatures, ImageFeatures]:
    """Return both sides without the bias of their cameras, as a search in the gallery compares them.

    The bias is measured on the gallery, without identities. `blocks` are those of `CameraBias`.
    """
    side = gallery.features.descriptors
    bias = CameraBias.of(sum_by_camera(side, np.ones(len(side)), gallery.images.camids), blocks)
    moved = [bias.remove(images.features.descriptors, images.images.camids) for images in (query, gallery)]
    first, second = (
        replace(images, features=replace(images.features, descriptors=descriptors))
        for images, descriptors in zip((query, gallery), moved, strict=True)
    )
    return first, second
