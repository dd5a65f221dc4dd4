"""Export of crops in the Market-1501 folder layout."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from vestigo.csv_files import csv_writer
from vestigo.store.crops.reader import CropReader
from vestigo_models.errors import StoreError
from vestigo_models.private_files import create_private
from vestigo_models.progress import ProgressCallback

FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
MAPPING = "crops.csv"
BATCH_ROWS = 500
Identity = int | tuple[str, str]
"""Identity of the dataset, or source and tracklet."""
_IDENTITY_COLUMNS = ("crop_id", "pid", "tracklet", "camera", "source", "input", "frame")
_TABLE_COLUMNS = (*_IDENTITY_COLUMNS, "time", "quality")


@dataclass(frozen=True)
class ExportReport:
    """Numbers of an export; `left_out` crops have neither an identity nor a tracklet."""

    crops: int
    identities: int
    queries: int
    left_out: int


def export_market(
    reader: CropReader, out: Path, progress: ProgressCallback, before: Callable[[], None] = lambda: None
) -> ExportReport:
    """Write crops as `PPPP_cCsS_FFFFFF_II.jpg` and a table `crops.csv` of their columns.

    PPPP is the identity of the dataset, or a number for each tracklet without one; C numbers the cameras by name; S is
    1; FFFFFF is the frame (0 for stills); II counts the crops of an identity and camera. The crop of best quality of
    each identity and camera with several crops is a query, the others are the gallery; the training split is empty.
    Crops without identity and tracklet are skipped. Memory grows with the identities, not with the crops. `before` is
    called before anything is written, `progress` with the numbers of written and of all crops.

    Raises:
        StoreError: If `out` is not an empty or new folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not an empty folder: name a new one")
    survey = _survey(reader)
    names = sorted({camera for _, camera in survey.counts})
    cameras = {name: number for number, name in enumerate(names, start=1)}
    before()
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True)
    total = survey.counts.total()
    counts: Counter[tuple[int, str]] = Counter()
    with csv_writer(out / MAPPING, ("file", *_TABLE_COLUMNS)) as table:
        for batch in reader.scan((*_TABLE_COLUMNS, "image"), BATCH_ROWS):
            for row in batch.to_pylist():
                if (identity := _identity(row)) is None:
                    continue
                pid = survey.numbers[identity]
                folder = "query" if row["crop_id"] in survey.queries else "bounding_box_test"
                key = (pid, row["camera"])
                name = f"{folder}/{_name(pid, cameras[row['camera']], row['frame'], counts[key])}"
                counts[key] += 1
                with create_private(out / name) as file:
                    file.write(row["image"])
                table.write({"file": name, **row})
            progress(counts.total(), total)
    return ExportReport(
        crops=total, identities=len(survey.numbers), queries=len(survey.queries), left_out=survey.left_out
    )


def person_numbers(reader: CropReader, ids: Collection[str]) -> dict[str, int]:
    """Return the identity numbers of `export_market` by crop id; crops without an identity are skipped."""
    numbers, selected = _survey(reader).numbers, set(ids)
    return {
        row["crop_id"]: numbers[identity]
        for batch in reader.scan(_IDENTITY_COLUMNS, BATCH_ROWS)
        for row in batch.to_pylist()
        if row["crop_id"] in selected and (identity := _identity(row)) is not None
    }


class _Survey(NamedTuple):
    """Numbers by identity, crops by identity and camera, ids of the queries, and number of crops without identity."""

    numbers: dict[Identity, int]
    counts: Counter[tuple[Identity, str]]
    queries: set[str]
    left_out: int


def _survey(reader: CropReader) -> _Survey:
    best: dict[tuple[Identity, str], tuple[float, str]] = {}
    counts: Counter[tuple[Identity, str]] = Counter()
    left_out = 0
    for batch in reader.scan((*_IDENTITY_COLUMNS, "quality"), BATCH_ROWS):
        for row in batch.to_pylist():
            if (identity := _identity(row)) is None:
                left_out += 1
                continue
            key = (identity, row["camera"])
            counts[key] += 1
            best[key] = max(best.get(key, (-1.0, "")), (row["quality"], row["crop_id"]))
    pids = {identity for identity, _ in counts if isinstance(identity, int)}
    tracklets = dict.fromkeys(identity for identity, _ in counts if isinstance(identity, tuple))
    free = count(max(1, max(pids, default=0) + 1))
    numbers = {pid: pid for pid in pids} | dict(zip(tracklets, free, strict=False))
    # In Market-1501, -1 is junk and 0 a distractor: neither can be a query.
    queries = {crop for key, (_, crop) in best.items() if counts[key] > 1 and numbers[key[0]] > 0}
    return _Survey(numbers, counts, queries, left_out)


def _identity(row: dict[str, Any]) -> Identity | None:
    """Return the identity of the dataset, else source and tracklet, None for a crop that has neither."""
    if row["pid"] is not None:
        return int(row["pid"])
    return (row["source"], row["tracklet"]) if row["tracklet"] else None


def _name(pid: int, camera: int, frame: int, number: int) -> str:
    identity = "-1" if pid < 0 else f"{pid:04d}"
    return f"{identity}_c{camera}s1_{max(frame, 0):06d}_{number:02d}.jpg"
