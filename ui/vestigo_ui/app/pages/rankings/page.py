"""Page Rankings: saved rankings with their scores, one or two at a time.

The address holds `ranking`, `with`, `protocol`, `pane`, `order`, `find`, `measure` and `page`; `query` is the open
query, and `look`, `of` and `side` name an open row.
"""

import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.tables import choose_row
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.curves import MEASURES, show_cameras, show_curve
from vestigo_ui.app.pages.rankings.query_table import show_query_table
from vestigo_ui.app.pages.rankings.scores import open_ranking, pair_rankings
from vestigo_ui.app.pages.rankings.selection import (
    ORDERS,
    PAIR_ORDERS,
    PANES,
    RankingsSelection,
    choose_name,
    choose_ranking,
)
from vestigo_ui.app.pages.rankings.sheet import show_open_row, show_queries, show_query
from vestigo_ui.app.pages.rankings.summary import describe_ranking, ranking_table, show_summary
from vestigo_ui.app.text import escape_md


def show(context: PageContext) -> None:
    """Show the list of rankings, or the selected one."""
    st.title("Rankings", anchor=False)
    rankings = context.store.rankings.list()
    if not rankings:
        st.info(
            "The store has no rankings yet. `vestigo rank QUERIES --store STORE --name NAME` makes one from a dataset, "
            "a folder of images or a list of crops; `--each-tracklet` uses every tracklet of the archive.",
            icon=":material/format_list_numbered:",
        )
        return
    models = {model.digest: model.name for model in context.store.models.list()}
    selection = choose_ranking(rankings)
    if selection is None:
        row = choose_row(context, ranking_table(rankings, models), name="rankings", title="Rankings")
        if row is not None:
            url_state.put(ranking=rankings[row].name)
            st.rerun()
        return
    shown = [ranking for ranking in (selection.ranking, selection.other) if ranking is not None]
    lines = [escape_md(describe_ranking(ranking, models, context.index.snapshot)) for ranking in shown]
    if len(shown) > 1:
        lines = [f"**{escape_md(ranking.name)}**: {line}" for ranking, line in zip(shown, lines, strict=True)]
    st.caption("  \n".join(lines))
    _show_ranking(context, selection)


def _show_ranking(context: PageContext, selection: RankingsSelection) -> None:
    opened = open_ranking(context, selection.ranking, selection.protocol)
    other = None if selection.other is None else open_ranking(context, selection.other, selection.protocol)
    pair = None if other is None else pair_rankings(context, opened, other)
    query = selection.query
    if not len(opened.scores):
        st.info("This ranking has no queries.")
        return
    if not query:
        show_summary(context, opened, pair)
    show_open_row(context, opened, pair)
    shown = [opened] if pair is None else [opened, pair.second]
    order = name = measure = ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pane = choose_one("Show", PANES, "pane", clear=("page", "query"), widget=st.segmented_control, width="content")
        if pane in ("queries", "table") and not query:
            orders = (PAIR_ORDERS if pair is not None else {}) | ORDERS
            orders = orders if opened.has_scores else {"kept": ORDERS["kept"]}
            clear = ("page", "query")
            order = choose_one("Order", orders, "order", clear=clear, width=190)
        if pane == "queries" and not query:
            name = choose_name()
        if pane == "cameras":
            segments = st.segmented_control
            measure = choose_one("Measure", MEASURES, "measure", widget=segments, width="content")
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
