"""Strips of a ranking: a query with its nearest rows and their relation to it."""

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
from vestigo_models.arrays import Int64Array
from vestigo_models.errors import BadInput, StoreError
from vestigo_models.inference.images import decode_image
from vestigo_ui.app.components.contact_sheet import Tone
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, hide_upload, load_crops
from vestigo_ui.app.pages.find.form import CROP
from vestigo_ui.app.pages.rankings.scores import OpenRanking
from vestigo_ui.app.text import GROUND

NO_IMAGE = np.full((128, 64, 3), GROUND, np.uint8)
ROW_COLUMNS = ("crop", "rank", "distance")
TRUTH_COLUMNS = ("pid", "camera")


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
    """A query with some of its rows, the nearest first.

    Attributes:
        opened: The ranking.
        number: Number of the query.
        name: Name of the query.
        pid: Its identity, None if unknown.
        camera: Its camera, None if unknown.
        crop: Stored crop of the query, None if there is none.
        image: JPEG of the query, if it has no stored crop.
        rows: The rows.
        gain: Gain over the first of two rankings, NaN if unknown.
        is_second: Whether the ranking is the second of two.
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
            pid=None if pid == UNKNOWN_PID else pid,
            camera=None if camid == UNKNOWN_CAMERA else scores.cameras[camid],
            crop=source["crop"],
            image=source["image"],
            rows=_mark_rows(opened, pid, camid, [rows[number] for number in span]),
        )
        strips.append(strip)
    return strips


def _mark_rows(opened: OpenRanking, pid: int, camid: int, rows: Sequence[dict[str, Any]]) -> tuple[StripRow, ...]:
    marks = [mark_of(int(code), pid, opened.protocol) for code in _relations(opened, pid, camid, rows)]
    return tuple(StripRow(**row, mark=mark, tone=tone) for row, (mark, tone) in zip(rows, marks, strict=True))


def _relations(opened: OpenRanking, pid: int, camid: int, rows: Sequence[dict[str, Any]]) -> Int64Array:
    place = {name: number for number, name in enumerate(opened.scores.cameras)}
    none = np.empty(0, np.int64)
    truncated = TruncatedRows(
        pids=np.array([pid]),
        camids=np.array([camid]),
        own=np.zeros(1, np.int64),
        starts=np.array([0, len(rows)]),
        row_pids=np.array([UNKNOWN_PID if row.get("pid") is None else row["pid"] for row in rows], np.int64),
        row_camids=np.array([place.get(row.get("camera") or "", UNKNOWN_CAMERA) for row in rows], np.int64),
        match_query=none,
        match_camid=none,
        match_count=none,
    )
    return np.asarray(row_relations(truncated, opened.protocol), np.int64)


def mark_of(relation: int, pid: int, protocol: Protocol) -> tuple[str, Tone]:
    """Return the mark and tone of a row with a relation to its query of the identity `pid`."""
    if relation in (TRUE_MATCH, FALSE_MATCH):
        return ("True match", "right") if relation == TRUE_MATCH else ("False match", "wrong")
    if relation == NOT_COMPARED:
        return ("Same camera" if protocol == "cross-camera" else "Other camera"), "plain"
    # If the query's identity is unknown, so is every relation, which needs no mark.
    return ("Unknown", "unsure") if pid > 0 else ("", "")


def load_images(context: PageContext, strips: Sequence[RankingStrip]) -> dict[str, Image]:
    """Return the images of all crops of strips that are still in the store, by id."""
    ids = list(dict.fromkeys(row.crop for strip in strips for row in strip.rows))
    ids += [strip.crop for strip in strips if strip.crop and strip.crop not in ids]
    counts = context.store.models.crop_counts()
    if not counts or not strips:
        return {}
    model = strips[0].opened.ranking.model
    return _load_existing(context, ids, model if model in counts else resolve_review_model(context.store).digest)


def query_image(context: PageContext, strip: RankingStrip, images: Mapping[str, Image]) -> Image:
    """Return the image of a query, a grey one if it has none any more."""
    if strip.crop:
        return images.get(strip.crop, NO_IMAGE)
    try:
        return NO_IMAGE if strip.image is None else hide_upload(context, decode_image(strip.image))
    except BadInput:
        return NO_IMAGE


def _load_existing(context: PageContext, ids: list[str], model: str) -> dict[str, Image]:
    if not ids:
        return {}
    try:
        return load_crops(context, ids, model=model)
    except StoreError:
        half = len(ids) // 2
        if not half:
            return {}
        return _load_existing(context, ids[:half], model) | _load_existing(context, ids[half:], model)
