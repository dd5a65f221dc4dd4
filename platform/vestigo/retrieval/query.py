"""Turn images and stored crops into the features of a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vestigo.resolve import open_model, open_registered, require_crops, resolve_search_model
from vestigo.retrieval.gallery import Gallery, SearchableStore
from vestigo_models.arrays import Float64Array, UInt8Array
from vestigo_models.errors import UsageError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages

if TYPE_CHECKING:
    from vestigo_models.inference.extractor import Extractor


@dataclass(frozen=True, kw_only=True)
class Query:
    """Views of one person."""

    crops: tuple[str, ...] = ()  # Ids of stored crops
    # Those of `crops` that may be results, such as confirmed ones; the others are omitted from the results
    kept: tuple[str, ...] = ()
    views: CropFeatures | None = None  # Features of new images
    # Digest of the model that made `views`; without views it may be None, see `vestigo.resolve.resolve_search_model`
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Box:
    """A person in a frame: x, y of the upper left corner, width and height, in pixels."""

    x: int
    y: int
    w: int
    h: int

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read `x,y,w,h`.

        Raises:
            UsageError: If the text is not four numbers, or the box has no area.
        """
        try:
            x, y, w, h = (round(float(part)) for part in text.split(","))
        except (ValueError, OverflowError):
            raise UsageError(f"box {text!r} is not x,y,w,h in pixels, as in 320,80,64,128") from None
        if w <= 0 or h <= 0:
            raise UsageError(f"box {text!r} has no area; give width and height above 0")
        return cls(x=x, y=y, w=w, h=h)

    def cut(self, frame: UInt8Array) -> UInt8Array:
        """Return the part of an RGB frame (height, width, 3) inside the box.

        Raises:
            UsageError: If the box lies outside the frame.
        """
        part = frame[max(0, self.y) : max(0, self.y + self.h), max(0, self.x) : max(0, self.x + self.w)]
        if not part.size:
            height, width = frame.shape[:2]
            raise UsageError(
                f"box {self.x},{self.y},{self.w},{self.h} lies outside the frame of {width}x{height} pixels"
            )
        return part


def open_encoder(store: SearchableStore, model: str | None = None, device: str = "auto") -> Extractor:
    """Load the network that turns images into queries for a store.

    `model` is a reference as in `vestigo.resolve`, None for the serving model, else the newest.

    Raises:
        StoreError: If the store holds no crops of the model, or as `vestigo.resolve.resolve_search_model`.
        ModelError: If the package cannot be loaded, or has changed since the store's crops were made with it.
    """
    # These load torch, which a search for stored crops does without.
    from vestigo_models.devices import resolve_device
    from vestigo_models.inference.extractor import Extractor

    if model is None:
        package = open_registered(resolve_search_model(store))
    else:
        package = open_model(store, model)
        require_crops(store, package.digest)
    return Extractor(package, resolve_device(device))


def query_features(
    store: SearchableStore, query: Query, progress: OpenProgress = ignore_stages
) -> tuple[Gallery, CropFeatures]:
    """Return the gallery that a query is compared with, and the features of the query's views, at least one.

    Raises:
        StoreError: As `vestigo.resolve.resolve_search_model` and `Gallery.of`, or if a crop is not in the store under
            that model.
        UsageError: If there is no view, or views without their model.
    """
    # Stored crops have no areas.
    views = [] if query.views is None else [replace(query.views, areas=query.views.areas[:, :0])]
    if not query.crops and (query.model is None or not sum(map(len, views))):
        raise UsageError("a search needs a crop, or views of new images and the digest of the model that made them")
    model = resolve_search_model(store, query.model)
    gallery = Gallery.of(store, model, progress)
    if query.crops:
        views.append(gallery.features(query.crops))
    features = CropFeatures.joined(views)
    if not features.are_finite().all():
        raise UsageError(
            f"model {model.name} computes numbers that are not finite for a query: name another image or model"
        )
    return gallery, features


def fuse_views(views: CropFeatures, blocks: Sequence[int] = ()) -> CropFeatures:
    """Fuse V views of one person into one query, as in docs/method.md, "Distance".

    Each block of the descriptor is the L2-normalised mean over the views that show it; a part is visible if any view
    shows it. Attribute probabilities are means. The mean keeps what the views share and averages out background and
    blur; the smallest distance would follow the worst view. One vector also needs one pass over the gallery.

    `blocks` are the lengths of a descriptor's blocks as in `vestigo.store.models.records.ModelFacts`, () for one block.

    Raises:
        UsageError: If the views cancel each other out, so that they cannot be of one person.
    """
    descriptors = views.descriptors
    mean: Float64Array = descriptors.vectors.astype(np.float64).mean(axis=0)
    visible = np.array(descriptors.visible.any(axis=0))
    ends = np.cumsum(blocks or (len(mean),))
    for position, block in enumerate(np.split(mean, ends[:-1])):
        part = position - descriptors.always
        norm = float(np.linalg.norm(block))
        if norm >= 1e-6:
            block /= norm
        elif part < 0:
            raise UsageError("the views of the query have nothing in common; are they of one person?")
        else:
            block[:] = 0
            visible[part] = False
    return CropFeatures(
        descriptors=Descriptors(
            vectors=mean[None].astype(np.float32), visible=visible[None], always=descriptors.always
        ),
        probabilities=views.probabilities.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32),
        areas=views.areas.mean(axis=0, keepdims=True),
    )
