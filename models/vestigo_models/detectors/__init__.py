"""Person detectors behind one interface."""

from vestigo_models.detectors.base import Detections, Detector, iou_matrix, suppress, vote
from vestigo_models.detectors.factory import make_detector

__all__ = ["Detections", "Detector", "iou_matrix", "make_detector", "suppress", "vote"]
