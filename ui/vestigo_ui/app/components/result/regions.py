"""Which pixels of a crop show what: label maps of the store, of the parser, and what the network itself sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.store.runs.records import Run
from vestigo_models.errors import BadInput, StoreError
from vestigo_models.inference.images import decode_image
from vestigo_models.parsing.region_merge import merge_labels
from vestigo_models.schemas.regions import REGIONS, RegionSchema
from vestigo_ui.app.context import Desk
from vestigo_ui.app.images import the_parser
from vestigo_ui.app.pages.find.search import the_encoder

PARSED, NETWORK = "Body regions", "As the model sees it"
Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
RUNS_LOOKED_AT = 20
"""Runs of label maps that are looked into, the newest first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """A label map (uint8, of any size), what its ids are, and where it comes from, in words."""

    labels: Labels
    schema: RegionSchema
    origin: str


def sources(desk: Desk, model: str) -> tuple[str, ...]:
    """Return where regions may come from: a parser always, the model where it has a classifier of pixels."""
    found = next((one for one in desk.store.models.list() if one.digest == model), None)
    return (PARSED,) if found is None or found.facts.regions is None else (PARSED, NETWORK)


def regions_of_crop(desk: Desk, crop: str, source: str, model: str) -> Regions:
    """Return the regions of a crop of the store, those that a run left for it where there are any.

    Raises StoreError for a crop that the store no longer shows, ModelError where the model cannot be loaded.
    """
    return _of_crop(crop, source, model, desk.index.snapshot, desk)


def regions_of_picture(image: Image, source: str, model: str) -> Regions:
    """Return the regions of a picture that is not in the store. Raises ModelError as above."""
    if source == NETWORK:
        encoder = the_encoder(model)
        schema = encoder.package.regions or REGIONS
        labels = encoder.regions([image])[0].argmax(axis=2).astype(np.uint8)
        return Regions(labels=labels, schema=schema, origin="The model")
    parser = the_parser()
    try:
        labels = merge_labels(parser.parse(image, "").labels, parser.label_set)
    except BadInput:
        labels = np.zeros(image.shape[:2], dtype=np.uint8)
    return Regions(labels=labels, schema=REGIONS, origin="The parser")


@st.cache_data(max_entries=64, show_spinner="Looking for regions")
def _of_crop(crop: str, source: str, model: str, snapshot: str, _desk: Desk) -> Regions:
    if source == PARSED and (stored := _stored(_desk, crop)) is not None:
        return stored
    (row,) = _desk.index.rows([crop], ("image",), model=model)
    return regions_of_picture(decode_image(row["image"]), source, model)


def _stored(desk: Desk, crop: str) -> Regions | None:
    """The newest label map of a crop whose ids mean body regions."""
    runs = [run for run in desk.store.runs.list(newest_first=True, limit=RUNS_LOOKED_AT) if run.kind == "regions"]
    for run in {run.fingerprint: run for run in runs}.values():
        if (row := _map_of(desk, run, crop)) is None:
            continue
        labels = np.asarray(cv2.imdecode(np.frombuffer(row["labels"], np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        if run.config.get("fls"):
            return Regions(labels=labels, schema=REGIONS, origin="Label map of the store")
        parser = the_parser()
        if run.config.get("parser") == parser.digest:
            return Regions(
                labels=merge_labels(labels, parser.label_set), schema=REGIONS, origin="Label map of the store"
            )
    return None


def _map_of(desk: Desk, run: Run, crop: str) -> dict[str, Any] | None:
    try:
        return desk.store.regions.get([crop], run=run.id).get(crop)
    except StoreError:
        # A run that has left no map yet.
        return None
