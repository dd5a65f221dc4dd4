"""Queries of a ranking as strips: who was asked for, and who stands nearest, right and wrong told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from vestigo.store.audit.records import shown_crops
from vestigo_ui.app import url_state
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image
from vestigo_ui.app.pages.rankings.detail import look_at
from vestigo_ui.app.pages.rankings.rows import NO_PICTURE, Row, Strip, images, picture, strips
from vestigo_ui.app.pages.rankings.scores import RankingPair, ScoredRanking, ordered
from vestigo_ui.app.pages.rankings.selection import View
from vestigo_ui.app.pages.rankings.wording import SHORT, percent, points
from vestigo_ui.app.text import escape_md

ACROSS = 12
"""Tiles of a strip, the query first."""
STRIPS = 8
"""Of a page."""
ROWS = 60
"""Of one query that is open."""
WIDE, WIDTH = 150, 112
"""The most pixels of a tile in a strip, the least of one below an open query."""
LONG = 20
"""Names from that length on are digests, or do not fit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A strip of one of the rankings; `beside` it is the other one's, `gain` what the second won (NaN: not known)."""

    one: ScoredRanking
    strip: Strip
    second: bool = False
    gain: float = float("nan")


def show_queries(
    context: PageContext,
    view: View,
    one: ScoredRanking,
    other: ScoredRanking | None,
    both: RankingPair | None,
    *,
    order: str,
    find: str,
) -> None:
    """Show a page of the queries whose names contain `find`, of two rankings one below the other."""
    queries = ordered(one, both, order, find)
    if not len(queries):
        st.info(
            f"No query has “{escape_md(find)}” in its name." if find else "The two rankings have no query in common."
        )
        return
    size = STRIPS if both is None else STRIPS // 2
    page = choose_page(len(queries), size)
    shown = _shown(context, view, one, other, both, queries[page * size : (page + 1) * size].tolist(), ACROSS - 1)
    _audit(context, view, shown)
    found = images(context, view.ranking, [part.strip for part in shown])
    tiles = [
        tile for place, part in enumerate(shown) for tile in _tiles(context, part, place, found, two=other is not None)
    ]
    event = contact_sheet(tiles, key="rankings-strips", label="Queries and who is nearest", across=ACROSS, width=WIDE)
    if event is not None:
        place, rank = (int(number) for number in event.crop.split("-"))
        part = shown[place]
        if rank:
            look_at(part.strip.rows[rank - 1].crop, part.strip.name, second=part.second)
        else:
            url_state.put(query=part.strip.name, page=None)
        st.rerun()


def show_query(
    context: PageContext, view: View, one: ScoredRanking, other: ScoredRanking | None, both: RankingPair | None
) -> None:
    """Show all that is kept of one query."""
    st.button(
        "All queries",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=url_state.put,
        kwargs={"query": None, "page": None},
    )
    number = one.judged.names.index(view.query).as_py()
    if number < 0:
        st.info(f"The ranking has no query {escape_md(view.query)}; go back to all of them.")
        return
    rows = int(one.judged.starts[number + 1] - one.judged.starts[number])
    page = choose_page(rows, ROWS)
    shown = _shown(context, view, one, other, both, [number], ROWS, first=page * ROWS)
    _audit(context, view, shown)
    found = images(context, view.ranking, [part.strip for part in shown])
    for part in shown:
        query, *results = _tiles(context, part, 0, found, two=other is not None)
        left, right = st.columns([1, 9], gap="medium")
        with left:
            st.image(query.image, width="stretch")
            st.markdown(f"**{escape_md(query.title)}**")
            st.caption("  \n".join(map(escape_md, query.lines)))
        with right:
            st.caption(escape_md(query.hint))
            if not results:
                st.info("Nothing of the gallery is kept for it.")
                continue
            event = contact_sheet(results, key=f"rankings-query-{part.second}", label="Who is nearest", width=WIDTH)
            if event is not None:
                rank = int(event.crop.split("-")[1])
                look_at(part.strip.rows[rank - 1].crop, part.strip.name, second=part.second)
                st.rerun()


def _shown(
    context: PageContext,
    view: View,
    one: ScoredRanking,
    other: ScoredRanking | None,
    both: RankingPair | None,
    queries: Sequence[int],
    most: int,
    first: int = 0,
) -> list[Shown]:
    made = strips(context, one, queries, view.protocol, first=first, most=most)
    if other is None or both is None:
        return [Shown(one=one, strip=strip) for strip in made]
    places = {query: place for place, query in enumerate(both.first.tolist()) if query in set(queries)}
    shared = [query for query in queries if query in places]
    there = [int(both.second[places[query]]) for query in shared]
    beside = dict(zip(shared, strips(context, other, there, view.protocol, first=first, most=most), strict=True))
    shown = []
    for query, strip in zip(queries, made, strict=True):
        shown.append(Shown(one=one, strip=strip))
        if query in beside:
            gain = float(both.gain[places[query]])
            shown.append(Shown(one=other, strip=beside[query], second=True, gain=gain))
    return shown


def _tiles(context: PageContext, part: Shown, place: int, found: Mapping[str, Image], *, two: bool) -> list[Tile]:
    """The tile of the query, then those of its rows; always as many as there are in a strip."""
    strip, one = part.strip, part.one
    who = f"pid {strip.pid}" if strip.pid is not None else ""
    told = _told(one, strip.number)
    changed = f"{points(part.gain)} AP" if part.gain == part.gain else ""
    name = strip.name.rpartition("/")[2]
    short = name if len(name) < LONG else f"{name[:SHORT]}…"
    lines = (one.ranking.name if two else "", changed, strip.camera or "", who or short)
    query = Tile(
        crop=f"{place}-0",
        image=picture(context, strip, found),
        title=told[0],
        lines=tuple(line for line in lines if line),
        mark="Query" if not part.second else "Beside it",
        tone="plain",
        hint=f"Query {strip.name}" + (f": {told[1]}" if told[1] else ""),
    )
    return [query, *(_tile(row, place, position, found) for position, row in enumerate(strip.rows, start=1))]


def _tile(row: Row, place: int, position: int, found: Mapping[str, Image]) -> Tile:
    gone = row.crop not in found
    who = "" if row.pid is None else f"pid {row.pid}"
    lines = (row.camera or "", who, "no longer in the archive" if gone else "")
    return Tile(
        crop=f"{place}-{position}",
        image=found.get(row.crop, NO_PICTURE),
        title=f"{row.rank} · {row.distance:.2f}",
        lines=tuple(line for line in lines if line),
        mark=row.mark,
        tone=row.tone,
        hint=f"Crop {row.crop}, distance {row.distance:.4f}",
    )


def _told(one: ScoredRanking, number: int) -> tuple[str, str]:
    """A query's score, and what it rests on."""
    found = one.judged.scores
    if not found.scored[number]:
        return ("Not scored" if one.known else "Query"), ""
    rank = int(found.first[number])
    first = f"first match at rank {rank}" if rank else "no match is kept"
    of = f"{int(found.retrieved[number])} of {int(found.matches[number])} true matches found"
    return f"AP {percent(found.ap[number])}", f"{first}, {of}"


def _audit(context: PageContext, view: View, shown: Sequence[Shown]) -> None:
    crops = [row.crop for part in shown for row in part.strip.rows]
    beside = {} if view.other is None else {"beside": view.other.name}
    queries = list(dict.fromkeys(part.strip.name for part in shown))
    context.audit_once(
        "view", what="ranking", ranking=view.ranking.name, **beside, queries=queries, **shown_crops(crops)
    )
