"""Who can be picked from the archive: one picture for each tracklet, and one for each still crop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import pyarrow as pa

COLUMNS = ("crop_id", "camera", "tracklet", "quality", "time", "offset_s")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A person to pick: `crop` is the best of the `crops` of one tracklet, or a still crop on its own.

    `time` (UTC) and `offset_s` (seconds from the start of the video) are those of the picture; None where unknown.
    """

    crop: str
    camera: str
    time: datetime | None
    offset_s: float | None
    crops: int


def candidates(batches: Iterable[pa.RecordBatch], limit: int) -> tuple[list[Candidate], bool]:
    """Fold crops (`COLUMNS`) into at most `limit` candidates, in order of camera and time; memory is `limit` rows.

    Returns them, and whether there are more.
    """
    best: dict[str, tuple[float, Candidate]] = {}
    more = False
    for batch in batches:
        for row in batch.to_pylist():
            key = row["tracklet"] or row["crop_id"]
            quality, held = best.get(key, (float("-inf"), None))
            if held is None and len(best) >= limit:
                more = True
                continue
            seen = 1 if held is None else held.crops + 1
            if held is None or row["quality"] > quality:
                held = _candidate(row, seen)
                best[key] = (row["quality"], held)
            else:
                best[key] = (quality, _again(held, seen))
    return sorted((candidate for _, candidate in best.values()), key=_order), more


def page_of(items: Sequence[Item], page: int, size: int) -> tuple[Sequence[Item], int, int]:
    """Return the items of a page (counted from 0), its number put within bounds, and how many pages there are."""
    pages = max(1, -(-len(items) // size))
    page = min(max(page, 0), pages - 1)
    return items[page * size : (page + 1) * size], page, pages


def _candidate(row: dict[str, object], crops: int) -> Candidate:
    return Candidate(
        crop=str(row["crop_id"]),
        camera=str(row["camera"]),
        time=row["time"],  # type: ignore[arg-type]
        offset_s=row["offset_s"],  # type: ignore[arg-type]
        crops=crops,
    )


def _again(held: Candidate, crops: int) -> Candidate:
    return Candidate(crop=held.crop, camera=held.camera, time=held.time, offset_s=held.offset_s, crops=crops)


def _order(candidate: Candidate) -> tuple[str, float, float, str]:
    time = candidate.time.timestamp() if candidate.time is not None else 0.0
    return candidate.camera, time, candidate.offset_s or 0.0, candidate.crop
