"""The registry as the page Models has it: what there is, what serves, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.promotion.gate import GATE
from vestigo.promotion.judge import split_names
from vestigo.resolve import is_package
from vestigo.store.models.records import Model, Promotion
from vestigo.store.open import Store
from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.text import format_utc

SHORT = 8
"""Digits of a digest that are shown to people."""
NOBODY = "no promoted model"
SCORES = ("mAP (%)", "Attributes (%)", "Balanced (%)")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """All models by digest, the newest first, which one serves, the crops of each, and the history, oldest first."""

    models: Mapping[str, Model]
    serving: str | None
    crops: Mapping[str, int]
    promotions: tuple[Promotion, ...]

    def name(self, digest: str | None) -> str:
        """What a model is called, with the digits that tell it from others of its name."""
        if digest is None:
            return NOBODY
        known = self.models.get(digest)
        return f"{known.name} ({digest[:SHORT]})" if known else f"{digest[:SHORT]}, not in the registry"


def registry_of(store: Store) -> Registry:
    """Read the registry; it has a row for each model, not for each crop."""
    return Registry(
        models={model.digest: model for model in store.models.list()},
        serving=store.models.serving(),
        crops=store.models.crop_counts(),
        promotions=tuple(store.models.promotions()),
    )


def is_there(model: Model) -> bool:
    """Whether a model's files are where they were when it was registered; one of a hub is taken for there."""
    return is_package(model.location)


def listed(found: Registry) -> pd.DataFrame:
    """A row for each model."""
    frame = pd.DataFrame([_row(found, model) for model in found.models.values()])
    return frame.astype(dict.fromkeys(SCORES, "float64") | {"Label set": "Int64"})


def gate_words(scores: Mapping[str, Any]) -> str | None:
    """What the gate said of a model, None where it was not asked."""
    gate = scores.get(GATE)
    return None if gate is None else "Passed" if gate["promoted"] else "Refused"


def show_registry(context: PageContext, found: Registry) -> None:
    """Show the table; a selected model opens."""
    frame = listed(found)
    number = st.column_config.NumberColumn
    event = show_table(
        context,
        frame,
        name="models",
        title="Models",
        columns={name: number(format="%.1f") for name in SCORES} | {"Crops": number(format="localized")},
        on_select="rerun",
        selection_mode="single-row",
    )
    if rows := event.selection.rows:
        url_state.replace(model=list(found.models)[rows[0]])
        st.rerun()


def _row(found: Registry, model: Model) -> dict[str, Any]:
    tests = [model.scores[name] for name in split_names(model.scores) if "mAP" in model.scores[name]]
    newest = tests[-1] if tests else {}
    state = ["Serves"] if model.digest == found.serving else []
    return {
        "Model": model.name,
        "Digest": model.digest[:SHORT],
        "State": ", ".join([*state, *([] if is_there(model) else ["Files missing"])]) or None,
        "Crops": found.crops.get(model.digest, 0),
        "Trained from": None if model.parent is None else found.name(model.parent),
        "Label set": model.origin.get("label_set"),
        "Registered (UTC)": format_utc(model.registered),
        SCORES[0]: newest.get("mAP"),
        SCORES[1]: newest.get("attributes_mean"),
        SCORES[2]: newest.get("attributes_balanced"),
        "Gate": gate_words(model.scores),
    }
