"""Page Models: the registered models, their lineage and scores, and the serving model.

The address parameter `model` is the digest of the open model.
"""

import pandas as pd
import streamlit as st

from vestigo.promotion.gate import GATE
from vestigo.resolve import is_package
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import back_button
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.models.registry import RegistryView, gate_result, read_registry, show_lineage, show_registry
from vestigo_ui.app.pages.models.scores import measure_titles, show_scores
from vestigo_ui.app.pages.models.serving import describe_missing_package, show_promote, show_serving
from vestigo_ui.app.text import escape_md, format_utc


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
        _show_model(context, registry, model)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Lineage", anchor=False)
        show_lineage(registry, "" if model is None else model.digest)
    with right:
        _show_history(context, registry, model)


def _show_model(context: PageContext, registry: RegistryView, model: Model) -> None:
    """Show a model."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(escape_md(model.name), anchor=False, width="content")
        if model.digest == registry.serving:
            st.badge("Serves", icon=":material/check:", color="green")
        back_button("All models", type="tertiary")
    if not is_package(model.location):
        st.warning(
            escape_md(f"{describe_missing_package(model).capitalize()}.", keep_code=True), icon=":material/folder_off:"
        )
    left, right = st.columns([5, 7], gap="medium")
    with left:
        frame = _model_facts(registry, model)
        show_table(context, frame, name="model", title=f"Model {model.name}", max_rows=len(frame))
    with right:
        _show_gate(registry, model)
        show_promote(context, registry, model)
    show_scores(context, registry, model)


def _model_facts(registry: RegistryView, model: Model) -> pd.DataFrame:
    """Return the facts of a model as a table of names and values."""
    origin, schema = model.origin, model.facts.attributes
    facts = {
        "Digest": model.digest,
        "Registered (UTC)": format_utc(model.registered),
        "Trained from": "–" if model.parent is None else registry.name(model.parent),
        "Crops": f"{registry.crops.get(model.digest, 0):,}",
        "Attributes": "None" if schema is None else f"{len(schema.names)} ({schema.name})",
        "Parts": str(model.facts.parts),
        "Descriptor": f"{sum(model.facts.blocks):,} numbers" if model.facts.blocks else "–",
        "Filter": "Not calibrated" if model.facts.calibration is None else "Calibrated",
    }
    origin_titles = {
        "Label set": "label_set",
        "Reviewed tasks": "lessons",
        "Images replayed": "replayed",
        "Dataset": "data",
        "Trained": "mode",
        "Epochs": "epochs",
        "Seed": "seed",
    }
    facts |= {title: str(origin[key]) for title, key in origin_titles.items() if origin.get(key) is not None}
    return pd.DataFrame({"Fact": list(facts), "Value": list(facts.values())})


def _show_history(context: PageContext, registry: RegistryView, model: Model | None) -> None:
    """Show the history of all models, or the promotions and rollbacks of `model`."""
    st.subheader("History", anchor=False)
    promotions = [
        promotion
        for promotion in registry.promotions
        if model is None or model.digest in (promotion.model, promotion.before)
    ]
    if not promotions:
        st.caption("No model has been promoted yet." if model is None else "It has never served.")
        return
    rows = [
        {
            "Time (UTC)": format_utc(promotion.at),
            "Change": promotion.kind.capitalize(),
            "Serving model": "–" if promotion.model is None else registry.name(promotion.model),
            "Previous model": "–" if promotion.before is None else registry.name(promotion.before),
            "By": promotion.by,
            "Reasons": "; ".join(promotion.reasons) or "–",
        }
        for promotion in reversed(promotions)
    ]
    columns = {"Reasons": st.column_config.TextColumn(width="large")}
    show_table(context, pd.DataFrame(rows), name="history", title="Promotions and rollbacks", columns=columns)


def _show_gate(registry: RegistryView, model: Model) -> None:
    gate = model.scores.get(GATE)
    st.markdown("**Gate**")
    if gate is None:
        st.caption("Not evaluated. `vestigo retrain --store STORE` evaluates the candidate model that it trains.")
        return
    st.caption(f"{gate_result(model.scores)} against {escape_md(registry.name(gate.get('against')))}")
    titles = measure_titles(model)
    changes = {"Better": gate.get("improved", ()), "Worse": gate.get("worsened", ())}
    for change, names in changes.items():
        if names:
            st.caption(f"{change}: {escape_md(', '.join(titles.get(name, name) for name in names))}")
    # Shown as text: names of measures can contain Markdown characters.
    st.text("\n".join(f"– {reason}" for reason in gate["reasons"]) or "No reasons are recorded.")
