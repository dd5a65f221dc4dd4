"""Parameters of tracking."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How frames are sampled and people tracked, and tracklets filtered and reduced to their best crops.

    Time is divided into cells of 1/fps seconds, of which at most one frame is examined each. All spans are counted in
    cells (docs/method.md, "Tracking").
    """

    fps: float = 5.0  # frames examined per second of footage
    max_gap_s: float = 1.4  # longest time without detection inside a tracklet
    velocity_s: float = 0.8  # time over which velocity is measured
    jitter: float = 0.3  # largest error of a detection, in fractions of the person's height
    free_speed: float = 1.5  # largest speed of a person with unknown velocity, in heights per second
    known_speed_error: float = 0.5  # largest error of a predicted position, in heights per second
    max_size_ratio: float = 1.6  # largest ratio of the heights of two linked boxes
    max_appearance: float = 0.9  # largest mean distance of an embedding to those of its track, see `appearance`
    appearance_memory: int = 15  # number of embeddings that a track remembers
    start_margin: float = 0.1  # score above that of a certain detection at which a track starts (ByteTrack)
    min_weak_iou: float = 0.5  # least IoU of a detection of low score with the predicted box (ByteTrack)
    motion_s: float = 0.6  # time between the frames whose difference is the motion
    min_detections: int = 3  # least number of detections in a tracklet
    min_score: float = 0.6  # least mean score of the third of a tracklet's detections with the highest scores, 0..1
    min_motion: float = 0.05  # least mean fraction of changed pixels in the third with most motion; 0 disables the test
    crops_per_tracklet: int = 8  # number of best crops kept of a tracklet
    bucket_s: float = 0.6  # span of time of which at most one crop is kept
    near_duplicate_bits: int = 6  # largest number of different hash bits, of 64, of two near-duplicate crops

    def at_rate(self, rate: Fraction) -> Self:
        """Return the configuration for a video of `rate` frames per second, which limits `fps`."""
        return self if Fraction(self.fps) <= rate else replace(self, fps=float(rate))

    def cells(self, seconds: float) -> int:
        """Return a time in seconds as a number of cells, at least one."""
        return max(1, round(seconds * self.fps))

    @property
    def memory(self) -> int:
        """Cells before a frame that the motion of its boxes depends on; positions depend on one."""
        return 2 * self.cells(self.motion_s)

    @property
    def lead_s(self) -> float:
        """Seconds that a slice reads before its first own frame: one cell more than the memory."""
        return (self.memory + 1) / self.fps
