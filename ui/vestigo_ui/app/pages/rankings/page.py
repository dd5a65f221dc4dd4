"""Page Rankings: what bulk re-identifications found, right and wrong where the truth is known, two side by side.

The address holds `ranking`, `with`, `protocol`, `pane`, `order`, `find`, `measure` and `page`; `query` is the one that
is open, and `look`, `of` and `side` name a row that is.
"""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.tables import table
from vestigo_ui.app.context import Desk
from vestigo_ui.app.pages.rankings.curves import measure_of, show_cameras, show_curve
from vestigo_ui.app.pages.rankings.detail import show_open
from vestigo_ui.app.pages.rankings.scores import Opened, Paired, opened, paired, the_memory
from vestigo_ui.app.pages.rankings.selection import View, chosen, find, order_of, pane_of
from vestigo_ui.app.pages.rankings.sheet import show_queries, show_query
from vestigo_ui.app.pages.rankings.table import show_table
from vestigo_ui.app.pages.rankings.wording import caveats, compared, heading, listed, scores
from vestigo_ui.app.text import plain


def show(desk: Desk) -> None:
    """Show the page."""
    st.title("Rankings", anchor=False)
    rankings = desk.store.rankings.list()
    if not rankings:
        st.info(
            "No ranking is kept here yet. `vestigo rank QUERIES --store STORE --name NAME` makes one, of a dataset, a "
            "folder of images or a list of crops; `--each-tracklet` asks for everybody in the archive.",
            icon=":material/format_list_numbered:",
        )
        return
    names = {model.digest: model.name for model in desk.store.models.list()}
    view = chosen(rankings)
    if view is None:
        frame = listed(rankings, names)
        event = table(desk, frame, name="rankings", title="Rankings", on_select="rerun", selection_mode="single-row")
        if rows := event.selection.rows:
            links.put(ranking=frame["Ranking"][rows[0]])
            st.rerun()
        return
    snapshot = desk.index.snapshot
    headings = {one.name: plain(heading(one, names, snapshot)) for one in (view.ranking, view.other) if one is not None}
    first, *more = headings.values()
    st.caption("  \n".join(f"**{plain(name)}**: {said}" for name, said in headings.items()) if more else first)
    _show(desk, view)


def _show(desk: Desk, view: View) -> None:
    one = opened(desk, view.ranking, view.protocol)
    other = None if view.other is None else opened(desk, view.other, view.protocol)
    both = None if other is None else _paired(desk, view, one, other)
    if not len(one.judged):
        st.info("This ranking has no queries: nobody was asked for when it was made.")
        return
    if not view.query:
        _summary(desk, view, one, other, both)
    show_open(desk, view, one, other)
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
        show_curve(desk, shown)
    elif pane == "cameras":
        show_cameras(desk, shown, measure=measure)
    elif view.query:
        show_query(desk, view, one, other, both)
    elif pane == "table":
        show_table(desk, view, one, other, both, order=order)
    else:
        show_queries(desk, view, one, other, both, order=order, find=looked_for)


def _paired(desk: Desk, view: View, one: Opened, other: Opened) -> Paired:
    key = (desk.store.ref, one.ranking.path, other.ranking.path, view.protocol)
    both: Paired = the_memory().get(key, lambda: paired(one, other))
    return both


def _summary(desk: Desk, view: View, one: Opened, other: Opened | None, both: Paired | None) -> None:
    """The scores, and in sentences what they rest on."""
    if not one.known and not (other is not None and other.known):
        _unknown(view)
        return
    shown = [one] if other is None else [one, other]
    frame = scores(shown)
    number = st.column_config.NumberColumn(format="%.1f")
    columns = {name: number for name in frame.columns if name.endswith("(%)") or name in ("95 % from", "to")}
    table(desk, frame, name="scores", title="Scores", columns=columns)
    if other is not None and both is not None:
        st.markdown(plain(compared(both, one.ranking.name, other.ranking.name)))
    told = [
        (f"**{plain(which.ranking.name)}**: " if other is not None else "") + f"{said[0].upper()}{said[1:]}."
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
