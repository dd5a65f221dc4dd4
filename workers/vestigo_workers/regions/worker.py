"""The worker that turns shards of crops into files of label maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import pyarrow as pa

from vestigo.store.crops.reader import rows_with_ids
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import REGIONS
from vestigo.store.runs.records import InputFailure, InputOutcome, ShardTask
from vestigo_models.devices import resolve_device
from vestigo_models.errors import BadInput
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image
from vestigo_models.inference.region_finder import NamedImage, RegionFinder, RegionMap, load_feature_model
from vestigo_models.parsing.registry import make_parser
from vestigo_workers.executors.base import ShardResult
from vestigo_workers.indexing.worker import ShardFiles, quarantined_outcome
from vestigo_workers.regions.folder import encode_png
from vestigo_workers.regions.plan import CropGroup, FinderSettings


def make_finder(settings: FinderSettings, *, clusters: bool = False) -> RegionFinder:
    """Load parser and model; with `clusters`, the finder keeps part clusters for panels."""
    cv2.setNumThreads(1)
    device = resolve_device(settings.device)
    extractor = None if settings.model is None else Extractor(load_feature_model(settings.model), device=device)
    parser = make_parser(settings.parser, settings.label_map, device)
    return RegionFinder(parser, extractor, settings.fls, clusters=clusters)


class RegionsWorker:
    """Loads parser and model once and processes whole shards of a regions run; `data` is the URI of the data root."""

    def __init__(self, data: str, settings: FinderSettings) -> None:
        self._files = ShardFiles(data)
        self._finder = make_finder(settings)

    def process(self, task: ShardTask) -> ShardResult:
        """Process one shard; crops that cannot be labelled are outcomes, never exceptions.

        A group with a map for some of its crops is done, and its other crops are failures in it.
        """
        groups = [CropGroup.from_json(data) for data in task.spec["shard"]["inputs"]]
        rows: list[dict[str, Any]] = []
        outcomes: list[InputOutcome] = []
        failures: list[InputFailure] = []
        labelled = label_groups(self._files.root, groups, self._finder)
        for position, (group, crops) in enumerate(zip(groups, labelled, strict=True)):
            maps = [
                {
                    "crop_id": crop.id,
                    "labels": encode_png(region_map.labels),
                    "areas": region_map.areas,
                    "belongings": region_map.has_belongings,
                }
                for crop, region_map in crops
                if isinstance(region_map, RegionMap)
            ]
            errors = [(crop, error) for crop, error in crops if isinstance(error, BadInput)]
            rows += maps
            if not maps:
                outcomes.append(quarantined_outcome(position, errors[0][1]))
                continue
            outcomes.append(InputOutcome(position=position, state="done", rows=len(maps)))
            failures += [
                InputFailure(
                    input=group.name, frame=crop.frame, reason=error.reason, detail=f"crop {crop.id}: {error.detail}"
                )
                for crop, error in errors
            ]
        files = self._files.write("regions", task, pa.Table.from_pylist(rows, schema=REGIONS))
        return ShardResult(files=files, outcomes=tuple(outcomes), failures=tuple(failures))


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedCrop:
    """A stored crop: its id, the frame it was cut from (-1 for a still), and its image or the error of decoding."""

    id: str
    frame: int
    image: NamedImage | BadInput


def label_groups(
    root: DataRoot, groups: Sequence[CropGroup], finder: RegionFinder
) -> Iterator[list[tuple[LoadedCrop, RegionMap | BadInput]]]:
    """Yield the crops of every group, each with its label map or an error; memory is the images of the groups."""
    loaded = load_groups(root, groups)
    readable = [[crop.image for crop in crops if isinstance(crop.image, NamedImage)] for crops in loaded]
    for crops, labelled in zip(loaded, finder.find(readable), strict=True):
        maps = iter(labelled)
        yield [(crop, crop.image if isinstance(crop.image, BadInput) else next(maps)) for crop in crops]


def load_groups(root: DataRoot, groups: Sequence[CropGroup]) -> list[list[LoadedCrop]]:
    """Read and decode the crops of groups; each file is read once."""
    ids = pa.array([crop for group in groups for crop in group.crops], pa.string())
    loaded: dict[str, LoadedCrop] = {}
    for path in dict.fromkeys(path for group in groups for path in group.files):
        # A file that was replaced since planning, and vacuumed, is missing.
        if root.folder.size(path) is None:
            continue
        for batch in rows_with_ids(root, path, ids, ("crop_id", "input", "frame", "image")):
            loaded.update((row["crop_id"], _decode_row(row)) for row in batch.to_pylist())
    error = BadInput("gone", "the crop was replaced since the run was planned; label the run that replaced it")
    return [[loaded.get(crop, LoadedCrop(id=crop, frame=-1, image=error)) for crop in group.crops] for group in groups]


def _decode_row(row: dict[str, Any]) -> LoadedCrop:
    # A parser that reads label maps from a folder knows a still by its file name and a crop of a video by its id.
    name = row["input"] if row["frame"] < 0 else f"{row['crop_id']}.jpg"
    try:
        image: NamedImage | BadInput = NamedImage(name=name, pixels=decode_image(row["image"]))
    except BadInput as error:
        image = error
    return LoadedCrop(id=row["crop_id"], frame=row["frame"], image=image)
