"""The network that turns a new image into a query for a store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.resolve import open_model, open_registered
from vestigo.search.gallery import Archive, current_model, require_model
from vestigo_models.devices import resolve_device
from vestigo_models.errors import UsageError
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
