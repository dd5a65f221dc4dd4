"""Tracklets from detections: pure functions with a finite memory, so that a video may be cut anywhere."""

from vestigo_models.tracking.appearance import appearance
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.filtering import is_person_track, strongest_third
from vestigo_models.tracking.linking import FrameDetections, Linker, link
from vestigo_models.tracking.motion import MotionMeter
from vestigo_models.tracking.selection import BestCrops, best_crops, bucket_of, near_duplicates

__all__ = [
    "BestCrops",
    "FrameDetections",
    "Linker",
    "MotionMeter",
    "TrackingConfig",
    "appearance",
    "best_crops",
    "bucket_of",
    "is_person_track",
    "link",
    "near_duplicates",
    "strongest_third",
]
