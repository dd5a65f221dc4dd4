"""The table of registered models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from vestigo.promotion.gate import GATE
from vestigo.promotion.judge import split_names
from vestigo.resolve import is_package
from vestigo.store.models.records import Model, Promotion
from vestigo.store.open import Store
from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import choose_row, percent_frame
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.text import format_utc

SHORT = 8
"""Number of digits of a digest that are shown."""
NO_MODEL = "no promoted model"


@dataclass(frozen=True, kw_only=True)
class RegistryView:
    """The registry of a store.

    Attributes:
        models: Models by digest, newest first.
        serving: Digest of the serving model, None without one.
        crops: Number of crops by digest.
        promotions: Promotions and rollbacks, oldest first.
    """

    models: Mapping[str, Model]
    serving: str | None
    crops: Mapping[str, int]
    promotions: tuple[Promotion, ...]

    def name(self, digest: str | None) -> str:
        """Return the name of a model with the first digits of its digest."""
        if digest is None:
            return NO_MODEL
        known = self.models.get(digest)
        return f"{known.name} ({digest[:SHORT]})" if known else f"{digest[:SHORT]}, not in the registry"


def read_registry(store: Store) -> RegistryView:
    """Read the registry of a store."""
    return RegistryView(
        models={model.digest: model for model in store.models.list()},
        serving=store.models.serving(),
        crops=store.models.crop_counts(),
        promotions=tuple(store.models.promotions()),
    )


def gate_result(scores: Mapping[str, Any]) -> str | None:
    """Return the result of the gate for a model, None if it was not evaluated."""
    gate = scores.get(GATE)
    return None if gate is None else "Passed" if gate["promoted"] else "Refused"


def show_registry(context: PageContext, registry: RegistryView) -> None:
    """Show the table; selecting a row opens the model."""
    frame = percent_frame([_row(registry, model) for model in registry.models.values()]).astype({"Label set": "Int64"})
    columns = {"Crops": st.column_config.NumberColumn(format="localized")}
    row = choose_row(context, frame, name="models", title="Models", columns=columns)
    if row is not None:
        url_state.replace(model=list(registry.models)[row])
        st.rerun()


def _row(registry: RegistryView, model: Model) -> dict[str, Any]:
    tests = [model.scores[name] for name in split_names(model.scores) if "mAP" in model.scores[name]]
    newest = tests[-1] if tests else {}
    states = {"Serves": model.digest == registry.serving, "Files missing": not is_package(model.location)}
    return {
        "Model": model.name,
        "Digest": model.digest[:SHORT],
        "State": ", ".join(state for state, applies in states.items() if applies) or None,
        "Crops": registry.crops.get(model.digest, 0),
        "Trained from": None if model.parent is None else registry.name(model.parent),
        "Label set": model.origin.get("label_set"),
        "Registered (UTC)": format_utc(model.registered),
        "mAP (%)": newest.get("mAP"),
        "Attributes (%)": newest.get("attributes_mean"),
        "Balanced (%)": newest.get("attributes_balanced"),
        "Gate": gate_result(model.scores),
    }
