"""From the name of a detector to the detector."""

from __future__ import annotations

from vestigo_models.detection.base import Detector
from vestigo_models.errors import ConfigError


def make_detector(ref: str, device: str = "cpu") -> Detector:
    """Build the detector that `ref` names: `hog`, or `hf:FOLDER_OR_ID` for any transformers object detector.

    Raises:
        ConfigError: no such kind of detector.
        ModelError: the checkpoint cannot be loaded or knows no person.
    """
    if ref == "hog":
        from vestigo_models.detection.hog import HogDetector

        return HogDetector()
    if ref.startswith("hf:") and len(ref) > len("hf:"):
        # torch and transformers take seconds to import; only those who ask for them wait.
        from vestigo_models.detection.transformers import TransformersDetector

        return TransformersDetector(ref.removeprefix("hf:"), device=device)
    raise ConfigError(f"unknown detector {ref!r}: use auto, none, hog or hf:FOLDER_OR_ID")
