"""Page Models: which models there are, how they came about, how good they are, and which one serves.

The address holds `model`, the digest of the one that is open.
"""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.models.details import show_history, show_opened
from vestigo_ui.app.pages.models.lineage import show_lineage
from vestigo_ui.app.pages.models.registry import registry_of, show_registry
from vestigo_ui.app.pages.models.serving import show_serving


def show(context: PageContext) -> None:
    """Show the page."""
    st.title("Models", anchor=False)
    found = registry_of(context.store)
    if not found.models:
        st.info(
            "The store knows no model yet: `vestigo index SOURCE --store STORE` registers the one it indexes with.",
            icon=":material/model_training:",
        )
        return
    asked = url_state.text("model")
    model = found.models.get(asked)
    if asked and model is None:
        st.warning("There is no such model in this store: the address is wrong.", icon=":material/link_off:")
    show_serving(context, found)
    if model is None:
        show_registry(context, found)
    else:
        show_opened(context, found, model)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Lineage", anchor=False)
        show_lineage(found, "" if model is None else model.digest)
    with right:
        show_history(context, found, model)
