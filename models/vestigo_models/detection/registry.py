"""The registry of person detectors, with the meaning of `auto` and `none`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vestigo_models.registry import Component, ComponentRegistry

if TYPE_CHECKING:
    from vestigo_models.detection.base import Detector

AUTO, NONE = "auto", "none"
DEFAULT_DETECTOR = "nanodet"
CROP_MAX_HEIGHT = 300
"""Pixels. `auto` takes a still image that is taller than wide and at most this high for a crop."""
DetectorFactory = Callable[[str, str], "Detector"]
"""Makes a detector from what follows the colon of its reference, and a torch device."""


def _nanodet(_argument: str, device: str) -> Detector:
    from vestigo_models.detection.nanodet import NanoDetDetector

    return NanoDetDetector(device=device)


def _hog(_argument: str, _device: str) -> Detector:
    from vestigo_models.detection.hog import HogDetector

    return HogDetector()


def _transformers(argument: str, device: str) -> Detector:
    from vestigo_models.detection.transformers import TransformersDetector

    return TransformersDetector(argument, device=device)


_TRANSFORMERS = "An object detector of the transformers library that has the label person."
DETECTORS: ComponentRegistry[DetectorFactory] = ComponentRegistry(
    "detector",
    "vestigo.detectors",
    [
        Component(name="nanodet", factory=_nanodet, help="A small network that ships with Vestigo."),
        Component(name="hog", factory=_hog, help="OpenCV's people detector; needs no weights."),
        Component(name="hf", factory=_transformers, argument="FOLDER_OR_ID", help=_TRANSFORMERS),
    ],
    reserved=(AUTO, NONE),
)


def register_detector(name: str, factory: DetectorFactory, *, help: str = "", argument: str = "") -> None:
    """Add a detector that `--detector NAME`, or `NAME:ARGUMENT` if `argument` is given, selects.

    Installed packages add one with an entry point of the group `vestigo.detectors` that names an `Component`.

    Raises:
        ConfigError: If the name is taken.
    """
    DETECTORS.register(Component(name=name, factory=factory, help=help, argument=argument))


def make_detector(reference: str, device: str = "cpu") -> Detector:
    """Return the detector that `reference` names; `auto` is the default one.

    Raises:
        ConfigError: If there is no such detector.
        ModelError: If its weights cannot be loaded or it has no label for people.
    """
    entry, argument = DETECTORS.find(DEFAULT_DETECTOR if reference == AUTO else reference)
    return entry.factory(argument, device)


def active_detector(reference: str, device: str = "cpu") -> Detector | None:
    """Return the detector that `reference` names, or None for `none`: whole images are the crops."""
    return None if reference == NONE else make_detector(reference, device)


def resolve_auto(reference: str, *, only_crops: bool) -> str:
    """Return the reference to use for a run: `none` instead of `auto` if all sources hold crops only."""
    return NONE if reference == AUTO and only_crops else reference


def is_crop_size(height: int, width: int) -> bool:
    """Return whether `auto` takes a still image of this size, in pixels, for the crop of one person."""
    return width < height <= CROP_MAX_HEIGHT
