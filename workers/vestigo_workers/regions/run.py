"""Label the crops of an indexing run: a run of its own that is driven, resumed and counted like it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.runs.records import Run
from vestigo_models.errors import StoreError, WorkError
from vestigo_models.inference.package import resolve_model
from vestigo_models.inference.region_finder import IMAGES_AT_ONCE, NamedImage, RegionFinder, RegionMap
from vestigo_models.progress import OpenProgress, ProgressCallback
from vestigo_workers.indexing.request import fingerprint
from vestigo_workers.regions.folder import write_panel
from vestigo_workers.regions.plan import REGIONS_SCHEMA_VERSION, RegionsRequest, RunCrops, region_shards
from vestigo_workers.regions.worker import RegionsWorker, label_groups, make_finder
from vestigo_workers.runs.driver import drive, open_executor
from vestigo_workers.runs.result import RunResult


@dataclass(frozen=True, kw_only=True)
class RegionsSetup:
    """A request with the run of its crops; in `resolved`, the model is a folder. `finder` is that of the request."""

    request: RegionsRequest
    resolved: RegionsRequest
    source: Run
    finder: RegionFinder

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes a label map or its crop: a crop has one map under a fingerprint."""
        extractor = self.finder.extractor
        return {
            "kind": "regions",
            "schema": REGIONS_SCHEMA_VERSION,
            "crops": self.source.fingerprint,
            "parser": self.finder.parser.digest,
            "model": None if extractor is None else extractor.package.digest,
            "fls": None if extractor is None else self.request.fls.model_dump(mode="json"),
        }


def prepare(store: Store, request: RegionsRequest) -> RegionsSetup:
    """Find the run of a request, and load its parser and model.

    Raises:
        StoreError: There is no such run, it made no crops, or it has not ended.
        ConfigError: There is no such parser.
        ModelError: There is no such model, or it has no feature map.
    """
    source = store.runs.get(request.run)
    if source.kind != "index":
        raise StoreError(f"run {source.id} made label maps, not crops: name a run of `vestigo index`")
    if source.status != "succeeded":
        raise StoreError(f"run {source.id} is {source.status}: finish it first (`vestigo runs resume {source.id}`)")
    model = None if request.model is None else str(resolve_model(request.model))
    resolved = request.model_copy(update={"model": model})
    return RegionsSetup(request=request, resolved=resolved, source=source, finder=make_finder(resolved))


def label_run(store: Store, request: RegionsRequest, open_progress: OpenProgress) -> RunResult:
    """Label the crops of a run; crops that have maps under the same fingerprint are skipped.

    An unfinished run over the same crops under the same fingerprint is resumed.
    """
    setup = prepare(store, request)
    config = setup.config
    digest = fingerprint(config)
    earlier = store.runs.find_unfinished(digest)
    if earlier is not None and RegionsRequest.of_run(earlier).run == request.run:
        return prepare_resume(store, earlier.id)(open_progress)
    run = store.runs.create(
        fingerprint=digest, config=config, model=setup.source.model, command=request.model_dump_json()
    )
    return _plan_and_drive(store, run, setup, open_progress)


def prepare_resume(store: Store, run_id: str) -> Callable[[OpenProgress], RunResult]:
    """Load what a run needs, and return the function that processes its pending inputs.

    Raises:
        FingerprintMismatch: The parser, the model or a setting is no longer that of the run.
    """
    run = store.runs.get(run_id)
    setup = prepare(store, RegionsRequest.of_run(run))
    store.runs.require_fingerprint(run.id, fingerprint(setup.config), setup.config)
    return partial(_plan_and_drive, store, run, setup)


def _plan_and_drive(store: Store, run: Run, setup: RegionsSetup, open_progress: OpenProgress) -> RunResult:
    skipped = 0
    if not run.planned:
        with RunCrops(store, setup.source.id) as crops:
            groups = crops.new_groups(store, run.fingerprint)
            store.shards.plan(run.id, region_shards(groups, setup.source.id, setup.request.shard_size))
            skipped = crops.skipped
    factory = partial(RegionsWorker, store.data, setup.resolved)
    opener = partial(open_executor, store, run.id, factory, setup.request)
    return replace(drive(store, run.id, opener, open_progress("regions")), skipped=skipped)


def draw_panels(store: Store, request: RegionsRequest, folder: Path, progress: ProgressCallback) -> int:
    """Draw a panel of parser, clusters and regions for every labelled crop of a run, as `CROP.png`.

    Panels are drawn in this process from the stored crops: clusters are not stored, and actors may run on machines
    without `folder`.

    Returns:
        The number of panels.

    Raises:
        WorkError: A file cannot be written.
    """
    setup = prepare(store, request)
    finder = make_finder(setup.resolved, clusters=setup.finder.adds_belongings)
    root = DataRoot(store.data)
    drawn = 0
    with RunCrops(store, setup.source.id) as crops:
        groups = crops.groups()
        while batch := list(islice(groups, IMAGES_AT_ONCE)):
            for crop, region_map in chain.from_iterable(label_groups(root, batch, finder)):
                if isinstance(region_map, RegionMap) and isinstance(crop.image, NamedImage):
                    path = folder / f"{crop.id}.png"
                    try:
                        write_panel(path, crop.image.pixels, region_map, fused=finder.adds_belongings)
                    except OSError as error:
                        raise WorkError(f"cannot write to {folder}: {error.strerror or error}") from error
                    drawn += 1
            progress(drawn, len(crops))
    return drawn
