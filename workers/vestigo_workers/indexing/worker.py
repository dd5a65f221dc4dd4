"""The worker that turns shards of an archive into files of crops, detections and tracklets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ingest.crops import Candidate, crop_id, detect_still
from vestigo.ingest.inputs import ImageInput
from vestigo.ingest.shards import AssemblyShard, ImageShard, SliceShard, shard_from_json
from vestigo.ingest.video.assembly import assemble
from vestigo.ingest.video.decode import FrameReader
from vestigo.ingest.video.slices import extract_part
from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot
from vestigo.store.runs.records import FileKind, FrameFailure, InputOutcome, ShardTask, WrittenFile
from vestigo_models.detection.base import Detector
from vestigo_models.detection.registry import make_detector
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput, WorkError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.tracking.quality import crop_quality, dhash
from vestigo_workers.indexing.decode import DECODE_THREADS, decode_ahead
from vestigo_workers.indexing.rows import CropRow, crop_row, embed_rows, picked_rows

CROP_MAX_HEIGHT = 300
"""Detector `auto` takes an image that is taller than wide and at most this high (pixels) for a crop."""


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What one shard leaves to be committed."""

    files: tuple[WrittenFile, ...] = ()
    outcomes: tuple[InputOutcome, ...] = ()
    failures: tuple[FrameFailure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExtractionFactory:
    """Builds the worker in this process or in an actor; holds only what can be pickled.

    Attributes:
        data: URI of the store's data root.
        model: folder of the model package.
        detector: `none`, `auto`, `hog` or `hf:...`.
        device: `auto`, `cpu` or `cuda`.
        decode_threads: threads that decode ahead of the network; by default 2 beside a GPU and none on a CPU.
    """

    data: str
    model: str
    detector: str
    device: str
    batch_size: int
    decode_threads: int | None = None

    def __call__(self) -> ExtractionWorker:
        """Load model and detector."""
        return ExtractionWorker(self)


class ExtractionWorker:
    """Loads model and detector once and works off whole shards."""

    def __init__(self, settings: ExtractionFactory) -> None:
        cv2.setNumThreads(1)
        self._settings = settings
        self._root = DataRoot(settings.data)
        package = ModelPackage.from_pretrained(settings.model)
        device = resolve_device(settings.device)
        self._extractor = Extractor(package, device=device, batch_size=settings.batch_size)
        self._detector = active_detector(settings.detector, device)
        beside = 0 if device == "cpu" else DECODE_THREADS
        self._threads = beside if settings.decode_threads is None else settings.decode_threads
        # The first batch picks its kernels, which takes a second: a worker that is ready has that behind it.
        self._extractor.extract([np.zeros((*package.config.input_size, 3), dtype=np.uint8)])

    def process(self, task: ShardTask) -> ShardResult:
        """Work off one shard; bad inputs and frames are outcomes, never exceptions.

        Raises:
            WorkError: the files cannot be written.
        """
        if "problems" in task.spec:
            return problem_result(task)
        shard = shard_from_json(task.spec["shard"])
        if isinstance(shard, ImageShard):
            return self._images(task, shard)
        if isinstance(shard, SliceShard):
            return self._slice(task, shard)
        return self._assembly(task, shard)

    def _images(self, task: ShardTask, shard: ImageShard) -> ShardResult:
        outcomes: list[InputOutcome] = []

        def rows() -> Iterator[CropRow]:
            for position, item, loaded in decode_ahead(shard.inputs, self._threads):
                if isinstance(loaded, BadInput):
                    outcomes.append(quarantined(position, loaded))
                    continue
                image, encoded = loaded
                found = self.candidates(item, image)
                outcomes.append(outcome(position, len(found)))
                for candidate in found:
                    whole = candidate.image.shape == image.shape
                    start = datetime.fromisoformat(item.time) if item.time else None
                    kept = encoded if whole else None
                    yield crop_row(task.source, item.name, item.camera, start, candidate, item.pid, kept)

        files = self._write("crops", task, rows())
        return ShardResult(files=files, outcomes=tuple(outcomes))

    def candidates(self, item: ImageInput, image: NDArray[np.uint8]) -> Sequence[Candidate]:
        """Return the crops of one still image: itself where it is a crop, else the people a detector finds in it."""
        height, width = image.shape[:2]
        is_crop = self._settings.detector == "auto" and width < height <= CROP_MAX_HEIGHT
        if self._detector is None or is_crop:
            return [whole_image(item, image)]
        return detect_still(image, self._detector, name=item.name, digest=item.digest)

    def _slice(self, task: ShardTask, shard: SliceShard) -> ShardResult:
        video = shard.video
        if self._detector is None:
            return ShardResult(
                outcomes=(quarantined(0, BadInput("no-detector", "a video needs a detector: --detector hog or hf:…")),)
            )
        try:
            reader = FrameReader(video.path, video.info, shard.slice, fps=shard.fps)
            part = extract_part(
                reader,
                self._detector,
                name=video.name,
                digest=video.digest,
                owned=range(shard.first, shard.last),
                complete=shard.part == shard.parts - 1,
                config=shard.tracking,
            )
        except BadInput as error:
            return ShardResult(outcomes=(quarantined(0, error),))
        start = datetime.fromisoformat(video.start) if video.start else None
        to_row = partial(crop_row, task.source, video.name, video.camera, start)
        files = self._write("candidates", task, map(to_row, part.candidates))
        files += self._store("detections", task, part.detections)
        failures = [
            FrameFailure(input=task.inputs[0], frame=failure.frame, reason=failure.reason, detail=failure.detail)
            for failure in reader.failures
        ]
        failures.extend(missing_end(shard))
        return ShardResult(files=files, outcomes=(outcome(0, len(part.candidates)),), failures=tuple(failures))

    def _assembly(self, task: ShardTask, shard: AssemblyShard) -> ShardResult:
        """Join the parts of one video and keep the picked crops; memory is one slice's crops and all its boxes."""
        stored: dict[str, list[str]] = task.spec["files"]
        if not stored["detections"]:
            return ShardResult()
        detections = pa.Table.from_batches([b for path in stored["detections"] for b in self._root.read(path)])
        wanted = ["crop_id", "offset_s", "quality", "dhash"]
        batches = [b for path in stored["candidates"] for b in self._root.read(path, columns=wanted)]
        if not batches:
            return ShardResult()
        found = assemble(detections, pa.Table.from_batches(batches), digest=shard.video.digest, config=shard.tracking)
        tracklet_of = dict(
            zip(found.crops.column("crop_id").to_pylist(), found.crops.column("tracklet").to_pylist(), strict=True)
        )
        files: list[WrittenFile] = []
        for path in stored["candidates"]:
            picked = pa.Table.from_batches([picked_rows(b, tracklet_of) for b in self._root.read(path)])
            files.extend(self._store("crops", task, picked))
        named = found.rows.append_column("source", pa.array([task.source] * found.rows.num_rows, pa.string()))
        named = named.append_column("camera", pa.array([shard.video.camera] * found.rows.num_rows, pa.string()))
        return ShardResult(files=(*files, *self._store("tracklets", task, named)))

    def _write(self, kind: FileKind, task: ShardTask, rows: Iterator[CropRow]) -> tuple[WrittenFile, ...]:
        batches = list(embed_rows(rows, self._extractor))
        return self._store(kind, task, pa.Table.from_batches(batches)) if batches else ()

    def _store(self, kind: FileKind, task: ShardTask, table: pa.Table) -> tuple[WrittenFile, ...]:
        if not table.num_rows:
            return ()
        fault_point("worker.before-write")
        try:
            return (self._root.write(kind, task.run_id, task.id, table),)
        except OSError as error:
            # A full or lost disk is no fault of the shard: the run stops, and can be resumed.
            raise WorkError(f"cannot write to {self._settings.data}: {error.strerror or error}") from error


def missing_end(shard: SliceShard) -> tuple[FrameFailure, ...]:
    """Return the failure that stands for all frames behind the end of a truncated video; none for a whole one."""
    info = shard.video.info
    if info.truncated is None or shard.part < shard.parts - 1:
        return ()
    return (FrameFailure(input=shard.video.name, frame=info.frames, reason="truncated", detail=info.truncated),)


def active_detector(reference: str, device: str) -> Detector | None:
    """Return the detector behind a name on the command line; None where whole images are the crops."""
    if reference == "none":
        return None
    return make_detector("hog" if reference == "auto" else reference, device)


def problem_result(task: ShardTask) -> ShardResult:
    """Return the result of inputs that planning already found unreadable."""
    return ShardResult(
        outcomes=tuple(
            quarantined(position, BadInput(problem["reason"], problem["detail"]))
            for position, problem in enumerate(task.spec["problems"])
        )
    )


def whole_image(item: ImageInput, image: NDArray[np.uint8]) -> Candidate:
    """Return the candidate that an image which already is a crop stands for."""
    height, width = image.shape[:2]
    box = np.array([0, 0, width, height], dtype=np.float32)
    return Candidate(
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


def outcome(position: int, rows: int) -> InputOutcome:
    """Return the outcome of an input that could be read: done with rows, or empty."""
    return InputOutcome(position=position, state="done" if rows else "empty", rows=rows)


def quarantined(position: int, error: BadInput) -> InputOutcome:
    """Return the outcome of an input that could not be read."""
    return InputOutcome(position=position, state="quarantined", reason=error.reason, detail=error.detail)
