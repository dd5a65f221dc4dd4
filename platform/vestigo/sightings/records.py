"""Records of the browse index, independent of its database."""

from dataclasses import dataclass
from datetime import datetime

from vestigo.retrieval.gallery import Scope


@dataclass(frozen=True, kw_only=True)
class SightingFilter(Scope):
    """Selects sightings, also by `pid`, the label of a dataset; sightings of unknown time are outside every span."""

    pid: int | None = None


ALL_SIGHTINGS = SightingFilter()


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A tracklet, or a still crop.

    Attributes:
        id: Number that is valid as long as its file is indexed; use a crop id in links.
        crop: Its best crop by quality.
        time, offset_s: Of its first crop, corrected; None if unknown.
        tracklet: Empty for a still crop.
        pid: Label of the dataset, None without one.
        crops: Number of crops.
        attributes: Attribute -> value of the greatest mean probability over the crops, the first of equal ones.
        confidences: Attribute -> that mean probability, rounded to three digits.
    """

    id: int
    crop: str
    camera: str
    time: datetime | None
    offset_s: float | None
    tracklet: str
    pid: int | None
    crops: int
    attributes: dict[str, str]
    confidences: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CameraSummary:
    """The crops of one camera.

    Attributes:
        first, last: Corrected times of crops, None if no crop has one.
        samples: Ids of crops spread over its time, earliest first.
    """

    name: str
    crops: int
    sightings: int
    first: datetime | None
    last: datetime | None
    samples: tuple[str, ...]
