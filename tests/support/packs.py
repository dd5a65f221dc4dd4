"""Packs of crops that are in no store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.store.models.records import Model, ModelFacts
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.vectors.index import Selection
from vestigo.vectors.pack import Pack, as_pack, pack_table
from vestigo_models.inference.distance import Descriptors
from vestigo_models.schemas.attributes import AttributeSchema

START = datetime(2026, 5, 1, 8, tzinfo=UTC)


def model_with(facts: ModelFacts) -> Model:
    return Model("b" * 64, "model", "", START, facts)


def pack_of(
    ids: Sequence[str], descriptors: Descriptors, probabilities: np.ndarray, facts: ModelFacts, **columns: Sequence[Any]
) -> Pack:
    """Crops of one camera, if `columns` does not have others, in a pack."""
    count = len(ids)
    values: dict[str, Any] = {
        "crop_id": pa.array(ids, pa.string()),
        "camera": ["cam"] * count,
        "tracklet": [""] * count,
        "source": ["s"] * count,
        "input": [f"{crop}.jpg" for crop in ids],
        "frame": [-1] * count,
        "time": pa.array([None] * count, pa.timestamp("us", tz="UTC")),
        "offset_s": pa.array([None] * count, pa.float64()),
        "dhash": [0] * count,
        "pid": pa.array([None] * count, pa.int32()),
        "file": [1] * count,
        "place": np.arange(count),
        **feature_columns(descriptors, probabilities, np.empty((count, 0), np.float32)),
    }
    return as_pack(pack_table(pa.table(values | columns), model_with(facts)), facts)


def packed_predictions(ids: Sequence[str], probabilities: np.ndarray, schema: AttributeSchema) -> Selection:
    """Crops of which only the predictions matter."""
    descriptors = Descriptors(
        vectors=np.ones((len(ids), 1), np.float32), visible=np.empty((len(ids), 0), np.bool_), always=1
    )
    return Selection(pack=pack_of(ids, descriptors, probabilities, ModelFacts(blocks=(1,), attributes=schema)))
