"""Contact sheet of page Rankings: queries with their nearest rows, one query in full, and an open row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from vestigo.retrieval.query import Query
from vestigo.store.audit.records import shown_crops
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.choice import back_button
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.result.bar import LOOK
from vestigo_ui.app.components.result.dialog import AnsweredQuery, open_dialog
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.images import Image, load_crops, load_facts
from vestigo_ui.app.pages.rankings.scores import OpenRanking, RankingPair, sort_queries
from vestigo_ui.app.pages.rankings.strips import NO_IMAGE, RankingStrip, StripRow, load_images, load_strips, query_image
from vestigo_ui.app.pages.rankings.summary import format_percent, format_points
from vestigo_ui.app.text import escape_md

OF, SIDE = "of", "side"
"""Parameters of the address: the query whose row is open, and whether it is a row of the second ranking."""
MAX_OPEN_ROWS = 500
"""Rows that the dialog can go through."""
ACROSS = 12
"""Tiles of a strip, the query included."""
STRIPS = 8
"""Strips of a page."""
ROWS = 60
"""Rows of a page of one query."""
MAX_WIDTH, MIN_WIDTH = 150, 112
"""Width in pixels of a tile in a strip at most, and of a row of one query at least."""
MAX_NAME, SHORT_NAME = 20, 8
SEPARATOR = " "
"""Separates the side, the crop and the name of the query in the id of a tile."""


def show_queries(context: PageContext, opened: OpenRanking, pair: RankingPair | None, *, order: str, name: str) -> None:
    """Show a page of queries with their nearest rows; those of a second ranking are below each."""
    queries = sort_queries(opened, pair, order, name)
    if not len(queries):
        st.info(f"No query has “{escape_md(name)}” in its name." if name else "The rankings share no query.")
        return
    size = STRIPS if pair is None else STRIPS // 2
    page = choose_page(len(queries), size)
    strips = _load_strips(context, opened, pair, queries[page * size : (page + 1) * size].tolist(), most=ACROSS - 1)
    _audit(context, opened, pair, strips)
    images = load_images(context, strips)
    tiles = [tile for strip in strips for tile in _tiles(context, strip, images, pair)]
    label = "Queries with their nearest crops"
    contact_sheet(
        tiles,
        key="rankings-strips",
        label=label,
        across=ACROSS,
        width=MAX_WIDTH,
        on_action=_open_tile,
        opens_result=True,
    )


def show_query(context: PageContext, opened: OpenRanking, pair: RankingPair | None, name: str) -> None:
    """Show all saved rows of one query."""
    back_button("All queries", "query", "page", type="tertiary")
    number = opened.scores.names.index(name).as_py()
    if number < 0:
        st.info(f"The ranking has no query {escape_md(name)}. Go back to all queries.")
        return
    page = choose_page(int(opened.scores.starts[number + 1] - opened.scores.starts[number]), ROWS)
    strips = _load_strips(context, opened, pair, [number], first=page * ROWS, most=ROWS)
    _audit(context, opened, pair, strips)
    images = load_images(context, strips)
    for strip in strips:
        query, *rows = _tiles(context, strip, images, pair)
        left, right = st.columns([1, 9], gap="medium")
        with left:
            st.image(query.image, width="stretch")
            st.markdown(f"**{escape_md(query.title)}**")
            st.caption("  \n".join(escape_md(line) for line in query.lines if line))
        with right:
            st.caption(escape_md(query.hint))
            if not rows:
                st.info("This query has no saved rows.")
                continue
            key = f"rankings-query-{strip.is_second}"
            contact_sheet(
                rows, key=key, label="Nearest crops", width=MIN_WIDTH, on_action=_open_tile, opens_result=True
            )


def show_open_row(context: PageContext, opened: OpenRanking, pair: RankingPair | None) -> None:
    """Show the row that the address names in a dialog, if the ranking has it."""
    crop = url_state.text(LOOK)
    ranked = pair.second if pair is not None and url_state.text(SIDE) else opened
    number = ranked.scores.names.index(url_state.text(OF)).as_py()
    if crop and number < 0:
        url_state.refuse(f'the ranking has no query "{url_state.text(OF)}".')
    if not crop or number < 0:
        return
    (strip,) = load_strips(context, ranked, [number], most=MAX_OPEN_ROWS)
    distances = {row.crop: row.distance for row in strip.rows}
    if crop not in distances:
        url_state.refuse(f'crop "{crop}" is not among the nearest rows of the query.')
        return
    model = ranked.ranking.model
    if strip.crop is None:
        st.dialog("Result", on_dismiss=_close_row)(_show_crop)(context, crop, model)
        return
    is_tracklet = ranked.ranking.settings.get("kind") == "tracklets"
    sighting = context.index.find(strip.crop, model) if is_tracklet else None
    views = context.index.crops(sighting.id) if sighting is not None else [strip.crop]
    answered = AnsweredQuery(query=Query(crops=tuple(views)), model=model, distances=distances)
    open_dialog(context, answered, crop, on_close=_close_row)


def _show_crop(context: PageContext, crop: str, model: str) -> None:
    """Show a row alone: its query is an image without a stored descriptor."""
    with report_errors():
        context.audit_once("view", crop=crop)
        (row,) = load_facts(context, [crop], model=model)
        st.image(load_crops(context, [crop], model=model)[crop], width=160)
        st.caption(f"{escape_md(row['camera'])} · crop {crop}")
        st.link_button("Find with this crop", f"/find?crop={crop}", icon=":material/person_search:", type="tertiary")


def _tile_id(strip: RankingStrip, crop: str = "") -> str:
    return SEPARATOR.join(("2" if strip.is_second else "", crop, strip.name))


def _open_tile(action: UserAction) -> None:
    """Open a row in the dialog, or a query with all its rows."""
    side, crop, name = action.crop.split(SEPARATOR, 2)
    if crop:
        url_state.put(**{LOOK: crop, OF: name, SIDE: side})
    else:
        url_state.put(query=name, page=None)


def _close_row() -> None:
    url_state.put(**dict.fromkeys((LOOK, OF, SIDE)))


def _load_strips(
    context: PageContext,
    opened: OpenRanking,
    pair: RankingPair | None,
    queries: Sequence[int],
    *,
    first: int = 0,
    most: int,
) -> list[RankingStrip]:
    """Return the strips of queries, each followed by that of the second ranking if it has the query."""
    strips = load_strips(context, opened, queries, first=first, most=most)
    if pair is None:
        return strips
    shown = set(queries)
    places = {query: place for place, query in enumerate(pair.first_queries.tolist()) if query in shown}
    shared = [query for query in queries if query in places]
    numbers = [int(pair.second_queries[places[query]]) for query in shared]
    second = dict(zip(shared, load_strips(context, pair.second, numbers, first=first, most=most), strict=True))
    both = []
    for strip in strips:
        both.append(strip)
        if strip.number in second:
            gain = float(pair.gain[places[strip.number]])
            both.append(replace(second[strip.number], gain=gain, is_second=True))
    return both


def _tiles(
    context: PageContext, strip: RankingStrip, images: Mapping[str, Image], pair: RankingPair | None
) -> list[Tile]:
    """Return the tile of the query, then those of its rows."""
    score, basis = _describe_score(strip)
    name = strip.name.rpartition("/")[2]
    short = name if len(name) < MAX_NAME else f"{name[:SHORT_NAME]}…"
    query = Tile(
        crop=_tile_id(strip),
        image=query_image(context, strip, images),
        title=score,
        lines=(
            "" if pair is None else strip.opened.ranking.name,
            f"{format_points(strip.gain)} AP" if strip.gain == strip.gain else "",
            strip.camera or "",
            short if strip.pid is None else f"pid {strip.pid}",
        ),
        mark="Compared" if strip.is_second else "Query",
        tone="plain",
        hint=f"Query {strip.name}{basis}",
    )
    return [query, *(_row_tile(row, _tile_id(strip, row.crop), images) for row in strip.rows)]


def _row_tile(row: StripRow, key: str, images: Mapping[str, Image]) -> Tile:
    pid = "" if row.pid is None else f"pid {row.pid}"
    return Tile(
        crop=key,
        image=images.get(row.crop, NO_IMAGE),
        title=f"{row.rank} · {row.distance:.2f}",
        lines=(row.camera or "", pid, "" if row.crop in images else "no longer in the store"),
        mark=row.mark,
        tone=row.tone,
        hint=f"Crop {row.crop}, distance {row.distance:.4f}",
    )


def _describe_score(strip: RankingStrip) -> tuple[str, str]:
    """Return the average precision of a query, and what it is computed from."""
    scores, number = strip.opened.scores.scores, strip.number
    if not scores.scored[number]:
        return ("Not scored" if strip.opened.has_scores else "Query"), ""
    rank = int(scores.first[number])
    first = f"first match at rank {rank}" if rank else "no match among the saved rows"
    matches = f"{int(scores.retrieved[number])} of {int(scores.matches[number])} true matches retrieved"
    return f"AP {format_percent(scores.ap[number])}", f": {first}, {matches}"


def _audit(context: PageContext, opened: OpenRanking, pair: RankingPair | None, strips: Sequence[RankingStrip]) -> None:
    details = {} if pair is None else {"beside": pair.second.ranking.name}
    queries = list(dict.fromkeys(strip.name for strip in strips))
    crops = shown_crops([row.crop for strip in strips for row in strip.rows])
    context.audit_once("view", what="ranking", ranking=opened.ranking.name, **details, queries=queries, **crops)
