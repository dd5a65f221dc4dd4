"""Timeline of cameras: one lane for each camera, and the longest gaps without detections."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa

from vestigo.sightings.records import CameraSummary
from vestigo_models.arrays import Int64Array
from vestigo_ui.app.components import charts
from vestigo_ui.app.text import format_span, format_utc

STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
"""Possible lengths of an interval in seconds; each is a multiple of the one before it."""
MAX_DRAWN, MAX_MEASURED = 300, 3000
"""Intervals of the whole time that a lane shows, and that gaps are measured in."""
SHADES = [[0.0, "rgba(0, 114, 178, 0.45)"], [1.0, "rgba(0, 114, 178, 1)"]]
"""Colours from few to many crops; intervals without crops are transparent."""
LANE, MARGIN = 24, 110
"""Height in pixels of a lane and of everything else."""
MIN_LANES_FOR_SCALE = 4


def time_span(cameras: Sequence[CameraSummary]) -> tuple[datetime, datetime] | None:
    """Return the times of the first and last crop of some cameras; None if no time is known."""
    times = [(camera.first, camera.last) for camera in cameras if camera.first is not None and camera.last is not None]
    return (min(first for first, _ in times), max(last for _, last in times)) if times else None


def choose_step(seconds: float, most: int) -> int:
    """Return the shortest of `STEPS` that divides a time into at most `most` intervals, else the longest one."""
    return next((step for step in STEPS if seconds / step <= most), STEPS[-1])


def find_gaps(presence: pa.Table, seconds: int, most: int) -> pd.DataFrame:
    """Return one row for each of the longest gaps of each camera, exact to one interval.

    Args:
        presence: Result of `BrowseIndex.presence`.
        seconds: Its interval.
        most: Largest number of gaps of a camera.
    """
    rows = []
    for camera, starts in _by_camera(presence):
        missing = np.diff(starts) // seconds - 1
        longest = np.argsort(-missing, kind="stable")[:most]
        for place in longest[missing[longest] > 0].tolist():
            since, until = int(starts[place]) + seconds, int(starts[place + 1])
            length = until - since
            rows.append([camera, format_utc(_to_time(since)), format_utc(_to_time(until)), format_span(length), length])
    return pd.DataFrame(rows, columns=["Camera", "From (UTC)", "To (UTC)", "Length", "Seconds"])


def presence_figure(presence: pa.Table, cameras: Sequence[str], seconds: int) -> go.Figure:
    """Return the figure: time along, the first camera on top, darker where there are more crops.

    Args:
        presence: Result of `BrowseIndex.presence`.
        cameras: Names of the lanes.
        seconds: Interval of the figure, a multiple of that of `presence`.
    """
    starts = dict(_by_camera(presence))
    counts = dict(_by_camera(presence, "crops"))
    every = np.concatenate(list(starts.values()))
    first = int(every.min()) // seconds
    size = int(every.max()) // seconds - first + 1
    grid = np.zeros((len(cameras), size))
    for row, camera in enumerate(cameras):
        if camera in starts:
            np.add.at(grid[row], starts[camera] // seconds - first, counts[camera])
    figure = charts.new_figure(x="Time (UTC)", y="Camera", height=MARGIN + LANE * max(2, len(cameras)), legend=False)
    figure.add_heatmap(
        x=[_to_time((first + place) * seconds + seconds / 2) for place in range(size)],
        y=list(cameras),
        z=np.where(grid > 0, grid, np.nan),
        colorscale=SHADES,
        ygap=5,
        colorbar={"title": {"text": "Crops"}, "thickness": 10},
        showscale=len(cameras) >= MIN_LANES_FOR_SCALE,
        hovertemplate=f"%{{y}}<br>%{{x}} ± {format_span(seconds / 2)}<br>%{{z:,}} crops<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def _by_camera(presence: pa.Table, column: str = "start") -> list[tuple[str, Int64Array]]:
    """Return starts (seconds since 1970) or crop counts of each camera in order of time."""
    cameras = presence.column("camera").combine_chunks().dictionary_encode()
    numbers = cameras.indices.to_numpy()
    values = presence.column(column)
    if column == "start":
        values = values.cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())
    array = values.to_numpy()
    return [(name, array[numbers == place]) for place, name in enumerate(cameras.dictionary.to_pylist())]


def _to_time(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
