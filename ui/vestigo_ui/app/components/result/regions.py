"""Regions of a crop from a label map of the store, from the parser, or from the model."""

from dataclasses import dataclass

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo_models.errors import BadInput, StoreError
from vestigo_models.inference.images import decode_image
from vestigo_models.parsing.label_maps import merge_labels
from vestigo_models.schemas.regions import REGIONS, RegionSchema
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, shared_encoder, shared_parser

PARSED, NETWORK = "Body regions", "Regions of the model"
MAX_RUNS = 20
"""Newest runs of label maps that are searched for a crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CropRegions:
    """A label map (uint8, of any size), the schema of its ids, and its origin in words."""

    labels: NDArray[np.uint8]
    schema: RegionSchema
    origin: str


def region_sources(context: PageContext, model: str) -> tuple[str, ...]:
    """Return the sources of regions: the parser, and the model if it predicts regions."""
    registered = next((each for each in context.store.models.list() if each.digest == model), None)
    return (PARSED,) if registered is None or registered.facts.regions is None else (PARSED, NETWORK)


def regions_of_crop(context: PageContext, crop: str, source: str, model: str) -> CropRegions:
    """Return the regions of a crop of the store, from a run's label map where the store has one.

    Raises StoreError if the crop is not visible in the store, and ModelError if the model cannot be loaded.
    """
    return _regions_of_crop(crop, source, model, context.index.snapshot, context)


def regions_of_image(image: Image, source: str, model: str) -> CropRegions:
    """Return the regions of an image that is not in the store; raises ModelError if the model cannot be loaded."""
    if source == NETWORK:
        encoder = shared_encoder(model)
        schema = encoder.package.regions or REGIONS
        labels = encoder.regions([image])[0].argmax(axis=2).astype(np.uint8)
        return CropRegions(labels=labels, schema=schema, origin="The model")
    parser = shared_parser()
    try:
        labels = merge_labels(parser.parse(image, "").labels, parser.label_set)
    except BadInput:
        labels = np.zeros(image.shape[:2], dtype=np.uint8)
    return CropRegions(labels=labels, schema=REGIONS, origin="The parser")


@st.cache_data(max_entries=64, show_spinner="Finding regions")
def _regions_of_crop(crop: str, source: str, model: str, snapshot: str, _context: PageContext) -> CropRegions:
    if source == PARSED and (stored := _stored_regions(_context, crop)) is not None:
        return stored
    (row,) = _context.index.rows([crop], ("image",), model=model)
    return regions_of_image(decode_image(row["image"]), source, model)


def _stored_regions(context: PageContext, crop: str) -> CropRegions | None:
    """Return the newest label map of a crop whose ids are body regions."""
    runs = [run for run in context.store.runs.list(newest_first=True, limit=MAX_RUNS) if run.kind == "regions"]
    for run in {run.fingerprint: run for run in runs}.values():
        try:
            row = context.store.regions.get([crop], run=run.id).get(crop)
        except StoreError:
            continue  # The run has no label map yet.
        if row is None:
            continue
        labels = np.asarray(cv2.imdecode(np.frombuffer(row["labels"], np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        if not run.config.get("fls"):
            parser = shared_parser()
            if run.config.get("parser") != parser.digest:
                continue
            labels = merge_labels(labels, parser.label_set)
        return CropRegions(labels=labels, schema=REGIONS, origin="Label map of the store")
    return None
