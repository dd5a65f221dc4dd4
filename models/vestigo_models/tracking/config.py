"""Parameters of tracking, and what follows from them: how far back a decision may look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How frames are sampled, linked, filtered and thinned.

    Time is cut into **cells** of 1/fps seconds; at most one frame of a cell is looked at. Everything that says
    "earlier" counts cells, so that a decision never depends on where a slice of the video begins.
    """

    fps: float = 5.0
    """Frames looked at, per second of footage."""
    max_gap_s: float = 1.4
    """A person may stay undetected for so long and keep the tracklet."""
    velocity_s: float = 0.8
    """Velocity is measured over so much of the past."""
    jitter: float = 0.3
    """Detections may be off by so much (fraction of the person's height)."""
    free_speed: float = 1.5
    """Fastest walk of somebody whose velocity is unknown (heights per second)."""
    known_speed_error: float = 0.5
    """How far a predicted position may drift (heights per second)."""
    max_size_ratio: float = 1.6
    """Two linked boxes differ in height by at most this factor."""
    max_appearance: float = 0.45
    """Two linked boxes differ in colour by at most this Hellinger distance (0..1)."""
    motion_s: float = 0.6
    """Motion is the change against the frame of so long ago."""
    min_detections: int = 3
    """A tracklet has at least so many detections."""
    min_score: float = 0.6
    """The surest third of a tracklet's detections has at least this mean score (0..1)."""
    min_motion: float = 0.05
    """In a tracklet's liveliest third at least this share of the pixels of a box changes; 0 switches the test off."""
    crops_per_tracklet: int = 8
    """The best crops that are kept of a tracklet."""
    bucket_s: float = 0.6
    """At most one crop is kept of each such stretch of time."""
    near_duplicate_bits: int = 6
    """Two crops of a tracklet whose hashes differ in at most so many of 64 bits are the same picture."""

    def at_rate(self, rate: Fraction) -> TrackingConfig:
        """The same configuration for a video of `rate` frames per second, which can be sampled no faster."""
        return self if Fraction(self.fps) <= rate else replace(self, fps=float(rate))

    @property
    def exact_fps(self) -> Fraction:
        """`fps` without the error of floating point (30000/1001 survives)."""
        return Fraction(self.fps).limit_denominator(1001)

    def cells(self, seconds: float) -> int:
        """So many seconds in cells, at least one."""
        return max(1, round(seconds * self.fps))

    @property
    def memory(self) -> int:
        """R: a link into a frame, and the motion of its boxes, depend on that frame and the R cells before it alone.

        The derivation stands in `vestigo_models.tracking.association`; motion looks at most two of its spans back.
        """
        return max(self.cells(self.max_gap_s) + self.cells(self.velocity_s), 2 * self.cells(self.motion_s))

    @property
    def lead_s(self) -> float:
        """Seconds that a slice has to look at before the first frame it owns; one cell more than the memory."""
        return (self.memory + 1) / self.fps
