"""Page Models: the registered models, their lineage and scores, and the serving model.

The address parameter `model` is the digest of the open model.
"""

import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.models.details import show_history, show_model
from vestigo_ui.app.pages.models.lineage import show_lineage
from vestigo_ui.app.pages.models.registry import read_registry, show_registry
from vestigo_ui.app.pages.models.serving import show_serving


def show(context: PageContext) -> None:
    """Show the page."""
    st.title("Models", anchor=False)
    registry = read_registry(context.store)
    if not registry.models:
        st.info(
            "The store has no model yet. `vestigo index SOURCE --store STORE` registers the model that it uses.",
            icon=":material/model_training:",
        )
        return
    digest = url_state.text("model")
    model = registry.models.get(digest)
    if digest and model is None:
        st.warning("There is no such model in this store. Check the address.", icon=":material/link_off:")
    show_serving(context, registry)
    if model is None:
        show_registry(context, registry)
    else:
        show_model(context, registry, model)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Lineage", anchor=False)
        show_lineage(registry, "" if model is None else model.digest)
    with right:
        show_history(context, registry, model)
