"""The filter that keeps chains of detections that are people."""

from __future__ import annotations

import numpy as np

from vestigo_models.arrays import FloatArray
from vestigo_models.tracking.config import TrackingConfig


def strongest_third(values: FloatArray) -> float:
    """Return the mean of the largest third of the values (at least one), without NaN; NaN if no value remains.

    Unlike the mean it tolerates occlusion and standing still, and unlike the maximum it tolerates single outliers.
    """
    known = np.sort(np.asarray(values, dtype=np.float64)[~np.isnan(values)])[::-1]
    return float(known[: -(-len(known) // 3)].mean()) if len(known) else float("nan")


def is_person_track(scores: FloatArray, motion: FloatArray, config: TrackingConfig) -> bool:
    """Return whether a chain of n detections is kept as a tracklet.

    Args:
        scores: Scores of the detections, (n,).
        motion: Fractions of changed pixels, (n,); if all are NaN (a video of less than a second), motion is not tested.
        config: Thresholds.
    """
    if len(scores) < config.min_detections or strongest_third(scores) < config.min_score:
        return False
    return not strongest_third(motion) < config.min_motion
