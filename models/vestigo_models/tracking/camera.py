"""Motion of the camera between sampled frames, estimated from the background (docs/method.md, "Tracking").

Follows the global motion compensation of BoT-SORT (Aharon et al., 2022): corners are followed by sparse optical flow
(Lucas and Kanade, 1981), and a similarity transform is fitted to them with RANSAC (Fischler and Bolles, 1981).
"""

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, Float64Array, UInt8Array

WORKING_HEIGHT = 270
MAX_CORNERS = 200
MIN_CORNERS = 20
"""Least number of corners that must follow one transform, else the camera is taken for still."""
MIN_SHARE = 0.5
"""Least share of the corners that must follow it."""
MAX_ZOOM = 2.0
"""Largest change of scale that is believed."""
MIN_SHIFT = 0.01
"""Least displacement that counts, as a fraction of the frame's height: people under a still camera need none."""


class CameraMeter:
    """Estimates the motion of the camera from one sampled frame to the next; it remembers one frame."""

    def __init__(self) -> None:
        self._grey: UInt8Array | None = None
        self._corners: Float32Array | None = None  # (M, 2)

    def measure(self, image: UInt8Array) -> Float64Array | None:
        """Return the transform (2, 3) from positions in the previous frame to positions in this one, in pixels.

        None means a still camera: the first frame, a frame of another size, too little texture, or displacements of
        less than `MIN_SHIFT`. The image is RGB uint8 (height, width, 3).
        """
        grey, scale = _reduced(image)
        earlier, corners = self._grey, self._corners
        detected = cv2.goodFeaturesToTrack(grey, MAX_CORNERS, qualityLevel=0.01, minDistance=8)
        self._grey, self._corners = grey, None if detected is None else detected.reshape(-1, 2).astype(np.float32)
        if earlier is None or corners is None or earlier.shape != grey.shape or len(corners) < MIN_CORNERS:
            return None
        moved, is_followed, _ = cv2.calcOpticalFlowPyrLK(earlier, grey, corners, np.empty_like(corners))
        kept = np.asarray(is_followed).ravel() == 1
        start, end = corners[kept], np.asarray(moved)[kept]
        if len(start) < MIN_CORNERS or np.median(np.linalg.norm(end - start, axis=1)) < MIN_SHIFT * grey.shape[0]:
            return None
        transform, is_inlier = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=3.0)
        if transform is None or is_inlier.sum() < max(MIN_CORNERS, MIN_SHARE * len(start)):
            return None
        if not 1 / MAX_ZOOM < motion_scale(transform) < MAX_ZOOM:
            return None
        # Positions in the frame are those in the reduced image divided by `scale`.
        transform[:, 2] /= scale
        return np.asarray(transform, dtype=np.float64)


def _reduced(image: UInt8Array) -> tuple[UInt8Array, float]:
    """Return an RGB image in grey, at most `WORKING_HEIGHT` high, and its scale."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORKING_HEIGHT / grey.shape[0])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale


def apply_motion(transform: Float64Array, points: Float64Array) -> Float64Array:
    """Return points (..., 2) moved by a transform (2, 3)."""
    return np.asarray(points @ transform[:, :2].T + transform[:, 2])


def motion_scale(transform: Float64Array) -> float:
    """Return the factor by which a transform (2, 3) changes lengths."""
    return float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
