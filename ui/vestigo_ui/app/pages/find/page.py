"""Page Find: search for a person by crops, images or attributes.

The address holds everything but uploads: `crop` (one or several views), `where`, `within`, `since`, `until`, `filter`
with `lost` or `sure`, `rerank`, `top`; of the results `group`, `show`, `page` and `look`, the open crop; `root` as in
`form.verdict_key`; `pane`, and of the sightings to choose from `camera`, `from`, `to`, `wearing` and `sheet`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vestigo.retrieval.gallery import without_time_note
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import query_key, shown_crops
from vestigo_models.errors import StoreError
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import action_button
from vestigo_ui.app.components.choice import choose_segment
from vestigo_ui.app.components.result.bar import LOOK
from vestigo_ui.app.components.result.dialog import AnsweredQuery, open_dialog
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload
from vestigo_ui.app.pages.find import results
from vestigo_ui.app.pages.find.form import CROP, SearchForm, add_crops, session_uploads, verdict_key
from vestigo_ui.app.pages.find.search import cached_search, forget_result, make_query
from vestigo_ui.app.pages.find.settings import show_settings
from vestigo_ui.app.pages.find.upload import show_upload
from vestigo_ui.app.pages.find.views import load_views, show_picker, show_query
from vestigo_ui.app.text import count_text, escape_md
from vestigo_ui.web.auth.users import Role

QUERY_WIDTH = 190
"""Pixels of the query next to the settings."""
FILTER_UNUSED = "The filter needs a view of the person: it is not used for attributes alone."
PANES = {"results": "Results", "archive": "From the archive", "upload": "From an image"}


def show(context: PageContext) -> None:
    """Show the query, the settings, and below them the results or the views to choose from."""
    st.title("Find", anchor=False)
    if not context.store.models.crop_counts():
        st.info(
            "The store has no crops yet. Index an archive with `vestigo index SOURCE --store STORE`. Crops can be "
            "searched as soon as the run commits them.",
            icon=":material/inbox:",
        )
        return
    model = context.model()
    views = load_views(context, model)
    form = SearchForm(model=model.digest, crops=tuple(views), uploads=tuple(session_uploads()))
    row = st.container(horizontal=True, gap="medium")
    with row.container(width=QUERY_WIDTH):
        show_query(context, model, views)
    with row.container():
        form, filter_note = show_settings(context, model, form)
        if filter_note:
            note = escape_md(filter_note, keep_code=True)
            st.caption(f"{FILTER_UNUSED} {note}" if form.where else note)
        # Without a query there are no results.
        offered = {pane: title for pane, title in PANES.items() if form.has_query or pane != "results"}
        options: dict[str, Any] = {"clear": ("look",), "label_visibility": "collapsed"}
        pane = choose_segment("Show", offered, "pane", key="find-pane", **options)
        head = st.container()
    if pane == "archive":
        show_picker(context, model, form)
    elif pane == "upload":
        show_upload(context)
    else:
        _show_search(context, form, head)


def _show_search(context: PageContext, form: SearchForm, head: DeltaGenerator) -> None:
    """Show the results, and in `head`, next to the query, their summary and order."""
    uploads = session_uploads()
    key = verdict_key(form, uploads)
    verdicts = context.store.verdicts.current(key, context.case)
    confirmed = [crop for crop in verdicts if results.verdict_value(crop, verdicts) == "confirmed"]
    form = replace(form, kept=tuple(crop for crop in form.crops if crop in confirmed))
    query = make_query(form, uploads)
    with head:
        cached, is_outdated = cached_search(context, form, query)
        result = cached.result
        shown = shown_crops([hit.crop for hit in result.hits])
        context.audit_once("search", query=key, **cached.form.audit_details(), **shown)
        _show_summary(result, is_outdated)
    if not result.hits:
        st.info("No crop in the scope matches. Choose more cameras, a longer time or fewer attributes.")
        return
    with head:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            grouping = choose_segment("Group by", results.GROUPINGS, "group", key="find-group")
            verdict_filter = choose_segment("Verdicts", results.VERDICT_FILTERS, "show", key="find-show")
        _offer_confirmed(context, [crop for crop in confirmed if crop not in form.crops], key)
    hits = results.filter_by_verdict(result.hits, verdicts, verdict_filter)
    if not hits:
        st.info(f"None of the {len(result.hits):,} results is {results.VERDICT_FILTERS[verdict_filter].lower()}.")
        return
    try:
        results.show_results(context, result, hits, verdicts, key=key, grouping=grouping)
    except StoreError:
        if not is_outdated:
            raise
        # Crops of the result are no longer visible.
        forget_result()
        st.rerun()
    st.subheader("Timeline", anchor=False)
    results.show_timeline(hits, verdicts)
    results.show_result_downloads(context, form, result, hits, verdicts)
    _show_open_result(context, form, query, hits, key)


def _show_summary(result: SearchResult, is_outdated: bool) -> None:
    text = f"The nearest {len(result.hits):,} of {count_text(result.compared, 'crop')}. Times are in UTC."
    if result.filter is not None:
        text += f" The filter kept {result.kept_fraction:.1%} of the gallery."
    st.caption(text)
    if note := without_time_note(result.without_time):
        st.warning(f"{note}.", icon=":material/schedule:")
    if is_outdated:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("The store has changed since this search.")
            action_button("Search again", forget_result, key="search-again", icon=":material/refresh:")


def _offer_confirmed(context: PageContext, confirmed: Sequence[str], key: str) -> None:
    """Offer reviewers to add confirmed results to the query."""
    if confirmed and context.may(Role.REVIEWER):
        action_button(
            f"Add {len(confirmed):,} confirmed to the query",
            partial(add_crops, confirmed, key=key),
            key=f"join-{query_key(crops=confirmed)[:16]}",
            icon=":material/group_add:",
        )


def _show_open_result(context: PageContext, form: SearchForm, query: Query, hits: Sequence[Hit], key: str) -> None:
    crop = url_state.text(LOOK)
    if not CROP.fullmatch(crop):
        if crop:
            url_state.refuse(f'"{crop}" is not the id of a crop, 20 hexadecimal digits.')
        return
    answered = AnsweredQuery(
        query=query,
        model=form.model,
        where=form.where,
        uploads=tuple(hide_upload(context, session_uploads()[digest].image) for digest in form.uploads),
        distances={hit.crop: hit.distance for hit in hits},
        key=key,
    )
    open_dialog(context, answered, crop, on_close=lambda: url_state.put(**{LOOK: None}))
