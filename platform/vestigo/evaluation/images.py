"""Embed the images of a dataset's split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vestigo.datasets.reid import Split
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.ingest.embedding import FileFeatures, OnBatch, embed_files
from vestigo.ranking.camera_bias import CameraBias, sum_by_camera
from vestigo_models.arrays import Int64Array
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
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


def embed_split(
    split: Split, extractor: Extractor, progress: ProgressCallback = ignore_progress, watch: OnBatch | None = None
) -> tuple[ImageFeatures, FileFeatures]:
    """Embed the readable images of a split; returns them and which they are."""
    embedded = embed_files(split.paths, extractor, progress, watch)
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
