"""Page Rankings: what bulk re-identifications found, right and wrong where the truth is known, two side by side.

The address holds `ranking`, `with`, `protocol`, `pane`, `order`, `find`, `measure` and `page`; `query` is the one that
is open, and `look`, `of` and `side` name a row that is.
"""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.curves import measure_of, show_cameras, show_curve
from vestigo_ui.app.pages.rankings.detail import show_open
from vestigo_ui.app.pages.rankings.scores import RankingPair, ScoredRanking, opened, paired, shared_rankings
from vestigo_ui.app.pages.rankings.selection import View, chosen, find, order_of, pane_of
from vestigo_ui.app.pages.rankings.sheet import show_queries, show_query
from vestigo_ui.app.pages.rankings.table import show_score_table
from vestigo_ui.app.pages.rankings.wording import caveats, compared, heading, listed, scores
from vestigo_ui.app.text import escape_md


def show(context: PageContext) -> None:
    """Show the page."""
    st.title("Rankings", anchor=False)
    rankings = context.store.rankings.list()
    if not rankings:
        st.info(
            "No ranking is kept here yet. `vestigo rank QUERIES --store STORE --name NAME` makes one, of a dataset, a "
            "folder of images or a list of crops; `--each-tracklet` asks for everybody in the archive.",
            icon=":material/format_list_numbered:",
        )
        return
    names = {model.digest: model.name for model in context.store.models.list()}
    view = chosen(rankings)
    if view is None:
        frame = listed(rankings, names)
        event = show_table(
            context, frame, name="rankings", title="Rankings", on_select="rerun", selection_mode="single-row"
        )
        if rows := event.selection.rows:
            url_state.put(ranking=frame["Ranking"][rows[0]])
            st.rerun()
        return
    snapshot = context.index.snapshot
    headings = {
        one.name: escape_md(heading(one, names, snapshot)) for one in (view.ranking, view.other) if one is not None
    }
    first, *more = headings.values()
    st.caption("  \n".join(f"**{escape_md(name)}**: {said}" for name, said in headings.items()) if more else first)
    _show(context, view)


def _show(context: PageContext, view: View) -> None:
    one = opened(context, view.ranking, view.protocol)
    other = None if view.other is None else opened(context, view.other, view.protocol)
    both = None if other is None else _paired(context, view, one, other)
    if not len(one.judged):
        st.info("This ranking has no queries: nobody was asked for when it was made.")
        return
    if not view.query:
        _summary(context, view, one, other, both)
    show_open(context, view, one, other)
    shown = [one] if other is None else [one, other]
    order = looked_for = measure = ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pane = pane_of()
        if pane in ("queries", "table") and not view.query:
            order = order_of(known=one.known, two=both is not None)
        if pane == "queries" and not view.query:
            looked_for = find()
        if pane == "cameras":
            measure = measure_of()
    if pane in ("curve", "cameras") and not one.known:
        st.info("Without the truth there is nothing to draw. Choose “Queries” to look at the ranking.")
    elif pane == "curve":
        show_curve(context, shown)
    elif pane == "cameras":
        show_cameras(context, shown, measure=measure)
    elif view.query:
        show_query(context, view, one, other, both)
    elif pane == "table":
        show_score_table(context, view, one, other, both, order=order)
    else:
        show_queries(context, view, one, other, both, order=order, find=looked_for)


def _paired(context: PageContext, view: View, one: ScoredRanking, other: ScoredRanking) -> RankingPair:
    key = (context.store.ref, one.ranking.path, other.ranking.path, view.protocol)
    both: RankingPair = shared_rankings().get(key, lambda: paired(one, other))
    return both


def _summary(
    context: PageContext, view: View, one: ScoredRanking, other: ScoredRanking | None, both: RankingPair | None
) -> None:
    """The scores, and in sentences what they rest on."""
    if not one.known and not (other is not None and other.known):
        _unknown(view)
        return
    shown = [one] if other is None else [one, other]
    frame = scores(shown)
    number = st.column_config.NumberColumn(format="%.1f")
    columns = {name: number for name in frame.columns if name.endswith("(%)") or name in ("95 % from", "to")}
    show_table(context, frame, name="scores", title="Scores", columns=columns)
    if other is not None and both is not None:
        st.markdown(escape_md(compared(both, one.ranking.name, other.ranking.name)))
    told = [
        (f"**{escape_md(which.ranking.name)}**: " if other is not None else "") + f"{said[0].upper()}{said[1:]}."
        for which in shown
        if (said := "; ".join(caveats(which)))
    ]
    if told:
        st.caption("  \n".join(told))


def _unknown(view: View) -> None:
    """Why nothing is scored."""
    if view.ranking.queries_path is None:
        st.info(
            "This ranking is older than the truth is kept with rankings. Rank again to see what is right and wrong: "
            "`vestigo rank QUERIES --store STORE --name NAME`.",
            icon=":material/help:",
        )
        return
    st.info(
        "Nobody knows who the queries are, or the archive has no true match for them, so nothing is marked right or "
        "wrong. Identities come from datasets in a benchmark's layout.",
        icon=":material/help:",
    )
