"""Export of tracklets in the text form of the MOT Challenge (Leal-Taixé et al., arXiv:1504.01942)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.parquet.files import DataRoot, FileKind
from vestigo.store.runs.rows import has_retired_slice, visible_files
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow, ShardRow
from vestigo_models.errors import StoreError
from vestigo_models.private_files import create_private
from vestigo_models.progress import ProgressCallback

COLUMNS = ("tracklet", "frame", "x", "y", "w", "h", "score")


@dataclass(frozen=True, kw_only=True)
class MotFile:
    """A written file; `video` is its name inside `source`."""

    file: str
    source: str
    video: str
    camera: str
    tracklets: int
    rows: int


class _Video(NamedTuple):
    source: str
    name: str
    camera: str
    path: str | None  # File of its detections, None without any


def export_mot(
    database: Database,
    root: DataRoot,
    out: Path,
    *,
    cameras: Collection[str] | None = None,
    before: Callable[[], None],
    progress: ProgressCallback,
) -> list[MotFile]:
    """Write one `VIDEO.txt` for each indexed video, with every sampled detection that belongs to a tracklet.

    A row is `frame, id, left, top, width, height, score, -1, -1, -1`: frames from 1 in the order of decoding, ids from
    1 in the order of first frames, boxes in pixels of the frame. Rows are in order of frame and id. VIDEO is the name
    of the file without its ending; with its folders, and its ending or a number, where names would be equal. A video
    without people has an empty file. Memory is the rows of one video. `before` is called before anything is written,
    `progress` with the numbers of written and of all videos.

    Raises:
        StoreError: If `out` is not an empty or new folder, there is no video, or a video was indexed by a version that
            did not keep these detections.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not an empty folder: name a new one")
    videos = [video for video in database.fetch(_videos) if cameras is None or video.camera in cameras]
    if not videos:
        raise StoreError("the store holds no video of these cameras" if cameras else "the store holds no video")
    before()
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for done, (video, name) in enumerate(zip(videos, _file_names(videos), strict=True), start=1):
        rows = [] if video.path is None else [row for batch in root.read(video.path, COLUMNS) for row in _rows(batch)]
        tracklets = list(dict.fromkeys(tracklet for _, tracklet, _ in sorted(rows)))
        numbers = {tracklet: number for number, tracklet in enumerate(tracklets, start=1)}
        with create_private(out / name, "w") as file:
            for frame, number, values in sorted((frame, numbers[name], values) for frame, name, values in rows):
                file.write(f"{frame + 1},{number},{values},-1,-1,-1\n")
        files.append(
            MotFile(
                file=name,
                source=video.source,
                video=video.name,
                camera=video.camera,
                tracklets=len(numbers),
                rows=len(rows),
            )
        )
        progress(done, len(videos))
    return files


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[int, str, str]]:
    """Yield frame, tracklet, and the text of box and score of each detection that a tracklet holds."""
    for tracklet, frame, *box, score in zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True):
        if tracklet:
            yield frame, tracklet, ",".join([*(f"{value:.2f}" for value in box), f"{score:.4f}"])


def _videos(session: Session) -> list[_Video]:
    """Return the videos whose tracklets are visible, by source in the order of indexing."""
    detections, tracklets = _paths(session, "detections"), _paths(session, "tracklets")
    query = (
        select(ShardRow.id, ShardRow.source, ShardRow.spec)
        .join(RunRow, RunRow.id == ShardRow.run_id)
        .where(ShardRow.kind == "assembly", ShardRow.state == "done", ~has_retired_slice(ShardRow))
        # Until a run that replaces others succeeds, the videos are those of the others.
        .where(~RunRow.replaces | (RunRow.status == "succeeded"))
        .order_by(ShardRow.source, ShardRow.run_id, ShardRow.position)
    )
    videos = []
    for shard, source, spec in session.execute(query):
        video = spec["shard"]["video"]
        if shard in tracklets and shard not in detections:
            raise StoreError(
                f"{video['name']} was indexed by an earlier version, which kept only the best crops of a tracklet: "
                "index it into a new store"
            )
        videos.append(_Video(source, video["name"], video["camera"], detections.get(shard)))
    return videos


def _paths(session: Session, kind: FileKind) -> dict[int | None, str]:
    """Return the paths of the visible files of a kind by shard."""
    rows = session.execute(visible_files(kind, DataFileRow.shard_id, DataFileRow.path))
    return {row.shard_id: row.path for row in rows}


def _file_names(videos: Sequence[_Video]) -> list[str]:
    """Return a name for each video, without folders and all different."""
    paths = [PurePosixPath(video.name) for video in videos]
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        whole = "_".join(path.parts)
        short = [path.stem] if stems[path.stem] == 1 else []
        choices = chain(short, ["_".join(path.with_suffix("").parts), whole], (f"{whole}-{n}" for n in count(2)))
        names[next(name for name in choices if name not in names)] = None
    return [f"{name}.txt" for name in names]
