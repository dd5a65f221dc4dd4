"""One model: where it came from, what the gate said of it, its scores, and when it served."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from vestigo.promotion.gate import GATE
from vestigo.store.models.records import Model, Promotion
from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.models.registry import Registry, gate_words, is_there
from vestigo_ui.app.pages.models.scores import show_scores, titles_of
from vestigo_ui.app.pages.models.serving import gone, show_promote
from vestigo_ui.app.text import escape_md, format_utc


def show_opened(context: PageContext, found: Registry, model: Model) -> None:
    """Show a model."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(escape_md(model.name), anchor=False, width="content")
        if model.digest == found.serving:
            st.badge("Serves", icon=":material/check:", color="green")
        st.button(
            "All models",
            icon=":material/arrow_back:",
            type="tertiary",
            shortcut="Alt+Up",
            on_click=url_state.replace,
        )
    if not is_there(model):
        st.warning(f"{gone(model).capitalize()}.", icon=":material/folder_off:")
    left, right = st.columns([5, 7], gap="medium")
    with left:
        frame = facts(found, model)
        show_table(context, frame, name="model", title=f"Model {model.name}", height=(len(frame) + 1) * 35 + 3)
    with right:
        _gate(found, model)
        show_promote(context, found, model)
    show_scores(context, found, model)


def facts(found: Registry, model: Model) -> pd.DataFrame:
    """What is known of a model, a line each."""
    origin, schema = model.origin, model.facts.attributes
    given = {
        "Digest": model.digest,
        "Registered (UTC)": format_utc(model.registered),
        "Trained from": "–" if model.parent is None else found.name(model.parent),
        "Crops": f"{found.crops.get(model.digest, 0):,}",
        "Attributes": "None" if schema is None else f"{len(schema.names)} ({schema.name})",
        "Parts": str(model.facts.parts),
        "Descriptor": f"{sum(model.facts.blocks):,} numbers" if model.facts.blocks else "–",
        "Filter": "Not calibrated" if model.facts.calibration is None else "Calibrated",
    }
    told = {
        "Label set": "label_set",
        "Reviewed tasks": "lessons",
        "Images replayed": "replayed",
        "Dataset": "data",
        "Learnt": "mode",
        "Epochs": "epochs",
        "Seed": "seed",
    }
    given |= {title: str(origin[key]) for title, key in told.items() if origin.get(key) is not None}
    return pd.DataFrame({"Fact": list(given), "Value": list(given.values())})


def history(found: Registry, promotions: Sequence[Promotion]) -> pd.DataFrame:
    """Promotions and rollbacks as a table, the newest first."""
    columns = ["When (UTC)", "What", "Serves from then on", "Before", "By", "Reasons"]
    rows = [
        [
            format_utc(one.at),
            one.kind.capitalize(),
            "–" if one.model is None else found.name(one.model),
            "–" if one.before is None else found.name(one.before),
            one.by,
            "; ".join(one.reasons) or "–",
        ]
        for one in reversed(promotions)
    ]
    return pd.DataFrame(rows, columns=columns)


def show_history(context: PageContext, found: Registry, model: Model | None = None) -> None:
    """Show when what served, for all models or those where `model` came or went."""
    st.subheader("History", anchor=False)
    some = [one for one in found.promotions if model is None or model.digest in (one.model, one.before)]
    if not some:
        st.caption("Nobody has promoted a model yet." if model is None else "It has never served.")
        return
    wide = st.column_config.TextColumn(width="large")
    show_table(
        context, history(found, some), name="history", title="Promotions and rollbacks", columns={"Reasons": wide}
    )


def _gate(found: Registry, model: Model) -> None:
    gate = model.scores.get(GATE)
    st.markdown("**Gate**")
    if gate is None:
        st.caption("Not judged: `vestigo retrain --store STORE` judges what it makes, before that may serve.")
        return
    said = gate_words(model.scores)
    st.caption(f"{said} against {escape_md(found.name(gate.get('against')))}")
    titles = titles_of(model)
    named = {"Better": gate.get("improved", ()), "Worse": gate.get("worsened", ())}
    for what, names in named.items():
        if names:
            st.caption(f"{what}: {', '.join(titles.get(name, name) for name in names)}")
    # As text: reasons name measures as schemas do, which is no markdown.
    st.text("\n".join(f"– {reason}" for reason in gate["reasons"]) or "No reasons are kept.")
