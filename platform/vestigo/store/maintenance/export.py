"""Export of crops in the Market-1501 folder layout."""

from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vestigo.csv_files import csv_writer
from vestigo.store.crops.reader import CropReader
from vestigo_models.errors import StoreError
from vestigo_models.private_files import create_private
from vestigo_models.progress import ProgressCallback

FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
MAPPING = "crops.csv"
BATCH_ROWS = 500
_IDENTITY_COLUMNS = ("crop_id", "pid", "tracklet", "camera", "source", "input", "frame")
_TABLE_COLUMNS = (*_IDENTITY_COLUMNS, "time", "quality")


@dataclass(frozen=True)
class ExportReport:
    """Numbers of an export; `left_out` crops have neither an identity nor a tracklet."""

    crops: int
    identities: int
    queries: int
    left_out: int


def export_market(reader: CropReader, out: Path, progress: ProgressCallback) -> ExportReport:
    """Write crops as `PPPP_cCsS_FFFFFF_II.jpg` and a table `crops.csv` of their columns.

    PPPP is the identity of the dataset, or a number for each tracklet without one; C numbers the cameras by name; S is
    1; FFFFFF is the frame (0 for stills); II counts the crops of an identity and camera. The crop of best quality of
    each identity and camera with several crops is a query, the others are the gallery; the training split is empty.
    Crops without identity and tracklet are skipped. Memory grows with the identities, not with the crops. `progress` is
    called with the numbers of written and of all crops.

    Raises:
        StoreError: If `out` is not an empty or new folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not an empty folder: name a new one")
    identities, queries, left_out = _survey(reader)
    cameras = {name: number for number, name in enumerate(sorted({camera for _, camera in identities.counts}), start=1)}
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True)
    numbers: Counter[tuple[int, str]] = Counter()
    written = 0
    with ExitStack() as stack:
        table = stack.enter_context(csv_writer(out / MAPPING, ("file", *_TABLE_COLUMNS)))
        for batch in reader.scan((*_TABLE_COLUMNS, "image"), BATCH_ROWS):
            for row in batch.to_pylist():
                pid = identities.number(row)
                if pid is None:
                    continue
                key = (pid, row["camera"])
                folder = "query" if row["crop_id"] in queries else "bounding_box_test"
                name = f"{folder}/{_name(pid, cameras[row['camera']], row['frame'], numbers[key])}"
                numbers[key] += 1
                with create_private(out / name) as file:
                    file.write(row["image"])
                table.write({"file": name, **row})
                written += 1
            progress(written, identities.counts.total())
    return ExportReport(
        crops=written, identities=len({pid for pid, _ in identities.counts}), queries=len(queries), left_out=left_out
    )


def person_numbers(reader: CropReader, ids: Collection[str]) -> dict[str, int]:
    """Return the identity numbers of `export_market` by crop id; crops without an identity are skipped."""
    identities, selected = _survey(reader)[0], set(ids)
    return {
        row["crop_id"]: number
        for batch in reader.scan(_IDENTITY_COLUMNS, BATCH_ROWS)
        for row in batch.to_pylist()
        if row["crop_id"] in selected and (number := identities.number(row)) is not None
    }


@dataclass
class _Identities:
    """Numbers of identities: those of the dataset, and further numbers for tracklets without one."""

    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    tracklets: dict[tuple[str, str], int] = field(default_factory=dict)
    first_free: int = 1

    def number(self, row: dict[str, Any]) -> int | None:
        """Return the identity number of a crop, None if it has neither identity nor tracklet."""
        if row["pid"] is not None:
            return int(row["pid"])
        tracklet = self.tracklets.get((row["source"], row["tracklet"]))
        return None if tracklet is None else self.first_free + tracklet


def _survey(reader: CropReader) -> tuple[_Identities, set[str], int]:
    """Return the identities, the ids of the queries, and the number of crops that are skipped."""
    identities = _Identities()
    best: dict[tuple[int | tuple[str, str], str], tuple[float, str]] = {}
    counts: Counter[tuple[int | tuple[str, str], str]] = Counter()
    left_out = 0
    for batch in reader.scan((*_IDENTITY_COLUMNS, "quality"), BATCH_ROWS):
        for row in batch.to_pylist():
            if row["pid"] is None and not row["tracklet"]:
                left_out += 1
                continue
            identity: int | tuple[str, str] = row["pid"]
            if row["pid"] is None:
                identity = (row["source"], row["tracklet"])
                identities.tracklets.setdefault(identity, len(identities.tracklets))
            else:
                identities.first_free = max(identities.first_free, row["pid"] + 1)
            key = (identity, row["camera"])
            counts[key] += 1
            best[key] = max(best.get(key, (-1.0, "")), (row["quality"], row["crop_id"]))
    for (identity, camera), count in counts.items():
        number = identity if isinstance(identity, int) else identities.first_free + identities.tracklets[identity]
        identities.counts[number, camera] += count
    # In Market-1501, -1 is junk and 0 a distractor: neither can be a query.
    queries = {
        crop
        for (identity, camera), (_, crop) in best.items()
        if counts[identity, camera] > 1 and not (isinstance(identity, int) and identity <= 0)
    }
    return identities, queries, left_out


def _name(pid: int, camera: int, frame: int, number: int) -> str:
    identity = "-1" if pid < 0 else f"{pid:04d}"
    return f"{identity}_c{camera}s1_{max(frame, 0):06d}_{number:02d}.jpg"
