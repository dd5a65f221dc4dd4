"""Query and crop side by side, with their regions where somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st

from vestigo.reports.panels import region_overlay
from vestigo.search.run import Query
from vestigo_ui.app import images as pictures
from vestigo_ui.app.components.contact_sheet import montage
from vestigo_ui.app.components.result.regions import Regions, regions_of_crop, regions_of_picture, sources
from vestigo_ui.app.context import Desk
from vestigo_ui.app.text import tile
from vestigo_ui.app.text__written import counted

SIDE = (384, 192)
"""Height and width of a picture, in pixels."""
MOST_VIEWS = 8


def show_sides(desk: Desk, query: Query, crop: str, uploads: Sequence[pictures.Image], *, model: str) -> None:
    """Show the views of the query beside the crop."""
    views = query.crops[:MOST_VIEWS]
    images = pictures.crops(desk, list(dict.fromkeys((*views, crop))), model=model)
    given = [*((images[view], view) for view in views), *((image, None) for image in uploads)][:MOST_VIEWS]
    chosen = st.segmented_control(
        "Regions", ["Off", *sources(desk, model)], default="Off", key="result-regions", label_visibility="collapsed"
    )
    source = None if chosen in (None, "Off") else str(chosen)
    columns = st.columns(2, gap="small")
    if given:
        with columns[0]:
            shown = [_side(desk, image, view, source, model) for image, view in given]
            _picture([image for image, _ in shown], f"Query, {counted(len(given), 'view')}", "The query")
    with columns[1]:
        picture, regions = _side(desk, images[crop], crop, source, model)
        _picture([picture], "Result", "The result")
    if regions is not None:
        _legend(regions)


def _side(
    desk: Desk, image: pictures.Image, crop: str | None, source: str | None, model: str
) -> tuple[pictures.Image, Regions | None]:
    if source is None:
        return tile(image, SIDE), None
    found = regions_of_picture(image, source, model) if crop is None else regions_of_crop(desk, crop, source, model)
    return tile(region_overlay(image, found.labels, found.schema), SIDE), found


def _picture(shown: Sequence[pictures.Image], caption: str, alt: str) -> None:
    image = shown[0] if len(shown) == 1 else montage(shown)[0]
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def _legend(regions: Regions) -> None:
    """What the colours are, and where the regions come from."""
    seen = [regions.schema.regions[place] for place in np.unique(regions.labels) if 0 < place < len(regions.schema)]
    marks = "".join(
        f'<span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 .8em;'
        f'background:rgb{region.colour_rgb}"></span>{escape(region.name)}'
        for region in seen
    )
    st.html(f'<div style="font-size:.85rem">{regions.origin}:{marks}</div>')
