"""Why a result matched: its distance part by part, and the attributes on which both agree or differ."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vestigo.retrieval.explain import Explanation, explain, explain_where
from vestigo.retrieval.query import Query
from vestigo.sightings.gallery import IndexedArchive
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_ui.app.components.tables import table
from vestigo_ui.app.context import Desk

SAYS = {"disagree": "differ", "agree": "agree", "unsure": "unsure"}
NOTEWORTHY = 5e-4
"""A difference between two distances that shows in their three digits."""


def show_why(desk: Desk, query: Query, crop: str, *, model: str, where: str, listed: float | None) -> None:
    """Explain the distance of a crop; `listed` is the one that the list of results has."""
    archive = IndexedArchive.of(desk.store, desk.index)
    if query.crops or query.views is not None:
        why = explain(archive, query, crop)
    elif where:
        why = explain_where(archive, where, crop, model=model)
    else:
        return
    st.markdown("**Why it matched**")
    st.caption(in_words(why, listed))
    if why.blocks:
        frame = parts_table(why)
        table(
            desk,
            frame,
            name=f"parts-{crop}",
            title="Distance part by part",
            columns=_part_columns(why),
            height="content",
        )
    if why.attributes:
        frame = attributes_table(why)
        table(desk, frame, name=f"attributes-{crop}", title="Attributes", columns=_ATTRIBUTE_COLUMNS, height="content")


def in_words(why: Explanation, listed: float | None) -> str:
    """Say how far the crop is from the query, and what the distance takes in."""
    if not why.blocks:
        said = f"Distance {why.distance:.3f}: how unlikely it is that the crop meets all conditions."
    else:
        counted = sum(block.distance is not None for block in why.blocks)
        left = len(why.blocks) - counted
        said = f"Distance {why.distance:.3f}, the mean over {counted} of {len(why.blocks)} features"
        said += f"; {left} {'is' if left == 1 else 'are'} not to be seen on both sides." if left else "."
    if listed is not None and abs(listed - why.distance) > NOTEWORTHY:
        said += f" The list has {listed:.3f}: attributes that differ, or re-ranking, changed it there."
    return said


def parts_table(why: Explanation) -> pd.DataFrame:
    """Return one row a feature, as the table shows it."""
    shown = {(True, True): "both", (True, False): "query only", (False, True): "result only", (False, False): "neither"}
    return pd.DataFrame(
        {
            "Feature": [block.name.capitalize() for block in why.blocks],
            "Distance": [block.distance for block in why.blocks],
            "Adds": [block.share for block in why.blocks],
            "Seen in": [shown[block.in_query, block.in_crop] for block in why.blocks],
        }
    ).astype({"Distance": float})


def attributes_table(why: Explanation) -> pd.DataFrame:
    """Return one row an attribute, as the table shows it; confidences in percent."""
    return pd.DataFrame(
        {
            "Attribute": [match.title for match in why.attributes],
            "Query": [match.query for match in why.attributes],
            "Query sure": [100 * match.query_confidence for match in why.attributes],
            "Result": [match.crop for match in why.attributes],
            "Result sure": [100 * match.crop_confidence for match in why.attributes],
            "Agreement": [SAYS[match.agreement] for match in why.attributes],
        }
    )


def _part_columns(why: Explanation) -> dict[str, object]:
    most = max(block.share for block in why.blocks)
    return {
        "Distance": st.column_config.NumberColumn(format="%.3f", help="1 - cosine, from 0 to 2"),
        "Adds": st.column_config.ProgressColumn(
            format="%.3f", min_value=0.0, max_value=max(most, 1e-3), help="What it adds to the distance of the result"
        ),
        "Seen in": st.column_config.TextColumn(help="Only what both sides show is compared"),
    }


_SURE = st.column_config.NumberColumn(format="%.1f%%", help="Calibrated probability")
_ATTRIBUTE_COLUMNS = {
    "Query sure": _SURE,
    "Result sure": _SURE,
    "Agreement": st.column_config.TextColumn(help=f"Unsure: one side is less than {STRICT:.0%} sure"),
}
