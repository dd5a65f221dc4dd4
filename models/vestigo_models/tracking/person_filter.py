"""Which chains of detections are people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestigo_models.tracking.config import TrackingConfig


def strongest_third(values: NDArray[np.floating]) -> float:
    """Mean of the largest third of the values (at least one), NaN left out; NaN when nothing is left.

    Against the mean it forgives the stretches in which somebody is half hidden or stands still; against the maximum
    it is not fooled by one lucky frame or one passer-by in front of a lamp post.
    """
    known = np.sort(np.asarray(values, dtype=np.float64)[~np.isnan(values)])[::-1]
    return float(known[: -(-len(known) // 3)].mean()) if len(known) else float("nan")


def is_person_track(scores: NDArray[np.floating], motion: NDArray[np.floating], config: TrackingConfig) -> bool:
    """Whether a chain of detections is kept as a tracklet; scores and motion are (n,), one value a detection.

    Where motion is unknown throughout (a video of less than a second) it rejects nothing.
    """
    if len(scores) < config.min_detections or strongest_third(scores) < config.min_score:
        return False
    return not strongest_third(motion) < config.min_motion
