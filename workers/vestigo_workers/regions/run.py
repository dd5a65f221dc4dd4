"""Label maps of an indexed archive: a run over the crops of another run, driven, resumed and counted like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.runs.records import Run
from vestigo_models.errors import StoreError, WorkError
from vestigo_models.inference.package import resolve_model
from vestigo_models.inference.region_finder import TOGETHER, NamedImage, RegionFinder, RegionMap
from vestigo_workers.executors.base import Executor
from vestigo_workers.executors.pool import open_executor
from vestigo_workers.indexing.request import fingerprint
from vestigo_workers.indexing.run import Indexed, Stage, summary
from vestigo_workers.regions.folder import encode_png, picture_of, write_whole
from vestigo_workers.regions.plan import REGIONS_SCHEMA_VERSION, Planned, RegionsRequest, RunCrops, region_shards
from vestigo_workers.regions.worker import FinderFactory, RegionsFactory, found_in
from vestigo_workers.runs.driver import Report, drive


@dataclass(frozen=True, kw_only=True)
class RegionsSetup:
    """A request made concrete: the run found, parser and model loaded."""

    request: RegionsRequest
    source: Run
    factory: FinderFactory
    finder: RegionFinder

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes a label map, and how the crops came to be: a crop has one map under a fingerprint."""
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
        StoreError: there is no such run, it made no crops, or it has not ended.
        ConfigError, ModelError: a name that leads nowhere, or a model without a feature map.
    """
    source = store.find_run(request.run)
    if source.kind != "index":
        raise StoreError(f"run {source.id} made label maps, not crops: name a run of `vestigo index`")
    if source.status != "succeeded":
        raise StoreError(f"run {source.id} is {source.status}: finish it first (`vestigo runs resume {source.id}`)")
    factory = FinderFactory(
        parser=request.parser,
        label_map=request.label_map,
        model=None if request.model is None else str(resolve_model(request.model)),
        fls=request.fls.model_dump(),
        device=request.device,
    )
    return RegionsSetup(request=request, source=source, factory=factory, finder=factory())


def label_run(store: Store, request: RegionsRequest, stage: Stage) -> Indexed:
    """Label the crops of a run; what is labelled already under the same fingerprint is left out.

    An unfinished run over the same crops under the same fingerprint is resumed instead of begun again.
    """
    setup = prepare(store, request)
    config = setup.config
    bound = fingerprint(config)
    earlier = store.unfinished_run(bound)
    if earlier is not None and request_of(earlier).run == request.run:
        return ready(store, earlier.id)(stage)
    run = store.create_run(
        fingerprint=bound, config=config, model=setup.source.model, command=request.model_dump_json()
    )
    return _work_off(store, run, setup, stage, plan=True)


def ready(store: Store, run_id: str) -> Callable[[Stage], Indexed]:
    """Find what a regions run is done with, and return what does the rest of it: whatever is pending then.

    Raises:
        FingerprintMismatch: parser, model or settings are no longer those of the run.
    """
    run = store.find_run(run_id)
    setup = prepare(store, request_of(run))
    store.require_fingerprint(run.id, fingerprint(setup.config), setup.config)
    return partial(_work_off, store, run, setup, plan=not run.planned)


def request_of(run: Run) -> RegionsRequest:
    """Return what the user asked of a regions run."""
    try:
        return RegionsRequest.model_validate_json(run.command)
    except ValueError:
        raise StoreError(f"run {run.id} was made by another version of Vestigo and cannot be resumed") from None


def _work_off(store: Store, run: Run, setup: RegionsSetup, stage: Stage, *, plan: bool) -> Indexed:
    counted = Planned()
    if plan:
        with RunCrops(store, setup.source.id) as crops:
            new = counted.unknown(store, run.fingerprint, crops.groups())
            store.plan(run.id, region_shards(new, setup.source.id, setup.request.shard_size))
    opener: Callable[[], Executor] = partial(
        open_executor, store, run.id, RegionsFactory(data=store.data, finder=setup.factory), setup.request
    )
    ended = drive(store, run.id, opener, stage("regions"))
    return Indexed(ended=ended, skipped=counted.skipped)


def regions_summary(store: Store, indexed: Indexed) -> dict[str, Any]:
    """Return the result of a regions run: the keys of `summary`, and what its label maps show."""
    run, totals = indexed.ended.run, indexed.ended.totals
    carrying = sum(
        sum(batch.column("belongings").to_pylist())
        for batch in store.open_table(run.id, kind="regions", columns=["belongings"])
    )
    return {
        **summary(store, indexed),
        "images": totals.regions,
        "with_belongings": carrying,
        "images_per_second": totals.regions / run.seconds if run.seconds > 0 else 0.0,
    }


def draw_panels(store: Store, request: RegionsRequest, folder: Path, report: Report) -> int:
    """Draw every labelled crop of a run as parser, clustering and result see it, as `CROP.png`; return how many.

    Drawn in this process, from the crops: clusters are not kept, and actors may lie on machines without `folder`.

    Raises:
        WorkError: a file cannot be written.
    """
    setup = prepare(store, request)
    finder = replace(setup.factory, clusters=setup.finder.fuses)()
    root = DataRoot(store.data)
    drawn = 0
    with RunCrops(store, setup.source.id) as crops:
        groups = crops.groups()
        while some := list(islice(groups, TOGETHER)):
            for found in found_in(root, some, finder):
                for crop, region_map in found:
                    if isinstance(region_map, RegionMap) and isinstance(crop.image, NamedImage):
                        picture = picture_of(crop.image.pixels, region_map, fused=finder.fuses)
                        try:
                            write_whole(folder / f"{crop.id}.png", encode_png(picture))
                        except OSError as error:
                            raise WorkError(f"cannot write to {folder}: {error.strerror or error}") from error
                        drawn += 1
            report(drawn, len(crops))
    return drawn
