"""Where and when a result was recorded: its facts, its frame, and other crops of its frame and tracklet."""

from typing import Any

import streamlit as st

from vestigo.ingest.crops import STILL
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.app.components.contact_sheet import show_crops
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_facts, load_frame, spread
from vestigo_ui.app.text import covers_frame, draw_boxes, escape_md, format_duration, format_moment

MAX_RELATED = 24
"""Crops of a tracklet that are shown, spread over its time."""
Row = dict[str, Any]


def show_related(context: PageContext, row: Row, *, model: str, parameter: str) -> None:
    """Show the other crops of a result's tracklet and frame; a click writes one to `parameter` of the address."""
    same_frame, same_tracklet = related_crops(context, row, model=model)
    for label, rows in (("Same tracklet", same_tracklet), ("Same frame", same_frame)):
        if not rows:
            continue
        shown = spread(rows, MAX_RELATED)
        more = f" ({len(shown)} of {len(rows):,} shown)" if len(shown) < len(rows) else ""
        st.markdown(f"**{label}**{more}")
        texts = {other["crop_id"]: ("", _time_of_day(other) if rows is same_tracklet else "") for other in shown}
        options: dict[str, Any] = {"key": f"result-{label}", "label": label, "width": 96, "opens_result": True}
        show_crops(context, texts, parameter, model=model, **options)


def show_place(context: PageContext, row: Row, *, model: str) -> None:
    """Show the facts of a crop, and its frame with the boxes of all people that are known in it."""
    st.markdown("**Where and when**")
    st.text(" · ".join(place_facts(row)))
    if covers_frame(_box(row), (row["frame_height"], row["frame_width"])):
        st.caption("The crop is the whole image: there is no frame around it.")
        return
    try:
        jpeg = _frame_jpeg(row["crop_id"], model, context.blurred, context.index.snapshot, context, row)
    except BadInput as error:
        st.info(
            f"The frame cannot be shown: {escape_md(error.detail)}. The crop itself is in the store.",
            icon=":material/image:",
        )
        return
    st.image(jpeg, width="stretch", alt="The frame that the result was cut from, with its box drawn")


def related_crops(context: PageContext, row: Row, *, model: str) -> tuple[list[Row], list[Row]]:
    """Return the other crops of a crop's frame, and those of its tracklet in order of time."""
    rows = load_facts(context, context.index.neighbours(row["crop_id"], model), model=model)
    same_tracklet = [other for other in rows if row["tracklet"] and other["tracklet"] == row["tracklet"]]
    return [other for other in rows if _frame_key(other) == _frame_key(row)], same_tracklet


def place_facts(row: Row) -> list[str]:
    """Return camera, time, input, frame, size, quality and identity of a crop as texts."""
    facts = [row["camera"], format_moment(row["time"], row["offset_s"]), row["input"]]
    if row["frame"] != STILL:
        facts.append(f"frame {row['frame']:,}")
    facts.append(f"{row['w']:.0f} × {row['h']:.0f} px")
    facts.append("quality –" if row["quality"] is None else f"quality {row['quality']:.2f}")
    return facts if row["pid"] is None else [*facts, f"person {row['pid']}"]


def _time_of_day(row: Row) -> str:
    if row["time"] is not None:
        return f"{row['time']:%H:%M:%S}"
    return "" if row["offset_s"] is None else format_duration(row["offset_s"])


def _frame_key(row: Row) -> tuple[str, str, int]:
    return row["source"], row["input"], row["frame"]


def _box(row: Row) -> list[float]:
    return [row[side] for side in "xywh"]


@st.cache_data(max_entries=32, show_spinner="Reading the frame")
def _frame_jpeg(crop: str, model: str, blurred: bool, snapshot: str, _context: PageContext, _row: Row) -> bytes:
    others = [_box(other) for other in related_crops(_context, _row, model=model)[0]]
    frame = load_frame(_context, _row, [_box(_row), *others])
    return encode_jpeg(draw_boxes(frame, _box(_row), others), quality=88)
