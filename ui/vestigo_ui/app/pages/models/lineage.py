"""Which model was trained from which, as a tree."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.pages.models.registry import Registry

ROW, MARGIN = 44, 90
"""Pixels of height of a leaf, and of what surrounds the tree."""
PLAIN, SERVING, GONE = range(3)
KINDS = ("Registered", "Serves", "Not in the registry")


def places(parents: Mapping[str, str | None]) -> dict[str, tuple[int, float]]:
    """Where each model and each ancestor stands: its generation, and its height; a parent is amid its children.

    `parents` is model to parent; who is nobody's child begins a tree of its own.
    """
    children: dict[str | None, list[str]] = {}
    for one in dict.fromkeys((*(parent for parent in parents.values() if parent), *parents)):
        children.setdefault(parents.get(one), []).append(one)
    found: dict[str, tuple[int, float]] = {}
    leaves = 0
    # Depth first by hand: a lineage may be longer than Python's stack.
    waiting = [(one, 0, False) for one in reversed(children.get(None, []))]
    while waiting:
        one, generation, done = waiting.pop()
        below = children.get(one, [])
        if not below:
            found[one] = generation, float(leaves)
            leaves += 1
        elif done:
            heights = [found[child][1] for child in below]
            found[one] = generation, sum(heights) / len(heights)
        else:
            waiting.append((one, generation, True))
            waiting += [(child, generation + 1, False) for child in reversed(below)]
    return found


def tree(found: Registry, opened: str = "") -> go.Figure:
    """The figure: generations from left to right, each model a mark with its name."""
    parents = {digest: model.parent for digest, model in found.models.items()}
    there = places(parents)
    leaves = len(set(there) - {parent for parent in parents.values() if parent})
    made = charts.new_figure(x="Generation", height=MARGIN + ROW * leaves)
    lines = [(there[parent], there[one]) for one, parent in parents.items() if parent in there and one in there]
    made.add_scatter(
        x=[value for (a, _), (b, _) in lines for value in (a, b, None)],
        y=[value for (_, a), (_, b) in lines for value in (a, b, None)],
        mode="lines",
        line={"color": charts.COLOURS[-1], "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    kinds = {one: GONE if one not in found.models else SERVING if one == found.serving else PLAIN for one in there}
    for kind, name in enumerate(KINDS):
        some = [one for one in there if kinds[one] == kind]
        if not some:
            continue
        made.add_scatter(
            x=[there[one][0] for one in some],
            y=[there[one][1] for one in some],
            text=[found.name(one) for one in some],
            customdata=[[one] for one in some],
            mode="markers+text",
            textposition="top center",
            cliponaxis=False,
            hovertemplate="%{text}<extra></extra>",
            marker={
                "size": [18 if one == opened else 13 for one in some],
                "symbol": charts.SYMBOLS[kind] + ("-open" if kind == GONE else ""),
                "color": charts.COLOURS[(0, 2, -1)[kind]],
            },
            name=name,
        )
    generations = max(generation for generation, _ in there.values())
    made.update_xaxes(range=[-0.5, generations + 0.5], dtick=1, showgrid=False)
    made.update_yaxes(visible=False, range=[leaves - 0.4, -0.8])
    return made


def show_lineage(found: Registry, opened: str = "") -> None:
    """Show the tree; a mark opens its model."""
    event = charts.show_figure(
        tree(found, opened), key=f"models-lineage-{opened[:12]}", alt="Models by their parents", modes=("points",)
    )
    picked = [str(point["customdata"][0]) for point in event.selection.points if point.get("customdata")]
    if picked and picked[0] in found.models and picked[0] != opened:
        url_state.replace(model=picked[0])
        st.rerun()
