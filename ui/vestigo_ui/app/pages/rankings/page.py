"""Page Rankings: saved rankings with their scores, one or two at a time.

The address holds `ranking`, `with`, `protocol`, `pane`, `order`, `find`, `measure` and `page`; `query` is the open
query, and `look`, `of` and `side` name an open row.
"""

from collections.abc import Sequence
from typing import cast

import streamlit as st

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.store.rankings.repository import SavedRanking
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one, choose_segment
from vestigo_ui.app.components.tables import open_row
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.curves import MEASURES, show_cameras, show_curve
from vestigo_ui.app.pages.rankings.scores import open_ranking, pair_rankings
from vestigo_ui.app.pages.rankings.sheet import show_open_row, show_queries, show_query
from vestigo_ui.app.pages.rankings.tables import describe_ranking, ranking_table, show_query_table, show_summary
from vestigo_ui.app.text import escape_md

PROTOCOL_TITLES = {"cross-camera": "Other cameras only", "same-camera": "Same camera only", "all": "All cameras"}
WIDTH = 220
PANES = {"queries": "Queries", "table": "Table", "curve": "CMC curve", "cameras": "Camera pairs"}
ORDERS = {"worst": "Worst first", "best": "Best first", "kept": "As ranked"}
PAIR_ORDERS = {"changed": "Largest change first", "gained": "Largest gain first", "lost": "Largest loss first"}


def show(context: PageContext) -> None:
    """Show the list of rankings, or the selected one."""
    st.title("Rankings", anchor=False)
    rankings = context.store.rankings.list()
    if not rankings:
        url_state.one_of("ranking", (), "")
        st.info(
            "The store has no rankings yet. `vestigo rank QUERIES --store STORE --name NAME` makes one from a dataset, "
            "a folder of images or a list of crops; `--each-tracklet` uses every tracklet of the archive.",
            icon=":material/format_list_numbered:",
        )
        return
    models = {model.digest: model.name for model in context.store.models.list()}
    selected, protocol = _choose_rankings(rankings)
    if not selected:
        frame = ranking_table(rankings, models)
        open_row(context, frame, "ranking", frame["Ranking"].tolist(), name="rankings", title="Rankings")
        return
    lines = [escape_md(describe_ranking(ranking, models, context.index.snapshot)) for ranking in selected]
    if len(selected) > 1:
        lines = [f"**{escape_md(ranking.name)}**: {line}" for ranking, line in zip(selected, lines, strict=True)]
    st.caption("  \n".join(lines))
    _show_rankings(context, selected, protocol)


def _choose_rankings(rankings: Sequence[SavedRanking]) -> tuple[list[SavedRanking], Protocol]:
    """Show choices of a ranking, of one to compare it with, and the protocol; return them, if any."""
    by_name = {ranking.name: ranking for ranking in rankings}
    names, protocol = [], "cross-camera"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        titles = {"": "All rankings"} | {name: name for name in by_name}
        clear = ("page", "with", "query", "find", "order")
        if name := choose_one("Ranking", titles, "ranking", clear=clear, width=WIDTH):
            others = {"": "None"} | {other: other for other in by_name if other != name}
            names = [name, choose_one("Compare with", others, "with", clear=("page", "query", "order"), width=WIDTH)]
            protocol = choose_one("True matches", PROTOCOL_TITLES, "protocol", width=WIDTH)
    return [by_name[name] for name in names if name], cast(Protocol, protocol)


def _show_rankings(context: PageContext, selected: Sequence[SavedRanking], protocol: Protocol) -> None:
    shown = [open_ranking(context, ranking, protocol) for ranking in selected]
    opened = shown[0]
    pair = pair_rankings(context, *shown) if len(shown) > 1 else None
    query = url_state.text("query")
    if not len(opened.scores):
        st.info("This ranking has no queries.")
        return
    if not query:
        show_summary(context, opened, pair)
    show_open_row(context, opened, pair)
    order = name = measure = ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pane = choose_segment("Show", PANES, "pane", clear=("page", "query"), width="content")
        if pane in ("queries", "table") and not query:
            orders = (PAIR_ORDERS if pair is not None else {}) | ORDERS
            orders = orders if opened.has_scores else {"kept": ORDERS["kept"]}
            clear = ("page", "query")
            order = choose_one("Order", orders, "order", clear=clear, width=190)
        if pane == "queries" and not query:
            name = _choose_name()
        if pane == "cameras":
            measure = choose_segment("Measure", MEASURES, "measure", width="content")
    if pane in ("curve", "cameras") and not opened.has_scores:
        st.info("Without known identities there are no scores to show. “Queries” shows the ranking.")
    elif pane == "curve":
        show_curve(context, shown)
    elif pane == "cameras":
        show_cameras(context, shown, measure=measure)
    elif query:
        show_query(context, opened, pair, query)
    elif pane == "table":
        show_query_table(context, opened, pair, order=order)
    else:
        show_queries(context, opened, pair, order=order, name=name)


def _choose_name() -> str:
    """Show a search for queries by name; return the part of a name that is searched, "" for none."""
    key = "rankings-find"
    st.session_state[key] = url_state.text("find")
    st.text_input(
        "Name contains",
        key=key,
        placeholder="Part of a query's name",
        width=190,
        on_change=lambda: url_state.put(find=st.session_state[key], page=None),
    )
    return url_state.text("find")
