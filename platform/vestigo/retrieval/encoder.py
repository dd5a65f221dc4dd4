"""The network that turns a new image into a query for a store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.retrieval.archive import Archive, newest_model, require_model
from vestigo_models.devices import resolve_device
from vestigo_models.errors import ModelError, UsageError
from vestigo_models.extraction import Extractor
from vestigo_models.package import ModelPackage


def open_encoder(archive: Archive, model: str | None = None, device: str = "auto") -> Extractor:
    """Load the model `model` (default, a folder or hub:ID), or without it the newest whose crops the store holds.

    Raises:
        StoreError: the store is empty, or holds no crop of that model.
        ModelError: the package cannot be loaded, or is no longer the one that the store's crops were made with.
    """
    if model is not None:
        package = ModelPackage.from_pretrained(model)
        require_model(archive, package.digest)
    else:
        newest = newest_model(archive)
        try:
            package = ModelPackage.from_pretrained(newest.location)
        except ModelError:
            raise ModelError(
                f"model {newest.name} of the store is not at {newest.location} any more; say with --model where it is"
            ) from None
        if package.digest != newest.digest:
            raise ModelError(
                f"the model at {newest.location} has changed since the archive was indexed ({newest.digest[:12]} then, "
                f"{package.digest[:12]} now); say with --model where the old one is, or index again"
            )
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
