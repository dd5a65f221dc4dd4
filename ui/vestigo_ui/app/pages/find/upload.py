"""Upload of a query image: a crop, people detected in a frame, or a box drawn by the user."""

import base64
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import plotly.graph_objects as go
import streamlit as st

from vestigo.retrieval.query import Box
from vestigo_models.detection.base import Detector
from vestigo_models.detection.registry import AUTO, is_crop_size, make_detector
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import IMAGE_SUFFIXES, decode_image, encode_jpeg
from vestigo_models.isolation import call
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.actions import UserAction, action_button
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, hide_upload, hide_upload_frame
from vestigo_ui.app.pages.find.form import Upload, add_upload
from vestigo_ui.app.text import BOX_COLOUR, MAX_FRAME_WIDTH, covers_frame, escape_md

FILE_TYPES = tuple(sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES))
MAX_PIXELS = 40_000_000
MAX_PEOPLE = 24
MIN_SIDE = 8
HEIGHT = 520
GRID = 24
"""Invisible points along each side of a frame: Plotly reports a box only around points."""


def show_upload(context: PageContext) -> None:
    """Show the upload of an image; a chosen person is added to the query."""
    file = st.file_uploader("A person, or a frame with people", type=list(FILE_TYPES), key="find-file")
    st.caption("An upload is not written to the store. It is lost when the page is loaded again.")
    if file is None:
        return
    data = file.getvalue()
    try:
        image, people = detect_people(data)
    except BadInput as error:
        st.error(f"{escape_md(error.detail)}. Upload another image.", icon=":material/error:")
        return
    left, right = st.columns([3, 2])
    with left:
        st.caption("Draw a box around a person.")
        shown = hide_upload_frame(context, image, [(box.x, box.y, box.w, box.h) for box in people or ()])
        figure = drawing_canvas(shown, people or ())
        event = charts.show_figure(figure, key=f"find-box-{file.file_id}", alt="The uploaded image", modes=["box"])
        height, width = image.shape[:2]
        box = drawn_box(event.selection.box, (height, width))
    with right:
        if box is not None:
            _show_drawn(context, image, box)
        # An image in the format of a crop is taken for one person.
        views = [Upload(data=data, image=image)] if people is None else [cut_upload(image, box) for box in people]
        _show_people(context, views, hashlib.sha256(data).hexdigest())


def cut_upload(image: Image, box: Box) -> Upload:
    """Return the part of an image inside a box; raises UsageError if the box is outside the image."""
    part = np.ascontiguousarray(box.cut(image))
    _, png = cv2.imencode(".png", cv2.cvtColor(part, cv2.COLOR_RGB2BGR))
    return Upload(data=png.tobytes(), image=part)


def drawn_box(boxes: Sequence[dict[str, list[float]]], size: tuple[int, int]) -> Box | None:
    """Return the last box of a selection, clipped to an image of `size` (height, width); None if it is too small."""
    if not boxes:
        return None
    height, width = size
    left, right = (min(max(round(side), 0), width) for side in sorted(boxes[-1]["x"]))
    top, bottom = (min(max(round(side), 0), height) for side in sorted(boxes[-1]["y"]))
    if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
        return None
    return Box(x=left, y=top, w=right - left, h=bottom - top)


@st.cache_data(max_entries=8, show_spinner="Detecting people")
def detect_people(data: bytes) -> tuple[Image, tuple[Box, ...] | None]:
    """Return an uploaded image with the people in it, None if it is a crop; raises BadInput if it cannot be decoded."""
    image = call(partial(decode_image, max_pixels=MAX_PIXELS), data, name="the image")
    if is_crop_size(*image.shape[:2]):
        return image, None
    boxes = shared_detector().detect(image).certain.boxes.round().astype(int).tolist()
    return image, tuple(Box(x=x, y=y, w=w, h=h) for x, y, w, h in boxes[:MAX_PEOPLE])


@st.cache_resource(show_spinner=False)
def shared_detector() -> Detector:
    """Return the detector of this process."""
    return make_detector(AUTO)


def _show_people(context: PageContext, views: Sequence[Upload], scope: str) -> None:
    if not views:
        st.info("No person was detected. Draw a box around the person.", icon=":material/crop_free:")
        return
    st.caption("A click adds a person to the query.")
    tiles = [
        Tile(crop=view.digest, image=hide_upload(context, view.image), title=f"Person {number}")
        for number, view in enumerate(views, start=1)
    ]
    by_digest = {view.digest: view for view in views}

    def add(action: UserAction) -> None:
        add_upload(by_digest[action.crop])

    contact_sheet(tiles, key="find-people", label="People in the image", scope=scope, width=96, on_action=add)


def _show_drawn(context: PageContext, image: Image, box: Box) -> None:
    view = cut_upload(image, box)
    st.caption(f"Your box: {box.w}x{box.h} pixels")
    st.image(hide_upload(context, view.image), width=110, alt="The part inside the box")
    options: dict[str, Any] = {"type": "primary", "icon": ":material/person_add:", "shortcut": "Alt+Enter"}
    action_button("Add to the query", partial(add_upload, view), key=f"add-box-{view.digest[:16]}", **options)


def drawing_canvas(image: Image, people: Sequence[Box]) -> go.Figure:
    """Return a figure to draw a box on, in pixels of the image, with the boxes of detected people."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_FRAME_WIDTH / width)
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    figure = charts.new_figure(height=HEIGHT, legend=False)
    source = "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(np.asarray(small, np.uint8))).decode()
    place = {"x": 0, "y": 0, "sizex": width, "sizey": height, "xref": "x", "yref": "y"}
    figure.add_layout_image(source=source, sizing="stretch", layer="below", **place)
    across, down = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    figure.add_scatter(
        x=across.ravel(), y=down.ravel(), mode="markers", marker={"opacity": 0, "size": 1}, hoverinfo="skip"
    )
    for box in people:
        if not covers_frame((box.x, box.y, box.w, box.h), (height, width)):
            corners = {"x0": box.x, "y0": box.y, "x1": box.x + box.w, "y1": box.y + box.h}
            figure.add_shape(type="rect", line={"color": f"rgb{BOX_COLOUR}", "width": 1}, **corners)
    figure.update_xaxes(range=[0, width], visible=False, constrain="domain")
    figure.update_yaxes(range=[height, 0], visible=False, scaleanchor="x", constrain="domain", constraintoward="top")
    figure.update_layout(dragmode="select", margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure
