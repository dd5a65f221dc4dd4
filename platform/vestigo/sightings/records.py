"""What the browse index hands out: frozen facts without a database behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which sightings are meant: of some cameras, `since` <= time < `until`, of a known person.

    where: conditions as `AttributeSchema.parse` reads them, met where that value is a sighting's. None and "" are no
    restriction; sightings of unknown time are outside every span.
    """

    cameras: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    where: str = ""
    pid: int | None = None


EVERYBODY = Choice()


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Crops of one person that belong together: a tracklet, or a still crop.

    Attributes:
        id: names it as long as its file is indexed; a crop id is what outlives that, for links.
        crop: its best crop by quality.
        time, offset_s: of its first crop, corrected, None where unknown.
        tracklet: empty for a still.
        pid: the dataset's label, None without one.
        crops: how many there are.
        attributes: attribute -> value of the greatest mean probability over the crops, the first of equal ones.
        sure: attribute -> that mean probability, to three digits.
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
    sure: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CameraSummary:
    """What a camera saw; `first` and `last` are corrected times of crops, None where no crop has one.

    samples: crops that are spread over its time, earliest first.
    """

    name: str
    crops: int
    sightings: int
    first: datetime | None
    last: datetime | None
    samples: tuple[str, ...]
