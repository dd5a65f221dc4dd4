"""Explanation of a result: its distance by feature, and the attributes that agree or differ."""

import pandas as pd
import streamlit as st

from vestigo.retrieval.explain import Explanation, explain, explain_where
from vestigo.retrieval.query import Query
from vestigo.sightings.index import IndexedArchive
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext

AGREEMENTS = {"disagree": "differ", "agree": "agree", "unsure": "unsure"}
VISIBLE_DIFFERENCE = 5e-4
"""Difference between two distances that shows in three decimals."""
_CONFIDENCE = st.column_config.NumberColumn(format="%.1f%%", help="Calibrated probability")
_ATTRIBUTE_COLUMNS = {
    "Query confidence": _CONFIDENCE,
    "Result confidence": _CONFIDENCE,
    "Agreement": st.column_config.TextColumn(help=f"Unsure: one side has a confidence below {STRICT:.0%}"),
}


def show_explanation(
    context: PageContext, query: Query, crop: str, *, model: str, where: str, listed: float | None
) -> None:
    """Explain the distance of a crop to a query, or to conditions on attributes (`where`) if the query has no views.

    `listed` is the distance of the crop in the list of results.
    """
    archive = IndexedArchive(context.store, context.index)
    if query.crops or query.views is not None:
        explanation = explain(archive, query, crop)
    elif where:
        explanation = explain_where(archive, where, crop, model=model)
    else:
        return
    st.markdown("**Why it matches**")
    st.caption(summarize(explanation, listed))
    for name, title, frame, columns in (
        ("parts", "Distance by feature", feature_table(explanation), _feature_columns(explanation)),
        ("attributes", "Attributes", attribute_table(explanation), _ATTRIBUTE_COLUMNS),
    ):
        if len(frame):
            show_table(context, frame, name=f"{name}-{crop}", title=title, columns=columns, height="content")


def summarize(explanation: Explanation, listed: float | None) -> str:
    """Return the distance in a sentence, with the features that it is the mean of."""
    if not explanation.blocks:
        text = f"Distance {explanation.distance:.3f}: 1 minus the probability that the crop meets all conditions."
    else:
        used = sum(block.distance is not None for block in explanation.blocks)
        unused = len(explanation.blocks) - used
        text = f"Distance {explanation.distance:.3f}, the mean over {used} of {len(explanation.blocks)} features"
        text += f"; {unused} {'is' if unused == 1 else 'are'} not visible on both sides." if unused else "."
    if listed is not None and abs(listed - explanation.distance) > VISIBLE_DIFFERENCE:
        text += f" The list shows {listed:.3f}: differing attributes or re-ranking changed it."
    return text


def feature_table(explanation: Explanation) -> pd.DataFrame:
    """Return one row for each feature."""
    visible = {(True, True): "both", (True, False): "query only", (False, True): "result only"}
    rows = [
        (block.name.capitalize(), block.distance, block.share, visible.get((block.in_query, block.in_crop), "neither"))
        for block in explanation.blocks
    ]
    return pd.DataFrame(rows, columns=["Feature", "Distance", "Adds", "Visible in"]).astype({"Distance": float})


def attribute_table(explanation: Explanation) -> pd.DataFrame:
    """Return one row for each attribute, with confidences in percent."""
    matches = explanation.attributes
    return pd.DataFrame(
        {
            "Attribute": [match.title for match in matches],
            "Query": [match.query for match in matches],
            "Query confidence": [100 * match.query_confidence for match in matches],
            "Result": [match.crop for match in matches],
            "Result confidence": [100 * match.crop_confidence for match in matches],
            "Agreement": [AGREEMENTS[match.agreement] for match in matches],
        }
    )


def _feature_columns(explanation: Explanation) -> dict[str, object]:
    largest = max((block.share for block in explanation.blocks), default=0.0)
    return {
        "Distance": st.column_config.NumberColumn(format="%.3f", help="1 - cosine, from 0 to 2"),
        "Adds": st.column_config.ProgressColumn(
            format="%.3f",
            min_value=0.0,
            max_value=max(largest, 1e-3),
            help="What the feature adds to the distance of the result",
        ),
        "Visible in": st.column_config.TextColumn(help="Only features that are visible on both sides are compared"),
    }
