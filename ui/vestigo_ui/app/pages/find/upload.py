"""Whom to look for from a picture: a crop as it is, people found in a frame, or a box that somebody draws."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st

from vestigo.retrieval.query import Box
from vestigo_models.detection.base import Detector
from vestigo_models.detection.registry import AUTO, is_crop_size, make_detector
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, hide_upload, hide_upload_frame
from vestigo_ui.app.pages.find.form import Upload, add_upload
from vestigo_ui.app.text import BOX_COLOUR, MAX_FRAME_WIDTH, covers_frame

KINDS = ("jpg", "jpeg", "png", "webp", "bmp")
MAX_PIXELS = 40_000_000
MAX_FOUND = 24
LEAST_SIDE = 8
HEIGHT = 520
GRID = 24
"""Invisible points along each side of a frame: Plotly selects points, and tells the box around them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A picture that was uploaded, and the boxes of the people who were found in it."""

    image: Image
    people: tuple[Box, ...]

    @property
    def is_crop(self) -> bool:
        """Whether it is taken for a picture of one person."""
        return is_crop_size(*self.image.shape[:2])


def upload(context: PageContext) -> None:
    """Take a picture and offer whom it shows; what is chosen joins the query."""
    file = st.file_uploader("A person, or a frame with people in it", type=list(KINDS), key="find-file")
    st.caption(
        "An upload stays in this session: it is not put into the store, and a link or a reload does not have it."
    )
    if file is None:
        return
    data = file.getvalue()
    try:
        frame = looked_at(data)
    except BadInput as error:
        st.error(f"{error.detail}. Upload another picture.", icon=":material/error:")
        return
    left, right = st.columns([3, 2])
    with left:
        box = _drawn(context, frame, key=f"find-box-{file.file_id}")
    with right:
        _cut(context, frame, box)
        _people(context, frame, data)


def cut(image: Image, box: Box) -> Upload:
    """Return the view of somebody inside a box. Raises UsageError for one outside the picture."""
    part = np.ascontiguousarray(box.cut(image))
    _, png = cv2.imencode(".png", cv2.cvtColor(part, cv2.COLOR_RGB2BGR))
    return Upload(data=png.tobytes(), image=part)


def selected(boxes: Sequence[dict[str, list[float]]], size: tuple[int, int]) -> Box | None:
    """Return the last box that was drawn on a picture of `size` (height, width), cut to it; None where none is left."""
    if not boxes:
        return None
    height, width = size
    left, right = (min(max(round(side), 0), width) for side in sorted(boxes[-1]["x"]))
    top, bottom = (min(max(round(side), 0), height) for side in sorted(boxes[-1]["y"]))
    if right - left < LEAST_SIDE or bottom - top < LEAST_SIDE:
        return None
    return Box(x=left, y=top, w=right - left, h=bottom - top)


@st.cache_data(max_entries=8, show_spinner="Looking for people in the picture")
def looked_at(data: bytes) -> Frame:
    """Return an uploaded picture with who was found in it. Raises BadInput for what is no picture, or too large."""
    image = decode_image(data, max_pixels=MAX_PIXELS)
    alone = Frame(image=image, people=())
    if alone.is_crop:
        return alone
    found = shared_detector().detect(image).boxes.round().astype(int).tolist()
    return Frame(image=image, people=tuple(Box(x=x, y=y, w=w, h=h) for x, y, w, h in found[:MAX_FOUND]))


@st.cache_resource(show_spinner=False)
def shared_detector() -> Detector:
    """Return the detector that finds people in uploads."""
    return make_detector(AUTO)


def _people(context: PageContext, frame: Frame, data: bytes) -> None:
    views = [Upload(data=data, image=frame.image)] if frame.is_crop else [cut(frame.image, box) for box in frame.people]
    if not views:
        st.info("Nobody was found in the picture: draw a box around the person.", icon=":material/crop_free:")
        return
    st.caption("A click adds a person to the query.")
    tiles = [
        Tile(crop=view.digest, image=hide_upload(context, view.image), title=f"Person {place}")
        for place, view in enumerate(views, start=1)
    ]
    chosen = contact_sheet(tiles, key="find-found", label="People in the picture", width=96)
    if chosen is not None:
        add_upload(next(view for view in views if view.digest == chosen.crop))
        st.rerun()


def _drawn(context: PageContext, frame: Frame, *, key: str) -> Box | None:
    st.caption("Draw a box around a person.")
    shown = hide_upload_frame(context, frame.image, [(box.x, box.y, box.w, box.h) for box in frame.people])
    event = charts.show_figure(canvas(shown, frame.people), key=key, alt="The uploaded picture", modes=["box"])
    height, width = frame.image.shape[:2]
    return selected(event.selection.box, (height, width))


def _cut(context: PageContext, frame: Frame, box: Box | None) -> None:
    if box is None:
        return
    try:
        view = cut(frame.image, box)
    except UsageError:
        return
    st.caption(f"Your box: {box.w}x{box.h} pixels")
    st.image(hide_upload(context, view.image), width=110, alt="What is inside the box")
    st.button(
        "Add to the query",
        key="find-add-box",
        type="primary",
        icon=":material/person_add:",
        shortcut="Alt+Enter",
        on_click=add_upload,
        args=(view,),
    )


def canvas(image: Image, people: Sequence[Box]) -> go.Figure:
    """Return a picture to draw a box on, in its own pixels, with the boxes of those who were found."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_FRAME_WIDTH / width)
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    made = charts.new_figure(height=HEIGHT, legend=False)
    source = "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(np.asarray(small, np.uint8))).decode()
    place = {"x": 0, "y": 0, "sizex": width, "sizey": height, "xref": "x", "yref": "y"}
    made.add_layout_image(source=source, sizing="stretch", layer="below", **place)
    across, down = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    made.add_scatter(
        x=across.ravel(), y=down.ravel(), mode="markers", marker={"opacity": 0, "size": 1}, hoverinfo="skip"
    )
    colour = f"rgb{BOX_COLOUR}"
    for box in people:
        if not covers_frame((box.x, box.y, box.w, box.h), (height, width)):
            made.add_shape(
                type="rect",
                x0=box.x,
                y0=box.y,
                x1=box.x + box.w,
                y1=box.y + box.h,
                line={"color": colour, "width": 1},
            )
    made.update_xaxes(range=[0, width], visible=False, constrain="domain")
    made.update_yaxes(range=[height, 0], visible=False, scaleanchor="x", constrain="domain", constraintoward="top")
    made.update_layout(dragmode="select", margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return made
