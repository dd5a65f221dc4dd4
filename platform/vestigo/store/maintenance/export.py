"""Crops out of the store in the Market-1501 folder layout, for every tool that reads it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestigo.store.crops.reader import CropReader
from vestigo.store.crops.visible import Span
from vestigo_models.errors import StoreError

FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
MAPPING = "crops.csv"
BATCH_ROWS = 500
_WHO = ("crop_id", "pid", "tracklet", "camera", "source", "input", "frame")
_FACTS = (*_WHO, "time", "quality")


@dataclass(frozen=True)
class ExportReport:
    """What was exported; `left_out` crops belong to no known person or tracklet."""

    crops: int
    identities: int
    queries: int
    left_out: int


def export_market(reader: CropReader, span: Span, out: Path, progress: Callable[[int, int], None]) -> ExportReport:
    """Write crops as `PPPP_cCsS_FFFFFF_II.jpg` below `out`, and beside them the table that says what they were.

    PPPP is the dataset's label, or a number of its own for each tracklet without one; C counts the cameras in order
    of their names, S is 1, FFFFFF is the frame (0 for still images), II counts the crops of one person and camera.
    The best crop (by quality) of each person and camera that has several is a query, the others are the gallery;
    nothing goes into the training split. Crops that belong to no known person are left out. Memory grows with the
    persons, not with the crops.

    Raises StoreError where `out` is not an empty or new folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not an empty folder: name a new one")
    people, queries, left_out = _survey(reader, span)
    cameras = {name: number for number, name in enumerate(sorted({camera for _, camera in people.counts}), start=1)}
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True)
    numbers: Counter[tuple[int, str]] = Counter()
    written = 0
    with ExitStack() as stack:
        stream = stack.enter_context((out / MAPPING).open("w", encoding="utf-8", newline=""))
        table = csv.writer(stream)
        table.writerow(("file", *_FACTS))
        for batch in reader.scan((*_FACTS, "image"), span, BATCH_ROWS):
            for row in batch.to_pylist():
                pid = people.number(row)
                if pid is None:
                    continue
                key = (pid, row["camera"])
                folder = "query" if row["crop_id"] in queries else "bounding_box_test"
                name = f"{folder}/{_name(pid, cameras[row['camera']], row['frame'], numbers[key])}"
                numbers[key] += 1
                (out / name).write_bytes(row["image"])
                table.writerow((name, *(row[column] for column in _FACTS)))
                written += 1
            progress(written, people.counts.total())
    return ExportReport(
        crops=written, identities=len({pid for pid, _ in people.counts}), queries=len(queries), left_out=left_out
    )


def person_numbers(reader: CropReader, ids: Collection[str]) -> dict[str, int]:
    """Return the numbers of the persons of crops, as `export_market` gives them; those of nobody known are left out."""
    people = _survey(reader, Span())[0]
    wanted, found = set(ids), {}
    for batch in reader.scan(_WHO, Span(), BATCH_ROWS):
        for row in batch.to_pylist():
            if row["crop_id"] in wanted and (number := people.number(row)) is not None:
                found[row["crop_id"]] = number
    return found


class _People:
    """Numbers for persons: the dataset's labels, and further numbers for tracklets without one."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()
        self.tracklets: dict[tuple[str, str], int] = {}
        self.first_free = 1

    def number(self, row: dict[str, Any]) -> int | None:
        """Return the number of a crop's person, None where nobody knows."""
        if row["pid"] is not None:
            return int(row["pid"])
        tracklet = self.tracklets.get((row["source"], row["tracklet"]))
        return None if tracklet is None else self.first_free + tracklet


def _survey(reader: CropReader, span: Span) -> tuple[_People, set[str], int]:
    people = _People()
    best: dict[tuple[int | tuple[str, str], str], tuple[float, str]] = {}
    counts: Counter[tuple[int | tuple[str, str], str]] = Counter()
    left_out = 0
    for batch in reader.scan((*_WHO, "quality"), span, BATCH_ROWS):
        for row in batch.to_pylist():
            if row["pid"] is None and not row["tracklet"]:
                left_out += 1
                continue
            person: int | tuple[str, str] = row["pid"]
            if row["pid"] is None:
                person = (row["source"], row["tracklet"])
                people.tracklets.setdefault(person, len(people.tracklets))
            else:
                people.first_free = max(people.first_free, row["pid"] + 1)
            key = (person, row["camera"])
            counts[key] += 1
            best[key] = max(best.get(key, (-1.0, "")), (row["quality"], row["crop_id"]))
    for (person, camera), count in counts.items():
        number = person if isinstance(person, int) else people.first_free + people.tracklets[person]
        people.counts[number, camera] += count
    # Market-1501 calls what shows nobody -1 and people who are never asked for 0: they cannot be queries.
    queries = {
        crop
        for (person, camera), (_, crop) in best.items()
        if counts[person, camera] > 1 and not (isinstance(person, int) and person <= 0)
    }
    return people, queries, left_out


def _name(pid: int, camera: int, frame: int, number: int) -> str:
    person = "-1" if pid < 0 else f"{pid:04d}"
    return f"{person}_c{camera}s1_{max(frame, 0):06d}_{number:02d}.jpg"
