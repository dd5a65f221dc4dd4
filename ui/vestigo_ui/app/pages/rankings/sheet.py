"""Contact sheet of page Rankings: queries with their nearest rows, one query in full, and an open row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from vestigo.evaluation.metrics import truncated
from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import TruncatedRows, row_relations
from vestigo.resolve import resolve_review_model
from vestigo.retrieval.query import Query
from vestigo.store.audit.records import shown_crops
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.choice import back_button, choose_page
from vestigo_ui.app.components.contact_sheet import Tile, Tone, contact_sheet
from vestigo_ui.app.components.result.bar import LOOK
from vestigo_ui.app.components.result.dialog import AnsweredQuery, open_dialog
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.images import Image, hide_upload, load_crops, load_existing, load_facts
from vestigo_ui.app.pages.find.form import CROP
from vestigo_ui.app.pages.rankings.scores import OpenRanking, RankingPair, sort_queries
from vestigo_ui.app.pages.rankings.tables import format_percent, format_points
from vestigo_ui.app.text import GROUND, escape_md

NO_IMAGE = np.full((128, 64, 3), GROUND, np.uint8)
ROW_COLUMNS = ("crop", "rank", "distance")
TRUTH_COLUMNS = ("pid", "camera")
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


@dataclass(frozen=True, kw_only=True)
class StripRow:
    """A row of a ranking; `mark` and `tone` show its relation to the query."""

    crop: str
    rank: int
    distance: float
    pid: int | None = None
    camera: str | None = None
    mark: str = ""
    tone: Tone = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingStrip:
    """A query with some of its rows, the nearest first; `pid` and `camera` are None if unknown.

    `image` is the JPEG of a query without a stored `crop`. `gain` is the gain over the first of two rankings, NaN if
    unknown, and `is_second` is set for the second one.
    """

    opened: OpenRanking
    number: int
    name: str
    pid: int | None
    camera: str | None
    crop: str | None
    image: bytes | None
    rows: tuple[StripRow, ...]
    gain: float = float("nan")
    is_second: bool = False


def load_strips(
    context: PageContext, opened: OpenRanking, queries: Sequence[int], *, first: int = 0, most: int
) -> list[RankingStrip]:
    """Return queries of a ranking by number, each with at most `most` rows after the first `first` ones."""
    ranking, scores = opened.ranking, opened.scores
    spans = [(int(scores.starts[query]) + first, int(scores.starts[query + 1])) for query in queries]
    numbers = [list(range(start, min(end, start + most))) for start, end in spans]
    columns = (*ROW_COLUMNS, *(TRUTH_COLUMNS if ranking.queries_path else ()))
    every = sorted({number for span in numbers for number in span})
    rows = dict(zip(every, context.store.rankings.rows(ranking, every, columns), strict=True))
    distinct = sorted(set(queries))
    query_rows = context.store.rankings.queries(ranking, distinct, ["crop", "image"])
    facts = dict(zip(distinct, query_rows, strict=False))
    strips = []
    for query, span in zip(queries, numbers, strict=True):
        name = scores.names[query].as_py()
        # Rankings of older stores have no queries; a name is a crop or a tracklet there.
        source = facts.get(query, {"crop": name if CROP.fullmatch(name) else None, "image": None})
        camid, pid = int(scores.camids[query]), int(scores.pids[query])
        strip = RankingStrip(
            opened=opened,
            number=query,
            name=name,
            pid=None if pid == truncated.UNKNOWN_PID else pid,
            camera=None if camid == truncated.UNKNOWN_CAMERA else scores.cameras[camid],
            crop=source["crop"],
            image=source["image"],
            rows=_mark_rows(opened, pid, camid, [rows[number] for number in span]),
        )
        strips.append(strip)
    return strips


def _mark_rows(opened: OpenRanking, pid: int, camid: int, rows: Sequence[dict[str, Any]]) -> tuple[StripRow, ...]:
    place = {name: number for number, name in enumerate(opened.scores.cameras)}
    none = np.empty(0, np.int64)
    compared = TruncatedRows(
        pids=np.array([pid]),
        camids=np.array([camid]),
        own=np.zeros(1, np.int64),
        starts=np.array([0, len(rows)]),
        row_pids=np.array([truncated.UNKNOWN_PID if row.get("pid") is None else row["pid"] for row in rows], np.int64),
        row_camids=np.array([place.get(row.get("camera") or "", truncated.UNKNOWN_CAMERA) for row in rows], np.int64),
        match_query=none,
        match_camid=none,
        match_count=none,
    )
    marks = [mark_of(int(code), pid, opened.protocol) for code in row_relations(compared, opened.protocol)]
    return tuple(StripRow(**row, mark=mark, tone=tone) for row, (mark, tone) in zip(rows, marks, strict=True))


def mark_of(relation: int, pid: int, protocol: Protocol) -> tuple[str, Tone]:
    """Return the mark and tone of a row with a relation to its query of the identity `pid`."""
    if relation in (truncated.TRUE_MATCH, truncated.FALSE_MATCH):
        return ("True match", "right") if relation == truncated.TRUE_MATCH else ("False match", "wrong")
    if relation == truncated.NOT_COMPARED:
        return ("Same camera" if protocol == "cross-camera" else "Other camera"), "plain"
    # If the query's identity is unknown, so is every relation, which needs no mark.
    return ("Unknown", "unsure") if pid > 0 else ("", "")


def load_images(context: PageContext, strips: Sequence[RankingStrip]) -> dict[str, Image]:
    """Return the images of all crops of strips that are still in the store, by id."""
    queries = [strip.crop for strip in strips if strip.crop]
    ids = list(dict.fromkeys([*(row.crop for strip in strips for row in strip.rows), *queries]))
    counts = context.store.models.crop_counts()
    if not counts or not strips:
        return {}
    model = strips[0].opened.ranking.model
    shown = model if model in counts else resolve_review_model(context.store).digest
    return load_existing(lambda part: load_crops(context, part, model=shown), ids)


def query_image(context: PageContext, strip: RankingStrip, images: Mapping[str, Image]) -> Image:
    """Return the image of a query, a grey one if it has none any more."""
    if strip.crop:
        return images.get(strip.crop, NO_IMAGE)
    try:
        return NO_IMAGE if strip.image is None else hide_upload(context, decode_image(strip.image))
    except BadInput:
        return NO_IMAGE


def show_queries(context: PageContext, opened: OpenRanking, pair: RankingPair | None, *, order: str, name: str) -> None:
    """Show a page of queries with their nearest rows; those of a second ranking are below each."""
    queries = sort_queries(opened, pair, order, name)
    if not len(queries):
        st.info(f"No query has “{escape_md(name)}” in its name." if name else "The rankings share no query.")
        return
    size = STRIPS if pair is None else STRIPS // 2
    page = choose_page(len(queries), size)
    shown = queries[page * size : (page + 1) * size].tolist()
    strips = _load_shown_strips(context, opened, pair, shown, most=ACROSS - 1)
    images = load_images(context, strips)
    tiles = [tile for strip in strips for tile in _tiles(context, strip, images, pair)]
    options: dict[str, Any] = {"key": "rankings-strips", "across": ACROSS, "width": MAX_WIDTH}
    _show_sheet(tiles, "Queries with their nearest crops", **options)


def show_query(context: PageContext, opened: OpenRanking, pair: RankingPair | None, name: str) -> None:
    """Show all saved rows of one query."""
    back_button("All queries", "query", "page", type="tertiary")
    number = opened.scores.names.index(name).as_py()
    if number < 0:
        st.info(f"The ranking has no query {escape_md(name)}. Go back to all queries.")
        return
    page = choose_page(int(opened.scores.starts[number + 1] - opened.scores.starts[number]), ROWS)
    strips = _load_shown_strips(context, opened, pair, [number], first=page * ROWS, most=ROWS)
    images = load_images(context, strips)
    for strip in strips:
        query, *rows = _tiles(context, strip, images, pair)
        left, right = st.columns([1, 9], gap="medium")
        with left:
            st.image(query.image, width="stretch", alt="The query")
            st.markdown(f"**{escape_md(query.title)}**")
            st.caption("  \n".join(escape_md(line) for line in query.lines if line))
        with right:
            st.caption(escape_md(query.hint))
            if not rows:
                st.info("This query has no saved rows.")
                continue
            _show_sheet(rows, "Nearest crops", key=f"rankings-query-{strip.is_second}", width=MIN_WIDTH)


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


@report_errors()
def _show_crop(context: PageContext, crop: str, model: str) -> None:
    """Show a row alone: its query is an image without a stored descriptor."""
    context.audit_once("view", crop=crop)
    (row,) = load_facts(context, [crop], model=model)
    st.image(load_crops(context, [crop], model=model)[crop], width=160, alt="The crop")
    st.caption(f"{escape_md(row['camera'])} · crop {crop}")
    st.link_button("Find with this crop", f"/find?crop={crop}", icon=":material/person_search:", type="tertiary")


def _tile_id(strip: RankingStrip, crop: str = "") -> str:
    return SEPARATOR.join(("2" if strip.is_second else "", crop, strip.name))


def _show_sheet(tiles: Sequence[Tile], label: str, **options: Any) -> None:
    """Show tiles; a click opens a row in the dialog, or a query with all its rows."""

    def open_tile(action: UserAction) -> None:
        side, crop, name = action.crop.split(SEPARATOR, 2)
        if crop:
            url_state.put(**{LOOK: crop, OF: name, SIDE: side})
        else:
            url_state.put(query=name, page=None)

    contact_sheet(tiles, label=label, on_action=open_tile, opens_result=True, **options)


def _close_row() -> None:
    url_state.put(**dict.fromkeys((LOOK, OF, SIDE)))


def _load_shown_strips(
    context: PageContext,
    opened: OpenRanking,
    pair: RankingPair | None,
    queries: Sequence[int],
    *,
    first: int = 0,
    most: int,
) -> list[RankingStrip]:
    """Return the strips of queries, each followed by that of a second ranking that has the query; log their crops."""
    strips = load_strips(context, opened, queries, first=first, most=most)
    details = {}
    if pair is not None:
        details = {"beside": pair.second.ranking.name}
        places = np.flatnonzero(np.isin(pair.first_queries, queries))
        others = load_strips(context, pair.second, pair.second_queries[places].tolist(), first=first, most=most)
        second = {
            int(query): replace(strip, gain=float(gain), is_second=True)
            for query, gain, strip in zip(pair.first_queries[places], pair.gain[places], others, strict=True)
        }
        strips = [each for strip in strips for each in (strip, second.get(strip.number)) if each is not None]
    names = list(dict.fromkeys(strip.name for strip in strips))
    crops = shown_crops([row.crop for strip in strips for row in strip.rows])
    context.audit_once("view", what="ranking", ranking=opened.ranking.name, **details, queries=names, **crops)
    return strips


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
    rows = [
        Tile(
            crop=_tile_id(strip, row.crop),
            image=images.get(row.crop, NO_IMAGE),
            title=f"{row.rank} · {row.distance:.2f}",
            lines=(
                row.camera or "",
                "" if row.pid is None else f"pid {row.pid}",
                "" if row.crop in images else "no longer in the store",
            ),
            mark=row.mark,
            tone=row.tone,
            hint=f"Crop {row.crop}, distance {row.distance:.4f}",
        )
        for row in strip.rows
    ]
    return [query, *rows]


def _describe_score(strip: RankingStrip) -> tuple[str, str]:
    """Return the average precision of a query, and what it is computed from."""
    scores, number = strip.opened.scores.scores, strip.number
    if not scores.scored[number]:
        return ("Not scored" if strip.opened.has_scores else "Query"), ""
    rank = int(scores.first[number])
    first = f"first match at rank {rank}" if rank else "no match among the saved rows"
    matches = f"{int(scores.retrieved[number])} of {int(scores.matches[number])} true matches retrieved"
    return f"AP {format_percent(scores.ap[number])}", f": {first}, {matches}"
