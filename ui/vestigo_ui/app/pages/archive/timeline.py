"""When each camera saw people: a lane a camera, and the longest stretches in which it saw nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.sightings.records import CameraSummary
from vestigo_ui.app.components import charts
from vestigo_ui.app.text import format_utc

STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
"""Seconds of a stretch of time; each is a whole number of those before it."""
DRAWN, MEASURED = 300, 3000
"""Stretches of all time that a lane shows at most, and that gaps are measured in."""
SHADES = [[0.0, "rgba(0, 114, 178, 0.45)"], [1.0, "rgba(0, 114, 178, 1)"]]
"""From few crops to many; nobody at all is the page's own ground, light or dark."""
LANE, MARGIN = 24, 110
"""Pixels of height."""
SCALED = 4
"""Lanes from which on there is room for a scale beside them."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A camera saw nobody from `since` to `until`, which are exact to one stretch."""

    camera: str
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long that is."""
        return (self.until - self.since).total_seconds()


def span(cameras: Sequence[CameraSummary]) -> tuple[datetime, datetime] | None:
    """Return from when to when some cameras saw anybody, None where no time is known."""
    known = [(camera.first, camera.last) for camera in cameras if camera.first is not None and camera.last is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


def step(seconds: float, most: int) -> int:
    """Return the shortest stretch of `STEPS` of which at most so many are in a time, the longest where none is."""
    return next((one for one in STEPS if seconds / one <= most), STEPS[-1])


def gaps(presence: pa.Table, seconds: int, most: int) -> list[Gap]:
    """Return the longest gaps of each camera, at most so many, of what `BrowseIndex.presence` counted by stretch."""
    found = []
    for camera, starts in _by_camera(presence):
        missing = np.diff(starts) // seconds - 1
        longest = np.argsort(-missing, kind="stable")[:most]
        for place in longest[missing[longest] > 0].tolist():
            since, until = starts[place] + seconds, starts[place + 1]
            found.append(Gap(camera=camera, since=_moment(since), until=_moment(until)))
    return found


def gap_frame(found: Sequence[Gap]) -> pd.DataFrame:
    """Return gaps as a table, a camera after the other, its longest first."""
    columns = {
        "Camera": [gap.camera for gap in found],
        "From (UTC)": [format_utc(gap.since) for gap in found],
        "To (UTC)": [format_utc(gap.until) for gap in found],
        "Length": [length(gap.seconds) for gap in found],
        "Seconds": [int(gap.seconds) for gap in found],
    }
    return pd.DataFrame(columns)


def lanes(presence: pa.Table, cameras: Sequence[str], seconds: int) -> go.Figure:
    """Return the figure: the first camera on top, time along, darker where there are more crops."""
    by_camera = dict(_by_camera(presence))
    counts = dict(_by_camera(presence, "crops"))
    every = np.concatenate(list(by_camera.values()))
    first = int(every.min()) // seconds
    size = int(every.max()) // seconds - first + 1
    grid = np.zeros((len(cameras), size))
    for row, camera in enumerate(cameras):
        if camera in by_camera:
            np.add.at(grid[row], by_camera[camera] // seconds - first, counts[camera])
    made = charts.new_figure(x="Time (UTC)", y="Camera", height=MARGIN + LANE * max(2, len(cameras)), legend=False)
    made.add_heatmap(
        x=[_moment((first + place) * seconds + seconds / 2) for place in range(size)],
        y=list(cameras),
        z=np.where(grid > 0, grid, np.nan),
        colorscale=SHADES,
        ygap=5,
        colorbar={"title": {"text": "Crops"}, "thickness": 10},
        showscale=len(cameras) >= SCALED,
        hovertemplate=f"%{{y}}<br>%{{x}} ± {length(seconds / 2)}<br>%{{z:,}} crops<extra></extra>",
    )
    made.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return made


def length(seconds: float) -> str:
    """Write a time in its two greatest units."""
    if seconds < 60:
        return f"{seconds:g} s"
    rest = round(seconds)
    units: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or units:
            units.append(f"{count} {name}" if count else "")
    return " ".join(filter(None, units[:2]))


def _by_camera(presence: pa.Table, column: str = "start") -> list[tuple[str, Integers]]:
    """Return starts (seconds since 1970) or counts of each camera, in order of time."""
    cameras = presence.column("camera").combine_chunks().dictionary_encode()
    numbers = cameras.indices.to_numpy()
    values = presence.column(column)
    if column == "start":
        values = values.cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())
    whole = values.to_numpy()
    return [(name, whole[numbers == place]) for place, name in enumerate(cameras.dictionary.to_pylist())]


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
