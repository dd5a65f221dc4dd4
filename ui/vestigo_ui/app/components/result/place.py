"""Where and when a result was seen: its facts, others of the same frame and tracklet, and the frame itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from vestigo.ingest.crops import STILL
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.app import images as pictures
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.context import Desk
from vestigo_ui.app.text import clock, fills, moment, with_box

MOST_RELATIVES = 24
"""Crops of a tracklet that are shown, spread over its time."""
Row = dict[str, Any]


def show_relatives(desk: Desk, row: Row, *, model: str, on_choose: Callable[[str], None]) -> None:
    """Show the other crops of a result's tracklet and of its frame; `on_choose` hears which one somebody wants."""
    same_frame, same_tracklet = relatives(desk, row, model=model)
    for label, some in (("Same tracklet", same_tracklet), ("Same frame", same_frame)):
        if not some:
            continue
        shown = spread(some, MOST_RELATIVES)
        more = f" ({len(shown)} of {len(some):,} shown)" if len(shown) < len(some) else ""
        st.markdown(f"**{label}**{more}")
        images = pictures.crops(desk, [one["crop_id"] for one in shown], model=model)
        tiles = [
            Tile(
                crop=one["crop_id"],
                image=images[one["crop_id"]],
                lines=(_briefly(one) if some is same_tracklet else "",),
            )
            for one in shown
        ]
        contact_sheet(
            tiles, key=f"result-{label}", label=label, width=96, on_choose=lambda chosen: on_choose(chosen.crop)
        )


def show_place(desk: Desk, row: Row, *, model: str) -> None:
    """Show what is known of a crop's place, and its frame with everybody known in it."""
    st.markdown("**Where and when**")
    st.text(" · ".join(place_facts(row)))
    box = [row[side] for side in "xywh"]
    if fills(box, (row["frame_height"], row["frame_width"])):
        st.caption("The crop is the whole of its picture: there is no frame around it.")
        return
    try:
        shown = _frame(row["crop_id"], model, desk.blurred, desk.index.snapshot, desk, row)
    except BadInput as error:
        st.info(f"The frame cannot be shown: {error.detail}. The crop itself is in the store.", icon=":material/image:")
        return
    st.image(shown, width="stretch", alt="The frame that the result was cut from, with its box drawn")


def relatives(desk: Desk, row: Row, *, model: str) -> tuple[list[Row], list[Row]]:
    """Return the other crops of a crop's frame, and those of its tracklet in order of time."""
    found = pictures.facts(desk, desk.index.neighbours(row["crop_id"], model), model=model)
    here = _frame_of(row)
    tracklet = [one for one in found if row["tracklet"] and one["tracklet"] == row["tracklet"]]
    return [one for one in found if _frame_of(one) == here], tracklet


def place_facts(row: Row) -> list[str]:
    """Say where and when a crop was seen, and how well."""
    said = [row["camera"], moment(row["time"], row["offset_s"]), row["input"]]
    if row["frame"] != STILL:
        said.append(f"frame {row['frame']:,}")
    said.append(f"{row['w']:.0f} × {row['h']:.0f} px")
    said.append("quality –" if row["quality"] is None else f"quality {row['quality']:.2f}")
    return said if row["pid"] is None else [*said, f"person {row['pid']}"]


def spread(rows: Sequence[Row], most: int) -> list[Row]:
    """Return at most so many of rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]


def _briefly(row: Row) -> str:
    """When, without the day, which a tracklet has but one of."""
    if row["time"] is not None:
        return f"{row['time']:%H:%M:%S}"
    return "" if row["offset_s"] is None else clock(row["offset_s"])


def _frame_of(row: Row) -> tuple[str, str, int]:
    return row["source"], row["input"], row["frame"]


@st.cache_data(max_entries=32, show_spinner="Reading the frame")
def _frame(crop: str, model: str, blurred: bool, snapshot: str, _desk: Desk, _row: Row) -> bytes:
    """The frame of a crop as JPEG, at most 1600 pixels wide."""
    others = [[one[side] for side in "xywh"] for one in relatives(_desk, _row, model=model)[0]]
    box = [_row[side] for side in "xywh"]
    return encode_jpeg(with_box(pictures.frame(_desk, _row, [box, *others]), box, others), quality=88)
