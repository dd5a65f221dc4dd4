"""What a version of labels teaches: people, their crops, and what was agreed on about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappush, heapreplace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.promotion.splits import identity_key, is_test
from vestigo.review.estimates.annotator_error import answer_error
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.store.open import Store
from vestigo_models.schemas.attributes import AttributeSchema

CROPS_A_TASK = 8
"""The best of a task; more of the same teach little."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What is known of one task's crops.

    Attributes:
        who: the person, as `vestigo.promotion.splits.identity_key` names people.
        camera, source, pid: of the crops.
        crops: their ids, the best first.
        labels: (n,) int64, -1 where nothing was agreed on or nobody could tell.
        noise: how often one of the labels is wrong.
    """

    who: str
    camera: str
    source: str
    pid: int | None
    crops: tuple[str, ...]
    labels: NDArray[np.int64]
    noise: float


def read_lessons(rows: Iterable[Mapping[str, Any]], schema: AttributeSchema, error_rate: float) -> list[Lesson]:
    """Put label rows (columns of `store.schema.LABELS`) together by task, those of one task in one lesson.

    error_rate: how often one reviewer is wrong.
    """
    lessons: dict[tuple[str, str], Lesson] = {}
    for row in rows:
        key = (row["project"], row["task"])
        if key not in lessons:
            # Of two who agreed it takes two mistakes of one kind.
            margin = np.array([min(2, max(1, len(row["reviewers"])))])
            lessons[key] = Lesson(
                who=identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crops"][0]),
                camera=row["camera"],
                source=row["source"],
                pid=row["pid"],
                crops=tuple(row["crops"][:CROPS_A_TASK]),
                labels=np.full(len(schema), -1, dtype=np.int64),
                noise=float(answer_error(error_rate, margin, 2)[0]),
            )
        if row["value"] != CANNOT_TELL:
            name = row["attribute"]
            lessons[key].labels[schema.index(name)] = schema[name].values.index(row["value"])
    return [lesson for lesson in lessons.values() if (lesson.labels >= 0).any()]


def replayed_crops(store: Store, model: str, taught: Iterable[Lesson], count: int) -> list[tuple[str, str]]:
    """Crops of a model (digest) to be replayed, with their people: `count` of those who are neither taught nor tested.

    They are chosen by a hash of their ids, so that they are the same ones every time; memory is that of the answer.
    """
    known = {lesson.who for lesson in taught}
    best: list[tuple[int, str, str]] = []
    for batch in store.crops.scan(("crop_id", "pid", "tracklet"), model=model):
        for crop, who in _people(batch):
            if is_test(who) or who in known:
                continue
            rank = -int(hashlib.sha256(f"replay {crop}".encode()).hexdigest()[:12], 16)
            if len(best) < count:
                heappush(best, (rank, crop, who))
            elif best and rank > best[0][0]:
                heapreplace(best, (rank, crop, who))
    return [(crop, who) for _, crop, who in sorted(best, reverse=True)]


def _people(batch: pa.RecordBatch) -> Iterable[tuple[str, str]]:
    for row in batch.to_pylist():
        yield row["crop_id"], identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crop_id"])
