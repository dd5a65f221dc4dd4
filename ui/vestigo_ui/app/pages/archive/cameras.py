"""The cameras of the archive: what they saw, when, and when they saw nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

import pandas as pd
import pyarrow as pa
import streamlit as st

from vestigo.sightings.records import CameraSummary
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts, tables
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.result.place import show_place
from vestigo_ui.app.context import PageContext, shared_index
from vestigo_ui.app.images import load_crops, load_facts
from vestigo_ui.app.pages.archive.timeline import DRAWN, MEASURED, gap_frame, gaps, lanes, length, span, step
from vestigo_ui.app.text import count_text, escape_md, format_moment, format_utc

PAGE = 12
"""Cameras a page, each with `SAMPLES` pictures."""
SAMPLES = 2
GAPS, GAPS_OF_ONE = 3, 20
"""Gaps that are listed of each of several cameras, and of one."""
WIDTH = 92
Key = tuple[str, int]
"""What readers see now, and how much of it is not indexed yet: with both the same, answers are the same."""


def show(context: PageContext, model: Model) -> None:
    """Show all cameras, those that somebody searches for (`?find=`), or one (`?camera=`)."""
    key = (context.index.snapshot, context.index.pending())
    everything = _summaries(model.digest, key)
    if not everything:
        st.info("The crops are being made ready to browse; the cameras appear here in a moment.")
        return
    offsets = {camera.name: camera.clock_offset_s for camera in context.store.cameras.list()}
    chosen = next((camera for camera in everything if camera.name == url_state.text("camera")), None)
    if chosen is not None:
        _one(context, model, chosen, offsets.get(chosen.name, 0.0), key)
        return
    st.caption(escape_md(summary(everything, model.name)))
    some = _searched(everything)
    if not some:
        st.info("No camera has that in its name.")
        return
    page = choose_page(len(some), PAGE, name="cameras", what="cameras")
    shown = some[page * PAGE : (page + 1) * PAGE]
    _samples(context, model, shown, SAMPLES, key="archive-cameras")
    _table(context, shown, offsets)
    _timeline(context, model, shown, GAPS, key)


def summary(cameras: Sequence[CameraSummary], model: str) -> str:
    """Say how much there is of what."""
    crops, sightings = (sum(getattr(camera, name) for camera in cameras) for name in ("crops", "sightings"))
    known = span(cameras)
    when = f" · {format_utc(known[0])} to {format_utc(known[1])} UTC" if known else ""
    counts = count_text(len(cameras), "camera"), count_text(crops, "crop"), count_text(sightings, "sighting")
    return f"{' · '.join(counts)}{when} · model {model}"


def camera_frame(cameras: Sequence[CameraSummary], offsets: Mapping[str, float]) -> pd.DataFrame:
    """Return cameras as a table."""
    columns = {
        "Camera": [camera.name for camera in cameras],
        "Crops": [camera.crops for camera in cameras],
        "Sightings": [camera.sightings for camera in cameras],
        "First seen (UTC)": [_written(camera.first) for camera in cameras],
        "Last seen (UTC)": [_written(camera.last) for camera in cameras],
        "Span": [
            length((camera.last - camera.first).total_seconds()) if camera.first and camera.last else "–"
            for camera in cameras
        ],
        "Clock offset (s)": [offsets.get(camera.name, 0.0) for camera in cameras],
    }
    return pd.DataFrame(columns)


def _written(time: datetime | None) -> str:
    return format_utc(time) if time is not None else "–"


def _searched(cameras: list[CameraSummary]) -> list[CameraSummary]:
    if len(cameras) <= PAGE:
        return cameras
    wanted = st.text_input(
        "Search cameras",
        key="find",
        bind="query-params",
        placeholder="Part of a name",
        icon=":material/search:",
        on_change=lambda: url_state.put(cameras=None),
        width=320,
    )
    return [camera for camera in cameras if (wanted or "").casefold().strip() in camera.name.casefold()]


def _samples(context: PageContext, model: Model, cameras: Sequence[CameraSummary], each: int, *, key: str) -> None:
    """Show pictures of what cameras saw; a click opens the camera, or the picture's frame where there is one only."""
    camera_of = {crop: camera.name for camera in cameras for crop in _spread(camera.samples, each)}
    context.audit_once("view", what="cameras", shown=list(camera_of))
    images = load_crops(context, list(camera_of), model=model.digest)
    facts = load_facts(context, list(camera_of), model=model.digest)
    tiles = [
        Tile(
            crop=row["crop_id"],
            image=images[row["crop_id"]],
            title=camera_of[row["crop_id"]] if len(cameras) > 1 else "",
            lines=(format_moment(row["time"], row["offset_s"]).removesuffix(" UTC"),),
            selected=row["crop_id"] == url_state.text("frame"),
        )
        for row in facts
    ]
    chosen = contact_sheet(tiles, key=key, label="Pictures of the cameras", width=WIDTH)
    if chosen is not None:
        url_state.put(camera=camera_of[chosen.crop], frame=chosen.crop if len(cameras) == 1 else None)
        st.rerun()


def _table(context: PageContext, cameras: Sequence[CameraSummary], offsets: Mapping[str, float]) -> None:
    def chosen() -> None:
        rows = st.session_state["table-cameras"]["selection"]["rows"]
        if rows:
            url_state.put(camera=cameras[rows[0]].name)

    tables.show_table(
        context,
        camera_frame(cameras, offsets),
        name="cameras",
        title="Cameras",
        columns={
            "Crops": st.column_config.NumberColumn(format="localized"),
            "Sightings": st.column_config.NumberColumn(format="localized"),
            "Clock offset (s)": st.column_config.NumberColumn(
                format="%+.1f", help="Added to what the camera recorded: `vestigo cameras set NAME --clock-offset`."
            ),
        },
        on_select=chosen,
        selection_mode="single-row",
    )


def _timeline(context: PageContext, model: Model, cameras: Sequence[CameraSummary], most: int, key: Key) -> None:
    known = span(cameras)
    if known is None:
        st.caption("No time is known of what these cameras saw: their files name none, and `--start` was not given.")
        return
    seconds = (known[1] - known[0]).total_seconds()
    names = [camera.name for camera in cameras]
    fine, coarse = step(seconds, MEASURED), step(seconds, DRAWN)
    presence = _presence(model.digest, fine, tuple(names), key)
    if not presence.num_rows:
        return
    st.subheader("When somebody was seen", anchor=False)
    alt = f"Timeline of {len(names)} cameras; what is empty are the gaps that are listed below"
    charts.show_figure(lanes(presence, names, coarse), key="archive-timeline", alt=alt)
    found = gaps(presence, fine, most)
    st.subheader("Longest gaps", anchor=False)
    if not found:
        st.caption(f"Nowhere did a camera see nobody for {length(fine)} or longer.")
        return
    st.caption(f"Exact to {length(fine)}. A gap may be an empty street as well as a lost recording.")
    tables.show_table(context, gap_frame(found), name="gaps", title="Longest gaps")


def _one(context: PageContext, model: Model, camera: CameraSummary, offset: float, key: Key) -> None:
    """Show one camera: facts, pictures, the frame of one of them, its gaps."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "All cameras",
            icon=":material/arrow_back:",
            shortcut="Alt+Up",
            on_click=lambda: url_state.put(camera=None, frame=None),
        )
        st.subheader(escape_md(camera.name), anchor=False)
        address = f"/find?{urlencode({'pane': 'archive', 'camera': camera.name})}"
        st.link_button("Find people on this camera", address, icon=":material/person_search:")
    row = camera_frame([camera], {camera.name: offset}).iloc[0]
    with st.container(horizontal=True):
        for name in ("Crops", "Sightings"):
            st.metric(name, f"{row[name]:,}")
        for name in ("First seen (UTC)", "Last seen (UTC)", "Span"):
            st.metric(name, row[name])
        st.metric("Clock offset", f"{offset:+.1f} s" if offset else "0 s")
    left, right = st.columns([3, 2])
    with left:
        _samples(context, model, [camera], len(camera.samples), key="archive-camera")
    with right:
        _frame(context, model, camera)
    _timeline(context, model, [camera], GAPS_OF_ONE, key)


def _frame(context: PageContext, model: Model, camera: CameraSummary) -> None:
    """Show the frame of a picture that somebody chose: a video is read through for its first one."""
    if url_state.text("frame") not in camera.samples:
        st.caption("Choose a picture to see the frame that it was cut from.")
        return
    (row,) = load_facts(context, [url_state.text("frame")], model=model.digest)
    show_place(context, row, model=model.digest)


def _spread(samples: Sequence[str], most: int) -> list[str]:
    """Return at most so many samples, evenly spread over their time."""
    return [samples[place * len(samples) // most] for place in range(most)] if len(samples) > most else list(samples)


@st.cache_data(max_entries=4, show_spinner=False)
def _summaries(model: str, key: Key) -> list[CameraSummary]:
    return shared_index().cameras(model)


@st.cache_data(max_entries=32, show_spinner=False)
def _presence(model: str, seconds: int, cameras: tuple[str, ...], key: Key) -> pa.Table:
    return shared_index().presence(model, seconds, cameras)
