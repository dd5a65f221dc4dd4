"""What page Rankings shows, as its address has it: a ranking, perhaps another beside it, and how to look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import streamlit as st

from vestigo.evaluation.metrics.ranking import PROTOCOLS, Protocol
from vestigo.store.rankings.repository import SavedRanking
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.text import escape_md

PROTOCOL_WORDS = {
    "cross-camera": "Other cameras only",
    "same-camera": "Same camera only",
    "all": "All cameras",
}
WIDTH = 220
PANES = {"queries": "Queries", "table": "Table", "curve": "CMC curve", "cameras": "Camera pairs"}
ORDERS = {"worst": "Worst first", "best": "Best first", "kept": "As ranked"}
PAIR_ORDERS = {"changed": "Changed most first", "gained": "Gained most first", "lost": "Lost most first"}


@dataclass(frozen=True, kw_only=True)
class View:
    """One choice; `other` stands beside `ranking`; `query` is the name of the query that is open, "" for none."""

    ranking: SavedRanking
    other: SavedRanking | None
    protocol: Protocol
    query: str


def chosen(rankings: Sequence[SavedRanking]) -> View | None:
    """Offer the rankings and what to do with them; None where none is chosen."""
    known = {ranking.name: ranking for ranking in rankings}
    for name in ("ranking", "with"):
        if (asked := url_state.text(name)) and asked not in known:
            st.warning(
                f"There is no ranking {escape_md(asked)} in this store: it was replaced, or the address is wrong."
            )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = choose_one(
            "Ranking",
            ["", *known],
            "ranking",
            format_func=_named("All rankings"),
            clear=("page", "with", "query", "find"),
            width=WIDTH,
        )
        if not name:
            return None
        others = ["", *(other for other in known if other != name)]
        other = choose_one(
            "Beside it",
            others,
            "with",
            format_func=_named("None"),
            clear=(
                "page",
                "query",
            ),
            width=WIDTH,
        )
        protocol = choose_one(
            "True matches", PROTOCOLS, "protocol", format_func=PROTOCOL_WORDS.__getitem__, width=WIDTH
        )
    return View(
        ranking=known[name],
        other=known.get(other) if other else None,
        protocol=cast(Protocol, protocol),
        query=url_state.text("query"),
    )


def pane_of() -> str:
    """Offer the ways to look at a ranking (`PANES`)."""
    return choose_one(
        "Show",
        list(PANES),
        "pane",
        format_func=PANES.__getitem__,
        clear=(
            "page",
            "query",
        ),
        widget=st.segmented_control,
        width="content",
    )


def order_of(*, known: bool, two: bool) -> str:
    """Offer orders of queries: by their scores where these are known, by the difference where there are two."""
    orders = (PAIR_ORDERS if two else {}) | ORDERS if known else {"kept": ORDERS["kept"]}
    return choose_one(
        "Order",
        list(orders),
        "order",
        format_func=orders.__getitem__,
        clear=(
            "page",
            "query",
        ),
        width=190,
    )


def find() -> str:
    """Offer to look for queries by their names; returns the part of a name that is looked for, "" for none."""
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


def _named(nothing: str) -> Callable[[str], str]:
    """A ranking's name as it is, and words for none."""
    return lambda name: name or nothing
