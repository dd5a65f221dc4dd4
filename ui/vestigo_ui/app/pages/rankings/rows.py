"""A few queries of a ranking with the rows that stand nearest: read by their numbers, told right from wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import (
    FALSE_MATCH,
    NOT_COMPARED,
    TRUE_MATCH,
    UNKNOWN_CAMERA,
    UNKNOWN_PID,
    TruncatedRows,
    row_relations,
)
from vestigo.resolve import resolve_review_model
from vestigo.store.rankings.repository import SavedRanking
from vestigo_models.errors import BadInput, StoreError
from vestigo_models.inference.images import decode_image
from vestigo_ui.app.components.contact_sheet import Tone
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, hide_upload, load_crops
from vestigo_ui.app.pages.find.form import CROP
from vestigo_ui.app.pages.rankings.scores import ScoredRanking
from vestigo_ui.app.text import GROUND

NO_PICTURE = np.full((128, 64, 3), GROUND, np.uint8)
ROW_COLUMNS = ("crop", "rank", "distance")
TRUTH_COLUMNS = ("pid", "camera")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a ranking; `mark` says in a word what it is to its query, "" where there is nothing to say."""

    crop: str
    rank: int
    distance: float
    pid: int | None
    camera: str | None
    mark: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A query of a ranking (its `number` there) with rows, nearest first; `crop` is the stored crop that shows it, or
    `image` a JPEG.
    """

    number: int
    name: str
    pid: int | None
    camera: str | None
    crop: str | None
    image: bytes | None
    rows: tuple[Row, ...]


def strips(
    context: PageContext, one: ScoredRanking, queries: Sequence[int], protocol: Protocol, *, first: int = 0, most: int
) -> list[Strip]:
    """Return queries of a ranking by number, each with `most` of its rows after the first `first`."""
    ranking, judged = one.ranking, one.judged
    spans = [(int(judged.starts[query]) + first, int(judged.starts[query + 1])) for query in queries]
    numbers = [list(range(start, min(end, start + most))) for start, end in spans]
    columns = (*ROW_COLUMNS, *(TRUTH_COLUMNS if ranking.queries_path else ()))
    wanted = sorted({number for some in numbers for number in some})
    found = dict(zip(wanted, context.store.rankings.rows(ranking, wanted, columns), strict=True))
    asked = sorted(set(queries))
    shown = dict(zip(asked, context.store.rankings.queries(ranking, asked, ["crop", "image"]), strict=False))
    made = []
    for query, some in zip(queries, numbers, strict=True):
        name = judged.names[query].as_py()
        # A ranking that does not list its queries has the names of crops, or of tracklets.
        facts = shown.get(query, {"crop": name if CROP.fullmatch(name) else None, "image": None})
        camid, pid = int(judged.camids[query]), int(judged.pids[query])
        made.append(
            Strip(
                number=query,
                name=name,
                pid=None if pid == UNKNOWN_PID else pid,
                camera=None if camid == UNKNOWN_CAMERA else judged.cameras[camid],
                crop=facts["crop"],
                image=facts["image"],
                rows=_marked(pid, camid, [found[number] for number in some], judged.cameras, protocol),
            )
        )
    return made


def _marked(
    pid: int, camid: int, rows: Sequence[dict[str, Any]], cameras: Sequence[str], protocol: Protocol
) -> tuple[Row, ...]:
    place = {name: number for number, name in enumerate(cameras)}
    none = np.empty(0, np.int64)
    pids = [row.get("pid") for row in rows]
    told = row_relations(
        TruncatedRows(
            pids=np.array([pid]),
            camids=np.array([camid]),
            own=np.zeros(1, np.int64),
            starts=np.array([0, len(rows)]),
            row_pids=np.array([UNKNOWN_PID if one is None else one for one in pids], np.int64),
            row_camids=np.array([place.get(row.get("camera") or "", UNKNOWN_CAMERA) for row in rows], np.int64),
            match_query=none,
            match_camid=none,
            match_count=none,
        ),
        protocol,
    )
    return tuple(
        Row(
            crop=row["crop"],
            rank=row["rank"],
            distance=row["distance"],
            pid=row.get("pid"),
            camera=row.get("camera"),
            mark=mark,
            tone=tone,
        )
        for row, (mark, tone) in zip(rows, (mark_of(int(code), pid, protocol) for code in told), strict=True)
    )


def mark_of(relation: int, pid: int, protocol: Protocol) -> tuple[str, Tone]:
    """Say in a word and a tone what a row is to its query with the identity `pid`."""
    if relation in (TRUE_MATCH, FALSE_MATCH):
        return ("Right", "right") if relation == TRUE_MATCH else ("Wrong", "wrong")
    if relation == NOT_COMPARED:
        return ("Same camera" if protocol == "cross-camera" else "Other camera"), "plain"
    # Of a query that nobody knows nothing is known of any row: then it goes without saying.
    return ("Unknown", "unsure") if pid > 0 else ("", "")


def images(context: PageContext, ranking: SavedRanking, made: Sequence[Strip]) -> dict[str, Image]:
    """Return the pictures of all crops in strips that the archive still has, by id."""
    ids = dict.fromkeys(row.crop for strip in made for row in strip.rows)
    ids |= dict.fromkeys(strip.crop for strip in made if strip.crop)
    counts = context.store.models.crop_counts()
    if not counts:
        return {}
    model = ranking.model if ranking.model in counts else resolve_review_model(context.store).digest
    return _there(context, list(ids), model)


def picture(context: PageContext, strip: Strip, found: Mapping[str, Image]) -> Image:
    """Return the picture of a query, grey where there is none any more."""
    if strip.crop:
        return found.get(strip.crop, NO_PICTURE)
    if strip.image is None:
        return NO_PICTURE
    try:
        return hide_upload(context, decode_image(strip.image))
    except BadInput:
        return NO_PICTURE


def _there(context: PageContext, ids: list[str], model: str) -> dict[str, Image]:
    """The pictures of those crops that the store still shows."""
    if not ids:
        return {}
    try:
        return load_crops(context, ids, model=model)
    except StoreError:
        half = len(ids) // 2
        return {} if not half else _there(context, ids[:half], model) | _there(context, ids[half:], model)
