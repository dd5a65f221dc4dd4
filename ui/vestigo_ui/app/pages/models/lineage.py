"""The lineage of models as a tree."""

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.pages.models.registry import RegistryView

ROW, MARGIN = 44, 90
"""Height of a leaf and of the margins in pixels."""
PLAIN, SERVING, UNREGISTERED = range(3)
KINDS = ("Registered", "Serves", "Not in the registry")


def layout_tree(parents: Mapping[str, str | None]) -> dict[str, tuple[int, float]]:
    """Return the position of each model and ancestor: generation and height; a parent is centred on its children.

    Args:
        parents: Parent by model; models without a parent are roots.
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
    event = charts.show_figure(
        lineage_figure(registry, opened),
        key=f"models-lineage-{opened[:12]}",
        alt="Models by their parents",
        modes=("points",),
    )
    picked = [str(point["customdata"][0]) for point in event.selection.points if point.get("customdata")]
    if picked and picked[0] in registry.models and picked[0] != opened:
        url_state.replace(model=picked[0])
        st.rerun()
