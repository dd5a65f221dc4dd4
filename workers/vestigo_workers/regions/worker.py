"""The worker that turns shards of crops into files of label maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import pyarrow as pa

from vestigo.store.crops.reader import picked
from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import REGIONS
from vestigo.store.runs.records import FrameFailure, InputOutcome, ShardTask
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput, WorkError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image
from vestigo_models.inference.region_finder import NamedImage, RegionFinder, RegionMap, feature_model
from vestigo_models.parsing.registry import make_parser
from vestigo_workers.indexing.worker import ShardResult
from vestigo_workers.regions.folder import encode_png
from vestigo_workers.regions.plan import CropGroup


@dataclass(frozen=True, kw_only=True)
class FinderFactory:
    """Builds a `RegionFinder` in this process or in an actor; holds only what can be pickled.

    Attributes:
        parser: as `make_parser` takes it, with `label_map` where it needs one.
        model: folder of the model whose features are clustered, None for the parser alone.
        fls: keys of `FlsConfig`.
        clusters: keep part clusters for pictures.
    """

    parser: str
    label_map: Mapping[str, str] | None = None
    model: str | None = None
    fls: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    clusters: bool = False

    def __call__(self) -> RegionFinder:
        """Load parser and model.

        Raises:
            ConfigError, ModelError: a name that leads nowhere, or a model without a feature map.
        """
        cv2.setNumThreads(1)
        device = resolve_device(self.device)
        extractor = None if self.model is None else Extractor(feature_model(self.model), device=device)
        parser = make_parser(self.parser, self.label_map, device)
        return RegionFinder(parser, extractor, FlsConfig.model_validate(self.fls), clusters=self.clusters)


@dataclass(frozen=True, kw_only=True)
class RegionsFactory:
    """Builds the worker of a regions run; `data` is the URI of the store's data root."""

    data: str
    finder: FinderFactory

    def __call__(self) -> RegionsWorker:
        """Load parser and model."""
        return RegionsWorker(self.data, self.finder())


class RegionsWorker:
    """Loads parser and model once and works off whole shards."""

    def __init__(self, data: str, finder: RegionFinder) -> None:
        self._data = data
        self._root = DataRoot(data)
        self._finder = finder

    def process(self, task: ShardTask) -> ShardResult:
        """Work off one shard: crops that cannot be labelled are outcomes, never exceptions.

        A group that has a map for some of its crops is done, and the others are counted as failures in it.

        Raises:
            WorkError: the files cannot be written.
        """
        groups = [CropGroup.from_json(data) for data in task.spec["shard"]["inputs"]]
        rows: list[dict[str, Any]] = []
        outcomes: list[InputOutcome] = []
        failures: list[FrameFailure] = []
        for position, (group, found) in enumerate(zip(groups, found_in(self._root, groups, self._finder), strict=True)):
            made = [row_of(crop.id, region_map) for crop, region_map in found if isinstance(region_map, RegionMap)]
            wrong = [(crop, error) for crop, error in found if isinstance(error, BadInput)]
            rows += made
            if made:
                outcomes.append(InputOutcome(position=position, state="done", rows=len(made)))
                failures += [_failure(group, crop, error) for crop, error in wrong]
            else:
                _, error = wrong[0]
                outcomes.append(
                    InputOutcome(position=position, state="quarantined", reason=error.reason, detail=error.detail)
                )
        return ShardResult(files=self._write(task, rows), outcomes=tuple(outcomes), failures=tuple(failures))

    def _write(self, task: ShardTask, rows: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
        if not rows:
            return ()
        fault_point("worker.before-write")
        try:
            table = pa.Table.from_pylist(list(rows), schema=REGIONS)
            return (self._root.write("regions", task.run_id, task.id, table),)
        except OSError as error:
            # A full or lost disk is no fault of the shard: the run stops, and can be resumed.
            raise WorkError(f"cannot write to {self._data}: {error.strerror or error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedCrop:
    """A crop of the store: its id, the frame it was cut from (-1 for a still), and its image or what is wrong."""

    id: str
    frame: int
    image: NamedImage | BadInput


def found_in(
    root: DataRoot, groups: Sequence[CropGroup], finder: RegionFinder
) -> Iterator[list[tuple[LoadedCrop, RegionMap | BadInput]]]:
    """Yield for every group its crops, each with its label map or why there is none; memory is the groups' images."""
    loaded = load_groups(root, groups)
    readable = [[crop.image for crop in crops if isinstance(crop.image, NamedImage)] for crops in loaded]
    for crops, found in zip(loaded, finder.find(readable), strict=True):
        maps = iter(found)
        yield [(crop, crop.image if isinstance(crop.image, BadInput) else next(maps)) for crop in crops]


def load_groups(root: DataRoot, groups: Sequence[CropGroup]) -> list[list[LoadedCrop]]:
    """Read and decode the crops of some groups, each file once."""
    ids = pa.array([crop for group in groups for crop in group.crops], pa.string())
    found: dict[str, LoadedCrop] = {}
    for path in dict.fromkeys(path for group in groups for path in group.files):
        # A file that was replaced meanwhile, and vacuumed: its crops are no longer there.
        if root.folder.size(path) is None:
            continue
        for batch in picked(root, path, ids, ("crop_id", "input", "frame", "image")):
            found.update((row["crop_id"], _loaded(row)) for row in batch.to_pylist())
    gone = BadInput("gone", "the crop was replaced since the run was planned; label the run that replaced it")
    return [[found.get(crop, LoadedCrop(id=crop, frame=-1, image=gone)) for crop in group.crops] for group in groups]


def _loaded(row: dict[str, Any]) -> LoadedCrop:
    # A parser that reads label maps from a folder knows a still by its own name, a crop of a video by its id.
    name = row["input"] if row["frame"] < 0 else f"{row['crop_id']}.jpg"
    try:
        image: NamedImage | BadInput = NamedImage(name=name, pixels=decode_image(row["image"]))
    except BadInput as error:
        image = error
    return LoadedCrop(id=row["crop_id"], frame=row["frame"], image=image)


def row_of(crop_id: str, found: RegionMap) -> dict[str, Any]:
    """The row of `schema.REGIONS` of one crop."""
    return {
        "crop_id": crop_id,
        "labels": encode_png(found.labels),
        "areas": found.areas,
        "belongings": found.belongings,
    }


def _failure(group: CropGroup, crop: LoadedCrop, error: BadInput) -> FrameFailure:
    detail = f"crop {crop.id}: {error.detail}"
    return FrameFailure(input=group.name, frame=crop.frame, reason=error.reason, detail=detail)
