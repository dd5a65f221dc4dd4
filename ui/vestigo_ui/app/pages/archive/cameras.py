"""Cameras of the archive: their crops, a timeline with one lane for each camera, and the longest gaps."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from vestigo.sightings.records import CameraSummary
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.choice import back_button, choose_page
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.result.place import show_place
from vestigo_ui.app.components.tables import open_row, show_table
from vestigo_ui.app.context import PageContext, shared_index
from vestigo_ui.app.images import load_crops, load_facts, spread
from vestigo_ui.app.text import count_text, escape_md, format_moment, format_span, format_utc

PAGE = 12
SAMPLES = 2
"""Crops of each of several cameras."""
GAPS, GAPS_OF_ONE = 3, 20
"""Gaps that are listed of each of several cameras, and of a single one."""
WIDTH = 92
State = tuple[str, int]
STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
"""Possible lengths of an interval in seconds; each is a multiple of the one before it."""
MAX_DRAWN, MAX_MEASURED = 300, 3000
"""Intervals of the whole time that a lane shows, and that gaps are measured in."""
SHADES = [[0.0, "rgba(0, 114, 178, 0.45)"], [1.0, "rgba(0, 114, 178, 1)"]]
"""Colours from few to many crops; intervals without crops are transparent."""
LANE, MARGIN = 24, 110
"""Height in pixels of a lane and of everything else."""
MIN_LANES_FOR_SCALE = 4


def show_cameras(context: PageContext, model: Model) -> None:
    """Show all cameras, those whose name matches the search, or the one that the address names."""
    state = context.index_state
    cameras = _load_cameras(model.digest, state)
    if not cameras:
        st.info("The crops are being indexed for browsing. The cameras appear in a moment.")
        return
    offsets = {camera.name: camera.clock_offset_s for camera in context.store.cameras.list()}
    name = url_state.one_of("camera", [camera.name for camera in cameras], "", kind="camera")
    selected = next((camera for camera in cameras if camera.name == name), None)
    if selected is not None:
        _show_camera(context, model, selected, offsets.get(selected.name, 0.0), state)
        return
    st.caption(escape_md(summarize(cameras, model.name)))
    matching = _search_cameras(cameras)
    if not matching:
        st.info("No camera has a matching name.")
        return
    page = choose_page(len(matching), PAGE, name="cameras", what="cameras")
    shown = matching[page * PAGE : (page + 1) * PAGE]
    _show_samples(context, model, shown, SAMPLES, key="archive-cameras")
    _show_table(context, shown, offsets)
    _show_timeline(context, model, shown, GAPS, state)


def summarize(cameras: Sequence[CameraSummary], model: str) -> str:
    """Return counts, time and model of all cameras."""
    crops, sightings = (sum(getattr(camera, name) for camera in cameras) for name in ("crops", "sightings"))
    span = time_span(cameras)
    when = f" · {format_utc(span[0])} to {format_utc(span[1])} UTC" if span else ""
    counts = count_text(len(cameras), "camera"), count_text(crops, "crop"), count_text(sightings, "sighting")
    return f"{' · '.join(counts)}{when} · model {model}"


def time_span(cameras: Sequence[CameraSummary]) -> tuple[datetime, datetime] | None:
    """Return the times of the first and last crop of some cameras; None if no time is known."""
    times = [(camera.first, camera.last) for camera in cameras if camera.first is not None and camera.last is not None]
    return (min(first for first, _ in times), max(last for _, last in times)) if times else None


def choose_step(seconds: float, most: int) -> int:
    """Return the shortest of `STEPS` that divides a time into at most `most` intervals, else the longest one."""
    return next((step for step in STEPS if seconds / step <= most), STEPS[-1])


def find_gaps(presence: pa.Table, seconds: int, most: int) -> pd.DataFrame:
    """Return one row for each of the `most` longest gaps of each camera, exact to one interval.

    `presence` is the result of `BrowseIndex.presence` with an interval of `seconds`.
    """
    rows = []
    for camera, starts in presence.to_pandas().groupby("camera", sort=False)["start"]:
        lengths = starts.diff().dt.total_seconds() - seconds
        for row, length in lengths[lengths > 0].nlargest(most).items():
            since, until = starts[row] - timedelta(seconds=length), starts[row]
            rows.append([camera, format_utc(since), format_utc(until), format_span(length), int(length)])
    return pd.DataFrame(rows, columns=["Camera", "From (UTC)", "To (UTC)", "Length", "Seconds"])


def presence_figure(presence: pa.Table, cameras: Sequence[str], seconds: int) -> go.Figure:
    """Return the figure: time along, the first of `cameras` on top, darker where there are more crops.

    Its interval in `seconds` is a multiple of that of `presence`, the result of `BrowseIndex.presence`.
    """
    frame, step = presence.to_pandas(), timedelta(seconds=seconds)
    starts = frame["start"].dt.floor(f"{seconds}s")
    every = pd.date_range(starts.min(), starts.max(), freq=step)
    grid = frame.groupby(["camera", starts])["crops"].sum().unstack().reindex(index=list(cameras), columns=every)
    figure = charts.new_figure(x="Time (UTC)", y="Camera", height=MARGIN + LANE * max(2, len(cameras)), legend=False)
    figure.add_heatmap(
        x=[start + step / 2 for start in every.to_pydatetime()],
        y=list(cameras),
        z=grid.to_numpy(float),
        colorscale=SHADES,
        ygap=5,
        colorbar={"title": {"text": "Crops"}, "thickness": 10},
        showscale=len(cameras) >= MIN_LANES_FOR_SCALE,
        hovertemplate=f"%{{y}}<br>%{{x}} ± {format_span(seconds / 2)}<br>%{{z:,}} crops<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def camera_table(cameras: Sequence[CameraSummary], offsets: Mapping[str, float]) -> pd.DataFrame:
    """Return one row for each camera; `offsets` are clock offsets in seconds by name."""
    rows = [
        {
            "Camera": camera.name,
            "Crops": camera.crops,
            "Sightings": camera.sightings,
            "First seen (UTC)": format_utc(camera.first) if camera.first else "–",
            "Last seen (UTC)": format_utc(camera.last) if camera.last else "–",
            "Span": format_span((camera.last - camera.first).total_seconds()) if camera.first and camera.last else "–",
            "Clock offset (s)": offsets.get(camera.name, 0.0),
        }
        for camera in cameras
    ]
    return pd.DataFrame(rows)


def _search_cameras(cameras: list[CameraSummary]) -> list[CameraSummary]:
    if len(cameras) <= PAGE:
        return cameras
    name = st.text_input(
        "Search cameras",
        key="find",
        bind="query-params",
        placeholder="Part of a name",
        icon=":material/search:",
        on_change=lambda: url_state.put(cameras=None),
        width=320,
    )
    return [camera for camera in cameras if (name or "").casefold().strip() in camera.name.casefold()]


def _show_samples(context: PageContext, model: Model, cameras: Sequence[CameraSummary], each: int, *, key: str) -> None:
    """Show crops of cameras; a click opens the camera, or the frame of the crop if there is a single camera."""
    camera_of = {crop: camera.name for camera in cameras for crop in spread(camera.samples, each)}
    context.audit_once("view", what="cameras", shown=list(camera_of))
    images = load_crops(context, list(camera_of), model=model.digest)
    tiles = [
        Tile(
            crop=row["crop_id"],
            image=images[row["crop_id"]],
            title=camera_of[row["crop_id"]] if len(cameras) > 1 else "",
            lines=(format_moment(row["time"], row["offset_s"], zone=False),),
            selected=row["crop_id"] == url_state.text("frame"),
        )
        for row in load_facts(context, list(camera_of), model=model.digest)
    ]

    def open_crop(action: UserAction) -> None:
        if action.crop in camera_of:
            url_state.put(camera=camera_of[action.crop], frame=action.crop if len(cameras) == 1 else None)

    contact_sheet(tiles, key=key, label="Crops of the cameras", width=WIDTH, on_action=open_crop)


def _show_table(context: PageContext, cameras: Sequence[CameraSummary], offsets: Mapping[str, float]) -> None:
    number = st.column_config.NumberColumn
    columns = dict.fromkeys(("Crops", "Sightings"), number(format="localized"))
    help_text = "Added to recorded times: `vestigo cameras set NAME --clock-offset`."
    columns["Clock offset (s)"] = number(format="%+.1f", help=help_text)
    frame, names = camera_table(cameras, offsets), [camera.name for camera in cameras]
    open_row(context, frame, "camera", names, name="cameras", title="Cameras", columns=columns)


def _show_timeline(
    context: PageContext, model: Model, cameras: Sequence[CameraSummary], most: int, state: State
) -> None:
    span = time_span(cameras)
    if span is None:
        st.caption("These cameras have no known times: their files name none, and `--start` was not given.")
        return
    seconds = (span[1] - span[0]).total_seconds()
    names = [camera.name for camera in cameras]
    fine, coarse = (choose_step(seconds, most) for most in (MAX_MEASURED, MAX_DRAWN))
    presence = _load_presence(model.digest, fine, tuple(names), state)
    if not presence.num_rows:
        return
    st.subheader("Detections over time", anchor=False)
    alt = f"Timeline of {len(names)} cameras; the gaps are listed below"
    charts.show_figure(presence_figure(presence, names, coarse), key="archive-timeline", alt=alt)
    gaps = find_gaps(presence, fine, most)
    st.subheader("Longest gaps", anchor=False)
    if gaps.empty:
        st.caption(f"No camera has a gap of {format_span(fine)} or longer.")
        return
    st.caption(f"Exact to {format_span(fine)}. In a gap no person passed, or the recording is missing.")
    show_table(context, gaps, name="gaps", title="Longest gaps")


def _show_camera(context: PageContext, model: Model, camera: CameraSummary, offset: float, state: State) -> None:
    """Show one camera: facts, crops, the frame of one of them, and its gaps."""
    with st.container(horizontal=True, vertical_alignment="center"):
        back_button("All cameras", "camera", "frame")
        st.subheader(escape_md(camera.name), anchor=False)
        address = url_state.link("/find", pane="archive", camera=camera.name)
        st.link_button("Find people on this camera", address, icon=":material/person_search:")
    row = camera_table([camera], {camera.name: offset}).iloc[0]
    with st.container(horizontal=True):
        for name in ("Crops", "Sightings", "First seen (UTC)", "Last seen (UTC)", "Span"):
            st.metric(name, row[name] if isinstance(row[name], str) else f"{row[name]:,}")
        st.metric("Clock offset", f"{offset:+.1f} s" if offset else "0 s")
    left, right = st.columns([3, 2])
    with left:
        _show_samples(context, model, [camera], len(camera.samples), key="archive-camera")
    with right:
        # Reading a frame decodes its video from the start, so only that of a clicked crop is read.
        crop = url_state.text("frame")
        if crop in camera.samples:
            (facts,) = load_facts(context, [crop], model=model.digest)
            show_place(context, facts, model=model.digest)
        else:
            if crop:
                url_state.refuse(f'camera {camera.name} shows no crop "{crop}".')
            st.caption("Click a crop to see its frame.")
    _show_timeline(context, model, [camera], GAPS_OF_ONE, state)


@st.cache_data(max_entries=4, show_spinner=False)
def _load_cameras(model: str, state: State) -> list[CameraSummary]:
    return shared_index().cameras(model)


@st.cache_data(max_entries=32, show_spinner=False)
def _load_presence(model: str, seconds: int, cameras: tuple[str, ...], state: State) -> pa.Table:
    return shared_index().presence(model, seconds, cameras)
