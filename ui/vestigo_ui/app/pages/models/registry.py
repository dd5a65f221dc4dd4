"""The registered models: as a table, and their lineage as a tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from vestigo.promotion.gate import GATE
from vestigo.promotion.judge import split_names
from vestigo.resolve import is_package
from vestigo.store.models.records import Model, Promotion
from vestigo.store.open import Store
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import open_row, percent_frame
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.text import format_utc

SHORT = 8
"""Number of digits of a digest that are shown."""
NO_MODEL = "no promoted model"
ROW, MARGIN = 44, 90
"""Height of a leaf and of the margins in pixels."""
PLAIN, SERVING, UNREGISTERED = range(3)
KINDS = ("Registered", "Serves", "Not in the registry")


@dataclass(frozen=True, kw_only=True)
class RegistryView:
    """The registry of a store: models by digest, newest first, and promotions and rollbacks, oldest first.

    `serving` is the digest of the serving model, None without one, and `crops` the number of crops by digest.
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
    open_row(context, frame, "model", list(registry.models), name="models", title="Models", columns=columns)


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


def layout_tree(parents: Mapping[str, str | None]) -> dict[str, tuple[int, float]]:
    """Return the position of each model and ancestor by the `parents` of models: generation, and height.

    Models without a parent are roots; a parent is centred on its children.
    """
    children: dict[str | None, list[str]] = {}
    for digest in dict.fromkeys((*(parent for parent in parents.values() if parent), *parents)):
        children.setdefault(parents.get(digest), []).append(digest)
    positions: dict[str, tuple[int, float]] = {}
    leaves = 0
    # An explicit stack, because a lineage may be deeper than Python's recursion limit.
    pending = [(root, 0, False) for root in reversed(children.get(None, []))]
    while pending:
        digest, generation, done = pending.pop()
        below = children.get(digest, [])
        if not below:
            positions[digest] = generation, float(leaves)
            leaves += 1
        elif done:
            heights = [positions[child][1] for child in below]
            positions[digest] = generation, sum(heights) / len(heights)
        else:
            pending.append((digest, generation, True))
            pending += [(child, generation + 1, False) for child in reversed(below)]
    return positions


def lineage_figure(registry: RegistryView, opened: str = "") -> go.Figure:
    """Return the figure: generations from left to right, one labelled mark for each model."""
    parents = {digest: model.parent for digest, model in registry.models.items()}
    positions = layout_tree(parents)
    leaves = len(set(positions) - {parent for parent in parents.values() if parent})
    figure = charts.new_figure(x="Generation", height=MARGIN + ROW * leaves)
    lines = [
        (positions[parent], positions[digest])
        for digest, parent in parents.items()
        if parent in positions and digest in positions
    ]
    figure.add_scatter(
        x=[value for (a, _), (b, _) in lines for value in (a, b, None)],
        y=[value for (_, a), (_, b) in lines for value in (a, b, None)],
        mode="lines",
        line={"color": charts.COLOURS[-1], "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    kinds = {
        digest: UNREGISTERED if digest not in registry.models else SERVING if digest == registry.serving else PLAIN
        for digest in positions
    }
    for kind, name in enumerate(KINDS):
        shown = [digest for digest in positions if kinds[digest] == kind]
        if not shown:
            continue
        figure.add_scatter(
            x=[positions[digest][0] for digest in shown],
            y=[positions[digest][1] for digest in shown],
            text=[registry.name(digest) for digest in shown],
            customdata=[[digest] for digest in shown],
            mode="markers+text",
            textposition="top center",
            cliponaxis=False,
            hovertemplate="%{text}<extra></extra>",
            marker={
                "size": [18 if digest == opened else 13 for digest in shown],
                "symbol": charts.SYMBOLS[kind] + ("-open" if kind == UNREGISTERED else ""),
                "color": charts.COLOURS[(0, 2, -1)[kind]],
            },
            name=name,
        )
    generations = max(generation for generation, _ in positions.values())
    figure.update_xaxes(range=[-0.5, generations + 0.5], dtick=1, showgrid=False)
    figure.update_yaxes(visible=False, range=[leaves - 0.4, -0.8])
    return figure


def show_lineage(registry: RegistryView, opened: str = "") -> None:
    """Show the tree; selecting a mark opens its model."""
    figure, key = lineage_figure(registry, opened), f"models-lineage-{opened[:12]}"
    digest = charts.clicked_point(figure, key=key, alt="Models by their parents")
    if digest in registry.models and digest != opened:
        url_state.replace(model=digest)
        st.rerun()
