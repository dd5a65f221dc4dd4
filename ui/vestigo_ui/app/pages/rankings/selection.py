"""Selection of page Rankings, held by the address: one or two rankings, the protocol and the open query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import streamlit as st

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.store.rankings.repository import SavedRanking
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one

PROTOCOL_TITLES = {"cross-camera": "Other cameras only", "same-camera": "Same camera only", "all": "All cameras"}
WIDTH = 220
PANES = {"queries": "Queries", "table": "Table", "curve": "CMC curve", "cameras": "Camera pairs"}
ORDERS = {"worst": "Worst first", "best": "Best first", "kept": "As ranked"}
PAIR_ORDERS = {"changed": "Largest change first", "gained": "Largest gain first", "lost": "Largest loss first"}


@dataclass(frozen=True, kw_only=True)
class RankingsSelection:
    """The selected ranking, one to compare it with, the protocol, and the name of the open query ("" for none)."""

    ranking: SavedRanking
    other: SavedRanking | None
    protocol: Protocol
    query: str


def choose_ranking(rankings: Sequence[SavedRanking]) -> RankingsSelection | None:
    """Show choices of rankings and protocol; return the selection, None if no ranking is selected."""
    by_name = {ranking.name: ranking for ranking in rankings}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = choose_one(
            "Ranking",
            {"": "All rankings"} | {name: name for name in by_name},
            "ranking",
            clear=("page", "with", "query", "find", "order"),
            width=WIDTH,
        )
        if not name:
            return None
        others = {"": "None"} | {other: other for other in by_name if other != name}
        other = choose_one("Compare with", others, "with", clear=("page", "query", "order"), width=WIDTH)
        protocol = choose_one("True matches", PROTOCOL_TITLES, "protocol", width=WIDTH)
    return RankingsSelection(
        ranking=by_name[name],
        other=by_name.get(other),
        protocol=cast(Protocol, protocol),
        query=url_state.text("query"),
    )


def choose_name() -> str:
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
