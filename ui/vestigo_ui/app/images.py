"""Images of crops and frames as pages show them: read in bulk, cached, with heads hidden on request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.ingest.origin import ORIGIN_COLUMNS, read_source_frame
from vestigo.retrieval.query import open_encoder
from vestigo_models.errors import StoreError
from vestigo_models.inference.anonymize import anonymize_crops, anonymize_frame
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.small import EmbeddedParser
from vestigo_ui.app.context import PageContext, shared_index, shared_store

Item = TypeVar("Item")
Image = NDArray[np.uint8]
FACTS = (*ORIGIN_COLUMNS, "camera", "time", "offset_s", "tracklet", "frame_width", "frame_height", "quality", "pid")
"""Columns of a crop that pages show with its image."""
CACHED_PAGES = 60
"""Pages of 48 crops, about 3 MB each."""
PARSER_BATCH = 8
"""Crops of one parser call; on one core this halves the time of a page."""


def load_crops(context: PageContext, ids: Sequence[str], *, model: str) -> dict[str, Image]:
    """Return RGB images of crops by id; raises StoreError if a crop is not visible in the store."""
    return dict(zip(ids, _load_crops(tuple(ids), model, context.blurred), strict=True))


def load_facts(context: PageContext, ids: Sequence[str], *, model: str) -> list[dict[str, Any]]:
    """Return the columns `FACTS` of crops in the order of `ids`; raises as `load_crops`."""
    return context.index.rows(list(ids), FACTS, model=model)


def load_existing(load: Callable[[list[str]], Mapping[str, Item]], ids: list[str]) -> dict[str, Item]:
    """Return what `load` returns for the crops that are visible in the store; for others it raises StoreError."""
    try:
        return dict(load(ids)) if ids else {}
    except StoreError:
        half = len(ids) // 2
        return load_existing(load, ids[:half]) | load_existing(load, ids[half:]) if half else {}


def load_frame(context: PageContext, row: dict[str, Any], people: Sequence[Sequence[float]]) -> Image:
    """Return the frame that a crop with the columns `FACTS` was cut from; raises BadInput if it no longer exists.

    If heads are hidden, only the bodies inside `people` (x, y, w, h in pixels) stay sharp.
    """
    frame = read_source_frame(row)
    if not context.blurred:
        return frame
    boxes = [(round(x), round(y), round(w), round(h)) for x, y, w, h in people]
    return anonymize_frame(frame, boxes, shared_parser())


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` (2 or more) items at even distances, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def hide_upload(context: PageContext, image: Image) -> Image:
    """Return an uploaded crop, with its head hidden where heads are hidden."""
    return anonymize_crops([image], shared_parser())[0] if context.blurred else image


def hide_upload_frame(context: PageContext, image: Image, people: Sequence[tuple[int, int, int, int]]) -> Image:
    """Return an uploaded frame, with heads in the boxes (x, y, w, h) hidden where heads are hidden."""
    return anonymize_frame(image, list(people), shared_parser()) if context.blurred else image


@st.cache_resource(show_spinner=False)
def shared_parser() -> Parser:
    """Return the parser of this process, which finds heads and regions."""
    return EmbeddedParser.from_pretrained("default", batch_size=PARSER_BATCH)


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def shared_encoder(model: str) -> Extractor:
    """Return the network of the model with the digest `model`; raises ModelError if it cannot be loaded."""
    return open_encoder(shared_store(), model)


@st.cache_data(max_entries=CACHED_PAGES, show_spinner=False)
def _load_crops(ids: tuple[str, ...], model: str, blurred: bool) -> list[Image]:
    images = [decode_image(row["image"]) for row in shared_index().rows(ids, ("image",), model=model)]
    return anonymize_crops(images, shared_parser()) if blurred else images
