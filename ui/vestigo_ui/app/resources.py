"""What lives as long as the app: the open store, the network for uploaded pictures, the detector that finds people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.archives.origin import ORIGIN_COLUMNS
from vestigo.retrieval import Appearance, Query, Scope, SearchResult, search
from vestigo.retrieval.encoder import open_encoder
from vestigo.store import Store
from vestigo_models.detectors import Detector, make_detector
from vestigo_models.errors import BadInput
from vestigo_models.extraction import Extractor
from vestigo_models.images import decode_image
from vestigo_ui.app.gallery import COLUMNS, Candidate, candidates

BROWSABLE = 20_000
"""Tracklets and stills that can be browsed; a camera filter reaches the others."""
FRESH_S = 60
SHOWN = (*ORIGIN_COLUMNS, "image", "camera", "time", "offset_s", "frame_width", "frame_height")
MAX_UPLOAD_PIXELS = 40_000_000
MAX_FOUND = 12
CROP_HEIGHT = 300
"""An upload that is higher, or not taller than wide, is taken for a frame, as `--detector auto` does."""


@st.cache_resource(show_spinner="Opening the store")
def the_store() -> Store:
    """Return the store that the app was started for."""
    return Store.open(os.environ["VESTIGO_STORE"], create=False)


def store_name() -> str:
    """Name the store without saying where it lies."""
    return Path(os.environ["VESTIGO_STORE"]).stem


@st.cache_resource(show_spinner="Loading the model")
def the_encoder(model: str) -> Extractor:
    """Return the network that made the crops of `model`, the store's current one, again when that changes."""
    return open_encoder(the_store())


@st.cache_resource(show_spinner=False)
def the_detector() -> Detector:
    """Return the default detector, for people in uploaded frames."""
    return make_detector("hog")


@st.cache_data(ttl=FRESH_S, show_spinner="Looking through the archive")
def browsable(model: str, camera: str | None) -> tuple[list[Candidate], bool]:
    """Return who can be picked, of one camera or all, and whether there are more than can be browsed."""
    cameras = None if camera is None else (camera,)
    return candidates(the_store().scan_crops(COLUMNS, model=model, cameras=cameras), BROWSABLE)


@st.cache_data(ttl=FRESH_S, max_entries=100, show_spinner=False)
def crops_of(model: str, ids: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return everything about crops that a page shows."""
    return the_store().crops(ids, SHOWN, model=model)


@st.cache_data(ttl=FRESH_S, max_entries=50, show_spinner="Searching")
def answer(query: Query, scope: Scope, top: int, rerank: bool) -> SearchResult:
    """Return the crops nearest to a query."""
    return search(the_store(), query, top=top, scope=scope, rerank=rerank)


@st.cache_data(max_entries=20, show_spinner="Looking for people in the picture")
def people_in(upload: bytes) -> list[NDArray[np.uint8]]:
    """Return the crops that an uploaded picture offers: itself when it is one, else the people found in it.

    Raises:
        BadInput: it is no image, too large, or shows nobody.
    """
    image = decode_image(upload, max_pixels=MAX_UPLOAD_PIXELS)
    height, width = image.shape[:2]
    if height <= CROP_HEIGHT and height > width:
        return [image]
    found = the_detector().detect(image).boxes.round().astype(int)
    if not len(found):
        raise BadInput("no-person", "nobody was found in the picture; upload one that is cut to the person")
    return [image[max(0, y) : y + h, max(0, x) : x + w] for x, y, w, h in found[:MAX_FOUND]]


def query_of(crop: NDArray[np.uint8], model: str) -> Query:
    """Return the query that an uploaded crop makes."""
    return Query(views=Appearance.of(the_encoder(model).extract([crop])), model=model)
