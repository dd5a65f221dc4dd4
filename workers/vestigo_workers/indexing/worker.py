"""The worker that turns shards of an archive into files of crops, detections and tracklets."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import chain, islice, starmap
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.ingest.crops import MAX_CROP_HEIGHT, CropCandidate, crop_id, detect_still
from vestigo.ingest.decoding import decode_frames, decode_images
from vestigo.ingest.inputs import ImageInput
from vestigo.ingest.shards import AssemblyShard, ImageShard, SliceShard, shard_from_json
from vestigo.ingest.video.assembly import assemble_tracklets
from vestigo.ingest.video.decode import FrameReader
from vestigo.ingest.video.slices import process_slice
from vestigo.store.faults import fault_point
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.parquet.files import DataRoot, FileKind, WrittenFile
from vestigo.store.parquet.schemas import EMBEDDING, SINCE_2, crop_schema
from vestigo.store.runs.records import InputFailure, InputOutcome, InputState, ShardTask
from vestigo_models.arrays import BoolArray
from vestigo_models.detection.registry import AUTO, active_detector, is_crop_size
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput, ModelError, WorkError, first_line
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg, shrink
from vestigo_models.inference.package import ModelPackage
from vestigo_models.tracking.appearance import appearance_embed
from vestigo_models.tracking.quality import crop_quality, dhash
from vestigo_workers.executors.base import ShardResult
from vestigo_workers.indexing.request import IndexRequest

GPU_DECODERS = 2
"""Processes that decode ahead of a GPU."""
NOT_FINITE = "numbers that are not finite (NaN or infinity)"
CropRow = dict[str, Any]
"""Columns of a crop row except those that a model computes.

`image` is RGB uint8 (height, width, 3); `encoded` is the crop's own JPEG bytes if the archive holds them, else None.
"""
CANDIDATE_COLUMNS = (
    "crop_id", "frame", "offset_s", "frame_width", "frame_height", "score", "quality", "dhash", "image",
)  # fmt: skip


class ExtractionWorker:
    """Loads model and detector once and processes whole shards of an indexing run.

    Args:
        data: URI of the store's data root.
        request: Settings of the run; `model` is a folder and `detector` is resolved for the sources.
    """

    def __init__(self, data: str, request: IndexRequest) -> None:
        cv2.setNumThreads(1)
        self._files = ShardFiles(data)
        package = ModelPackage.from_pretrained(request.model)
        device = resolve_device(request.device)
        self._extractor = Extractor(package, device=device, batch_size=request.batch_size)
        self._detector = active_detector(request.detector, device)
        self._appearance = cache(partial(appearance_embed, device))
        self._accepts_crops = request.detector == AUTO
        default = 1 if device == "cpu" else GPU_DECODERS
        self._decoders = max(1, default if request.decode_threads is None else request.decode_threads)
        # The first batch selects its kernels, which takes a second; a worker that is ready has done so.
        sample = np.full((*package.config.input_size, 3), 128, dtype=np.uint8)
        if not self._extractor.extract([sample]).are_finite().all():
            raise ModelError(f"model {package.name} computes {NOT_FINITE}: export or train it again")
        self._not_finite = BadInput("not-finite", f"model {package.name} computes {NOT_FINITE}")

    def process(self, task: ShardTask) -> ShardResult:
        """Process one shard; unreadable inputs and frames are outcomes, never exceptions."""
        if "problems" in task.spec:
            return ShardResult(outcomes=tuple(starmap(_unread_outcome, enumerate(task.spec["problems"]))))
        shard = shard_from_json(task.spec["shard"])
        if isinstance(shard, ImageShard):
            return self._process_images(task, shard)
        if isinstance(shard, SliceShard):
            return self._process_slice(task, shard)
        return self._process_assembly(task, shard)

    def _process_images(self, task: ShardTask, shard: ImageShard) -> ShardResult:
        outcomes: list[InputOutcome] = []

        def rows() -> Iterator[CropRow]:
            images = decode_images(shard.inputs, self._decoders)
            for position, (item, decoded) in enumerate(zip(shard.inputs, images, strict=True)):
                if isinstance(decoded, BadInput):
                    outcomes.append(quarantined_outcome(position, decoded))
                    continue
                image, encoded = decoded
                candidates = self.candidates(item, image)
                outcomes.append(_processed(position, len(candidates)))
                start = datetime.fromisoformat(item.time) if item.time else None
                for candidate in candidates:
                    is_whole = candidate.image.shape == image.shape
                    source_bytes = encoded if is_whole else None
                    yield crop_row(task.source, item.name, item.camera, start, candidate, item.pid, source_bytes)

        table, is_finite = self._embed(rows())
        failed = {table["input"][int(row)].as_py() for row in np.flatnonzero(~is_finite)}
        if failed:
            table = table.filter(pc.invert(pc.is_in(table["input"], pa.array(sorted(failed)))))
            outcomes = [
                quarantined_outcome(outcome.position, self._not_finite)
                if shard.inputs[outcome.position].name in failed
                else outcome
                for outcome in outcomes
            ]
        return ShardResult(files=self._files.write("crops", task, table), outcomes=tuple(outcomes))

    def candidates(self, item: ImageInput, image: NDArray[np.uint8]) -> Sequence[CropCandidate]:
        """Return the crops of a still image: the image itself if it is a crop, else the people detected in it."""
        is_crop = self._accepts_crops and is_crop_size(*image.shape[:2])
        if self._detector is None or is_crop:
            return [whole_image(item, image)]
        return detect_still(image, self._detector, name=item.name, digest=item.digest)

    def _process_slice(self, task: ShardTask, shard: SliceShard) -> ShardResult:
        video = shard.video
        if self._detector is None:
            error = BadInput("no-detector", "a video needs a detector: --detector hog or hf:…")
            return ShardResult(outcomes=(quarantined_outcome(0, error),))
        try:
            reader = FrameReader(video.path, video.info, shard, fps=shard.tracking.fps)
            part = process_slice(
                decode_frames(reader),
                self._detector,
                self._appearance(),
                name=video.name,
                digest=video.digest,
                owned=range(shard.first, shard.last),
                config=shard.tracking,
            )
        except BadInput as error:
            return ShardResult(outcomes=(quarantined_outcome(0, error),))
        start = datetime.fromisoformat(video.start) if video.start else None
        to_row = partial(crop_row, task.source, video.name, video.camera, start)
        table, is_finite = self._embed(map(to_row, part.candidates))
        files = self._files.write("candidates", task, table.filter(pa.array(is_finite)))
        files += self._files.write("frames", task, part.frames)
        failures = [
            InputFailure(input=task.inputs[0], frame=failure.frame, reason=failure.reason, detail=failure.detail)
            for failure in reader.failures
        ]
        reason, detail = self._not_finite.reason, self._not_finite.detail
        for frame in sorted({table["frame"][int(row)].as_py() for row in np.flatnonzero(~is_finite)}):
            failures.append(InputFailure(input=task.inputs[0], frame=frame, reason=reason, detail=detail))
        # One failure stands for all frames behind the end of a truncated video.
        if video.info.truncated is not None and shard.part == shard.parts - 1:
            end, detail = video.info.frames, video.info.truncated
            failures.append(InputFailure(input=video.name, frame=end, reason="truncated", detail=detail))
        return ShardResult(files=files, outcomes=(_processed(0, int(is_finite.sum())),), failures=tuple(failures))

    def _process_assembly(self, task: ShardTask, shard: AssemblyShard) -> ShardResult:
        """Track the people of one video and store its selected crops; memory is one slice's crops and all its boxes."""
        stored: dict[str, list[str]] = task.spec["files"]
        columns = ["crop_id", "offset_s", "quality", "dhash"]
        batches = [b for path in stored["candidates"] for b in self._files.root.read(path, columns=columns)]
        if not batches:
            return ShardResult()
        frames = chain.from_iterable(map(self._files.root.read, stored["frames"]))
        joined = assemble_tracklets(
            frames, pa.Table.from_batches(batches), digest=shard.video.digest, config=shard.tracking
        )
        tracklet_of = dict(
            zip(joined.crops.column("crop_id").to_pylist(), joined.crops.column("tracklet").to_pylist(), strict=True)
        )
        files: list[WrittenFile] = []
        for path in stored["candidates"]:
            picked = pa.Table.from_batches([picked_rows(b, tracklet_of) for b in self._files.root.read(path)])
            files.extend(self._files.write("crops", task, picked))
        files.extend(self._files.write("detections", task, joined.detections))
        tracklets = joined.rows.append_column("source", pa.array([task.source] * joined.rows.num_rows, pa.string()))
        cameras = pa.array([shard.video.camera] * joined.rows.num_rows, pa.string())
        files.extend(self._files.write("tracklets", task, tracklets.append_column("camera", cameras)))
        return ShardResult(files=tuple(files))

    def _embed(self, rows: Iterator[CropRow]) -> tuple[pa.Table, BoolArray]:
        """Embed and encode rows in batches of fixed size; return the table, and which of its rows are finite."""
        schema = crop_schema(self._extractor.package.embedding_dim)
        computed = {*SINCE_2.names, EMBEDDING, "image"}
        batches: list[pa.RecordBatch] = []
        is_finite: list[BoolArray] = [np.ones(0, dtype=np.bool_)]
        while batch := list(islice(rows, self._extractor.batch_size)):
            outputs = self._extractor.extract([row["image"] for row in batch])
            columns: dict[str, Any] = {
                name: [row[name] for row in batch] for name in schema.names if name not in computed
            }
            columns["image"] = [row["encoded"] or encode_jpeg(shrink(row["image"], MAX_CROP_HEIGHT)) for row in batch]
            columns |= feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
            batches.append(pa.RecordBatch.from_pydict(columns, schema=schema))
            is_finite.append(outputs.are_finite())
        return pa.Table.from_batches(batches, schema=schema), np.concatenate(is_finite)


class ShardFiles:
    """Writes the files of shards below the data root `uri`."""

    def __init__(self, uri: str) -> None:
        self.root = DataRoot(uri)

    def write(self, kind: FileKind, task: ShardTask, table: pa.Table) -> tuple[WrittenFile, ...]:
        """Write the rows of a shard as a file that is not committed yet; an empty table gives no file.

        Raises:
            WorkError: The file cannot be written. The run stops and can be resumed: the shard is not the cause.
        """
        if not table.num_rows:
            return ()
        fault_point("worker.before-write")
        try:
            return (self.root.write(kind, task.run_id, task.id, table),)
        except OSError as error:
            raise WorkError(
                f"cannot write to {self.root.folder.name}: {error.strerror or first_line(error)}"
            ) from error


def crop_row(
    source: str,
    name: str,
    camera: str,
    start: datetime | None,
    candidate: CropCandidate,
    pid: int | None = None,
    encoded: bytes | None = None,
) -> CropRow:
    """Return the row of a candidate from the input `name`; `start` is when its video began or the still was taken."""
    x, y, w, h = (float(value) for value in candidate.box)
    time = start + timedelta(seconds=candidate.offset_s or 0.0) if start is not None else None
    columns = {column: getattr(candidate, column) for column in CANDIDATE_COLUMNS}
    place = {"x": x, "y": y, "w": w, "h": h, "camera": camera, "time": time, "tracklet": ""}
    return {**columns, **place, "source": source, "input": name, "pid": pid, "encoded": encoded}


def picked_rows(batch: pa.RecordBatch, tracklet_of: dict[str, str]) -> pa.RecordBatch:
    """Return the rows of `batch` whose crops assembly selected, with their tracklets filled in."""
    crop_ids = pa.array(list(tracklet_of), pa.string())
    rows = batch.filter(pc.is_in(batch.column("crop_id"), value_set=crop_ids))
    tracklets = pa.array([tracklet_of[name] for name in rows.column("crop_id").to_pylist()], pa.string())
    return rows.set_column(rows.schema.get_field_index("tracklet"), "tracklet", tracklets)


def whole_image(item: ImageInput, image: NDArray[np.uint8]) -> CropCandidate:
    """Return the candidate of an image that is a crop as a whole."""
    height, width = image.shape[:2]
    box = np.array([0, 0, width, height], dtype=np.float32)
    return CropCandidate(
        crop_id=crop_id(item.name, item.digest, -1, box),
        frame=-1,
        offset_s=None,
        box=box,
        score=1.0,
        quality=crop_quality(image, box, (height, width), np.empty((0, 4), dtype=np.float32)),
        dhash=dhash(image),
        frame_width=width,
        frame_height=height,
        image=image,
    )


def _processed(position: int, rows: int) -> InputOutcome:
    return InputOutcome(position=position, state="done" if rows else "empty", rows=rows)


def _unread_outcome(position: int, problem: dict[str, str]) -> InputOutcome:
    """Return the outcome of an input that was planned with a problem; without a detail it is passed over."""
    state: InputState = "quarantined" if "detail" in problem else "passed_over"
    return InputOutcome(position=position, state=state, reason=problem["reason"], detail=problem.get("detail"))


def quarantined_outcome(position: int, error: BadInput) -> InputOutcome:
    """Return the outcome of an unreadable input at a position of its shard."""
    return InputOutcome(position=position, state="quarantined", reason=error.reason, detail=error.detail)
