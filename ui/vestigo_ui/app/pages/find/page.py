"""The page Find: a person as pictures or in words, and where the archive saw somebody like that.

The address holds all of it but uploads: `crop` (several are views of one person), `where`, `within`, `since`, `until`,
`filter` with `lost` or `sure`, `rerank`, `top`; of the results `group`, `show`, `page` and `look`, the crop that is
open; `root` as `search_form.verdict_key` has it; `pane`, and of the sightings to choose from `camera`, `from`, `to`,
`wearing` and `sheet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vestigo.retrieval.query import Query
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import Verdict, shown_crops
from vestigo_models.errors import StoreError
from vestigo_ui.app import url_state
from vestigo_ui.app.components.result.dialog import LOOK, AnsweredQuery, open_dialog
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.pages.find import search as find_search
from vestigo_ui.app.pages.find.downloads import files
from vestigo_ui.app.pages.find.form import SearchForm
from vestigo_ui.app.pages.find.picker import picker
from vestigo_ui.app.pages.find.query import show_query, views
from vestigo_ui.app.pages.find.results import GROUPS, SHOWN, Grouping, decided, show_results, verdict_of
from vestigo_ui.app.pages.find.settings import settings
from vestigo_ui.app.pages.find.timeline import timeline
from vestigo_ui.app.pages.find.upload import upload
from vestigo_ui.app.text import count_text
from vestigo_ui.web.auth.users import Role

LEFT = 190
"""Pixels that the query takes beside the settings."""
UNUSED = "The filter waits for a picture: attributes alone are searched without it."
PANES = {"results": "Results", "archive": "From the archive", "upload": "From a picture"}


def show(context: PageContext) -> None:
    """Show the query, how it is searched for, and below either the results or whom one may choose."""
    st.title("Find", anchor=False)
    if not context.store.models.crop_counts():
        st.info(
            "The store has no crops yet. Index an archive with `vestigo index SOURCE --store STORE`; what a run has "
            "committed can be searched while it goes on.",
            icon=":material/inbox:",
        )
        return
    model = context.model()
    found = views(context, model)
    asked = SearchForm(model=model.digest, crops=found.crops, uploads=tuple(search_form.uploads()))
    beside = st.container(horizontal=True, gap="medium")
    with beside.container(width=LEFT):
        show_query(context, model, found)
    with beside.container():
        asked, cost = settings(context, model, asked)
        if cost:
            st.caption(cost if asked.views or not asked.scope.where else f"{UNUSED} {cost}")
        pane = _pane(asked)
        head = st.container()
    if pane == "archive":
        picker(context, model, asked)
    elif pane == "upload":
        upload(context)
    else:
        _results(context, asked, head)


def _pane(asked: SearchForm) -> str:
    """Offer what the page can show below; without anybody to look for, there are no results."""
    offered = [name for name in PANES if asked or name != "results"]
    st.session_state["find-pane"] = url_state.one_of("pane", offered, offered[0])

    def changed() -> None:
        url_state.put(pane=st.session_state["find-pane"], look=None)

    st.segmented_control(
        "Show",
        offered,
        format_func=PANES.__getitem__,
        key="find-pane",
        on_change=changed,
        required=True,
        label_visibility="collapsed",
    )
    return str(st.session_state["find-pane"])


def _results(context: PageContext, asked: SearchForm, head: DeltaGenerator) -> None:
    """Show the answer; what is said about it, and how it is arranged, goes to `head`, beside the query."""
    uploads = search_form.uploads()
    query = find_search.as_query(asked, uploads)
    with head:
        answer, outgrown = find_search.answer(context, asked, query)
    result = answer.result
    key = search_form.verdict_key(asked, uploads)
    context.audit_once(
        "search",
        query=key,
        **answer.asked.details(),
        **shown_crops([hit.crop for hit in result.hits]),
    )
    verdicts = context.store.verdicts.current(key, context.case)
    with head:
        _found(result, outgrown)
    if not result.hits:
        st.info("No crop in the scope is like that. Choose more cameras, a longer time or fewer attributes.")
        return
    with head:
        by, show = _arranged()
        _join_confirmed(context, asked, verdicts, key)
    hits = decided(result.hits, verdicts, show)
    if not hits:
        st.info(f"None of the {len(result.hits):,} results is {SHOWN[show].lower()}.")
        return
    try:
        show_results(context, result, hits, verdicts, key=key, by=by)
    except StoreError:
        if not outgrown:
            raise
        # What was found is no longer there: the answer is of no use.
        find_search.ask_again()
        st.rerun()
    st.subheader("Timeline", anchor=False)
    timeline(hits, verdicts)
    files(context, asked, result, hits, verdicts)
    _look(context, asked, query, hits, key)


def _found(result: SearchResult, outgrown: bool) -> None:
    words = f"The nearest {len(result.hits):,} of {count_text(result.compared, 'crop')}. Times are in UTC."
    if result.filter is not None:
        words += f" The filter left {result.kept_fraction:.1%} of the crops in scope."
    st.caption(words)
    if outgrown:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("The archive has changed since.")
            st.button("Search again", key="find-again", on_click=find_search.ask_again, icon=":material/refresh:")


def _arranged() -> tuple[Grouping, str]:
    """Offer the grouping, and whose verdicts are shown."""
    chosen = []
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, label, options in (("group", "Order by", GROUPS), ("show", "Verdicts", SHOWN)):
            key = f"find-{name}"
            st.session_state[key] = url_state.one_of(name, options, next(iter(options)))
            st.segmented_control(
                label,
                list(options),
                format_func=options.__getitem__,
                key=key,
                required=True,
                on_change=_arrange,
                args=(name, key),
            )
            chosen.append(str(st.session_state[key]))
    by = next(one for one in get_args(Grouping) if one == chosen[0])
    return by, chosen[1]


def _arrange(name: str, key: str) -> None:
    url_state.put(**{name: st.session_state[key]}, page=None)


def _join_confirmed(context: PageContext, asked: SearchForm, verdicts: dict[str, Verdict], key: str) -> None:
    """Offer to reviewers that what was confirmed joins the query."""
    more = [crop for crop in verdicts if verdict_of(crop, verdicts) == "confirmed" and crop not in asked.crops]
    if more and context.may(Role.REVIEWER):
        st.button(
            f"Search with {len(more):,} confirmed as well",
            key="find-join",
            icon=":material/group_add:",
            on_click=search_form.join,
            args=(more,),
            kwargs={"key": key},
        )


def _look(context: PageContext, asked: SearchForm, query: Query, hits: Sequence[Hit], key: str) -> None:
    crop = url_state.text(LOOK)
    if not search_form.CROP.fullmatch(crop):
        return
    answered = AnsweredQuery(
        query=query,
        model=asked.model,
        where="" if asked.views else asked.scope.where,
        uploads=tuple(hide_upload(context, search_form.uploads()[digest].image) for digest in asked.uploads),
        distances={hit.crop: hit.distance for hit in hits},
        key=key,
    )
    open_dialog(context, answered, crop, on_close=lambda: url_state.put(**{LOOK: None}))
