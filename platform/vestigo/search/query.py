"""The network that turns a new image into a query for a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.resolve import open_model, open_registered
from vestigo.search.gallery import Appearance, Archive, current_model, require_model
from vestigo_models.devices import resolve_device
from vestigo_models.errors import UsageError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.extractor import Extractor


def open_encoder(archive: Archive, model: str | None = None, device: str = "auto") -> Extractor:
    """Load the model `model` (default, a folder, hub:ID, a name or digest of the store), by default `current_model`.

    Raises:
        StoreError: the store holds no crop of that model, or without one, as `current_model`.
        ModelError: the package cannot be loaded, or is no longer the one that the store's crops were made with.
    """
    if model is None:
        package = open_registered(current_model(archive))
    else:
        package = open_model(archive, model)
        require_model(archive, package.digest)
    return Extractor(package, resolve_device(device))


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
            UsageError: anything but four whole numbers, or no area.
        """
        try:
            x, y, w, h = (round(float(part)) for part in text.split(","))
        except (ValueError, OverflowError):
            raise UsageError(f"box {text!r} is not x,y,w,h in pixels, as in 320,80,64,128") from None
        if w <= 0 or h <= 0:
            raise UsageError(f"box {text!r} has no area; give width and height above 0")
        return cls(x=x, y=y, w=w, h=h)

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of an RGB frame (H, W, 3) inside the box.

        Raises:
            UsageError: the box lies outside the frame.
        """
        part = frame[max(0, self.y) : max(0, self.y + self.h), max(0, self.x) : max(0, self.x + self.w)]
        if not part.size:
            height, width = frame.shape[:2]
            raise UsageError(
                f"box {self.x},{self.y},{self.w},{self.h} lies outside the frame of {width}x{height} pixels"
            )
        return part


def fuse(views: Appearance, blocks: Sequence[int] = ()) -> Appearance:
    """Return one query from V views: of each block of the descriptors the mean over the views that show it,
    L2-normalised, and the mean of the attribute probabilities.

    A part is visible if any view shows it. The mean, not the smallest distance: what the views share is the person
    and adds up, what each has of its own (background, blur, somebody in front) averages out, while the smallest
    distance follows the worst view wherever it leads. It is one vector, too, so several views cost one pass over the
    archive.

    Args:
        blocks: lengths of a descriptor's blocks as in `vestigo.store.ModelFacts`; () for one.

    Raises:
        UsageError: the views cancel each other out, so they cannot be of one person.
    """
    descriptors = views.descriptors
    mean: NDArray[np.float64] = descriptors.vectors.astype(np.float64).mean(axis=0)
    visible = np.array(descriptors.visible.any(axis=0))
    ends = np.cumsum(blocks or (len(mean),))
    for place, block in enumerate(np.split(mean, ends[:-1])):
        part = place - descriptors.always
        norm = float(np.linalg.norm(block))
        if norm >= 1e-6:
            block /= norm
        elif part < 0:
            raise UsageError("the views of the query have nothing in common; are they of one person?")
        else:
            block[:] = 0
            visible[part] = False
    return Appearance(
        descriptors=Descriptors(
            vectors=mean[None].astype(np.float32), visible=visible[None], always=descriptors.always
        ),
        probabilities=views.probabilities.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32),
    )
