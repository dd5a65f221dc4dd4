"""Pictures of crops and frames as a page shows them: read in bulk, heads hidden where that is asked for, cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.ingest.origin import ORIGIN_COLUMNS, frame_of
from vestigo_models.inference.anonymize import anonymize_crops, anonymize_frame
from vestigo_models.inference.images import decode_image
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.small import EmbeddedParser
from vestigo_ui.app.context import Desk, the_index

Image = NDArray[np.uint8]
FACTS = (*ORIGIN_COLUMNS, "camera", "time", "offset_s", "tracklet", "frame_width", "frame_height", "quality", "pid")
"""What a page may say of a crop beside its picture."""
CACHED_PAGES = 60
"""Of 48 pictures each, about 3 MB."""
TOGETHER = 8
"""Crops that are parsed at once: on one core that halves the time a page takes."""


def crops(desk: Desk, ids: Sequence[str], *, model: str) -> dict[str, Image]:
    """Return RGB pictures of crops by id. Raises StoreError for a crop that the store no longer shows."""
    return dict(zip(ids, _crops(tuple(ids), model, desk.blurred), strict=True))


def facts(desk: Desk, ids: Sequence[str], *, model: str) -> list[dict[str, Any]]:
    """Return `FACTS` of crops, in order. Raises StoreError as `crops`."""
    return desk.index.rows(list(ids), FACTS, model=model)


def frame(desk: Desk, row: dict[str, Any], people: Sequence[Sequence[float]]) -> Image:
    """Return the frame that a crop (`FACTS`) was cut from.

    `people` are the boxes (x, y, w, h) of all that are known in it. Where heads are hidden, their bodies are shown and
    all around them is coarse.

    Raises:
        BadInput: the archive no longer has it.
    """
    found = frame_of(row)
    if not desk.blurred:
        return found
    boxes = [(round(x), round(y), round(w), round(h)) for x, y, w, h in people]
    return anonymize_frame(found, boxes, the_parser())


def upload(desk: Desk, image: Image) -> Image:
    """Return an uploaded crop as it may be shown."""
    return anonymize_crops([image], the_parser())[0] if desk.blurred else image


def upload_frame(desk: Desk, image: Image, people: Sequence[tuple[int, int, int, int]]) -> Image:
    """Return an uploaded frame as it may be shown; `people` are the boxes (x, y, w, h) that were found in it."""
    return anonymize_frame(image, list(people), the_parser()) if desk.blurred else image


@st.cache_resource(show_spinner=False)
def the_parser() -> Parser:
    """Return the parser that tells bodies from heads, a few crops at a time."""
    return EmbeddedParser.from_pretrained("default", batch_size=TOGETHER)


@st.cache_data(max_entries=CACHED_PAGES, show_spinner=False)
def _crops(ids: tuple[str, ...], model: str, blurred: bool) -> list[Image]:
    images = [decode_image(row["image"]) for row in the_index().rows(ids, ("image",), model=model)]
    return anonymize_crops(images, the_parser()) if blurred else images
