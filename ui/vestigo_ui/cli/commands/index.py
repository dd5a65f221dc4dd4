"""`vestigo index`: index an archive of footage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from vestigo_models.detection.registry import DETECTORS
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, note, out, print_run, progress, run_output, run_with_bars, write_page

if TYPE_CHECKING:
    from vestigo.reports.page import SheetRow
    from vestigo.store.open import Store

MAX_STRIPS = 200
"""Tracklets on a contact sheet; browsers are slow with more."""
SUMMED = ("inputs", "done", "empty", "quarantined", "skipped", "frame_failures", "crops", "tracklets", "seconds")
"""Keys of a run that are added up for several runs."""


def index_command(
    store: opts.StoreOption,
    sources: Annotated[
        list[str] | None,
        Argument(
            help="Video files, folders of images and videos, tar or zip files, datasets. None with --reindex-stale: "
            "all that is in the store."
        ),
    ] = None,
    camera: Annotated[str | None, Option(help="Name of the camera. Default: that of the file or folder.")] = None,
    start: Annotated[
        str | None,
        Option(
            metavar="ISO8601", help="When each camera's first video begins. Default: as names of files and folders say."
        ),
    ] = None,
    timezone: Annotated[
        str | None, Option(metavar="ZONE", help="Zone of times without an offset, such as Europe/Berlin. Default: UTC.")
    ] = None,
    name_pattern: Annotated[
        str | None,
        Option(
            metavar="REGEX", help="Names of your recorder, with groups camera, date and time; see docs/recorders.md."
        ),
    ] = None,
    fps: Annotated[float | None, Option(help="Frames per second of video that are examined. Default: 5.")] = None,
    model: Annotated[
        str | None,
        Option(
            help="default, small, tiny, a package folder, hub:ID, or a name or digest of `vestigo models list`. "
            "Default: the serving model, else default."
        ),
    ] = None,
    detector: Annotated[str | None, Option(help=f"{DETECTORS.usage}. Default: auto.")] = None,
    crops_per_tracklet: Annotated[int | None, Option(help="Best crops kept per tracklet. Default: 8.")] = None,
    executor: Annotated[str | None, Option(help="inline, ray or auto. Default: auto.")] = None,
    actors: Annotated[int | None, Option(help="Ray actors. Default: one per GPU share, else one per CPU.")] = None,
    gpus_per_actor: Annotated[float | None, Option(help="Share of a GPU that an actor is pinned to.")] = None,
    device: Annotated[str | None, Option(help="auto, cpu or cuda. Default: auto.")] = None,
    shard_size: Annotated[int | None, Option(help="Still images per shard. Default: 256.")] = None,
    slice_seconds: Annotated[float | None, Option(help="Seconds of video per shard. Default: 30.")] = None,
    batch_size: Annotated[int | None, Option(help="Crops per forward pass. Default: 32.")] = None,
    decode_threads: Annotated[
        int | None, Option(help="Processes per worker that decode images. Default: 2 with a GPU, 1 on a CPU.")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Plan only: shards, time, disk.")] = False,
    reindex_stale: Annotated[
        bool,
        Option(
            "--reindex-stale",
            help="Replace rows made under another fingerprint; without SOURCES, all rows of other models.",
        ),
    ] = False,
    config: Annotated[Path | None, Option(help="YAML file with any of these settings.")] = None,
    html: opts.HtmlOption = None,
) -> Output:
    """Index an archive: detect and track people, embed their crops and store them.

    Indexing an unchanged archive again adds nothing; an interrupted run continues where it stopped.

    After another model was promoted, --reindex-stale without SOURCES repeats every run with crops of other models with
    the serving one, each with its own sources and settings; the old crops stay until the new ones are complete.

    Example: vestigo index footage/gate.mp4 --camera gate --start 2026-05-01T08:00:00 --store archive
    """
    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    from vestigo_workers.indexing.request import IndexRequest, build_request

    options = {name: value for name, value in given.items() if name in IndexRequest.model_fields}
    if not sources:
        if not reindex_stale:
            raise UsageError("nothing to index: name a SOURCE, or give --reindex-stale for all that is in the store")
        return _reindex(store, given.keys() - {"store", "reindex_stale"}, options)
    request = build_request({**options, "sources": tuple(sources)}, config)
    from vestigo_workers.indexing.run import estimate_index, index

    with opts.open_store(store, create=True) as opened:
        if dry_run:
            with progress("reading") as update:
                plan = estimate_index(opened, request, update)
            text = (
                f"would index {plan['inputs']} inputs in {plan['shards']} shards; {plan['skipped']} are in the store "
                f"already\n  about {plan['seconds']:.0f} s on {plan['workers']} x {plan['device']} and at most "
                f"{plan['disk_bytes'] / 1e6:.1f} MB, estimated from {plan['timed']} of {plan['images']} images "
                f"and {plan['frames']} frames"
            )
            return Output(plan, text)
        result = run_with_bars(opened, partial(index, opened, request, reindex_stale=reindex_stale))
        if html is not None:
            from vestigo.reports.page import archive_page

            run = result.run.id
            strips, total = read_strips(opened, run)
            details = {"what": "contact sheet", "run": run, "to_file": str(html.absolute()), "tracklets": len(strips)}
            opened.audit.record(opts.login(), "export", details=details)
            write_page(html, archive_page(strips, {"Run": run, "Store": Path(opened.ref).name}, total))
            note(f"contact sheet: {html}")
        return run_output(opened, result)


def _reindex(ref: str, given: set[str], options: Mapping[str, Any]) -> Output:
    """Repeat every run with crops of other models than the serving one or `--model`."""
    from vestigo_workers.indexing.run import EXECUTION_SETTINGS, reindex_stale
    from vestigo_workers.runs.result import summarize

    if unfit := sorted(given - {"model", *EXECUTION_SETTINGS}):
        raise UsageError(
            f"{opts.spell(unfit)}: without SOURCES every run is repeated as it was; name the sources, or leave it out"
        )
    settings = {name: value for name, value in options.items() if name in EXECUTION_SETTINGS}
    with opts.open_store(ref) as store:
        done = run_with_bars(store, partial(reindex_stale, store, model=options.get("model"), settings=settings))
        runs = [summarize(store, result) for result in done.runs]
    sums = {name: sum(run[name] for run in runs) for name in SUMMED}
    result = {
        "model": done.model,
        # The last id, the first status that is not success, and sums.
        "run": runs[-1]["run"] if runs else None,
        "status": next((run["status"] for run in runs if run["status"] != "succeeded"), "succeeded"),
        **sums,
        "crops_per_second": sums["crops"] / sums["seconds"] if sums["seconds"] else 0.0,
        "runs": runs,
        "gone": list(done.missing),
        "stale": done.stale,
        "unended": list(done.unended),
    }
    return Output(result, partial(_print_reindexed, store=ref))


def _print_reindexed(result: Mapping[str, Any], *, store: str) -> None:
    for run in result["runs"]:
        print_run(run, store=store)
    remarks = {
        "missing sources, whose crops stay as they were": ", ".join(result["gone"]),
        "runs that have not ended, and were not repeated": ", ".join(result["unended"]),
        "crops of other models that stay (vestigo search --model searches one version)": result["stale"],
    }
    for remark, value in remarks.items():
        if value:
            out.print(f"{remark}: {value}", style="yellow")
    if not result["stale"]:
        out.print(f"all crops are of model {result['model'][:12]}")


def crops_of_run(store: Store, run: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the crops of a run with some columns."""
    for batch in store.crops.scan([*columns, "run"]):
        yield from (row for row in batch.to_pylist() if row["run"] == run)


def read_strips(store: Store, run: str, limit: int = MAX_STRIPS) -> tuple[list[SheetRow], int]:
    """Return the first tracklets of a run as rows of a contact sheet, and the number of all tracklets.

    Crops of still images, which have no tracklet, make one row per camera.
    """
    from vestigo.reports.page import SheetRow
    from vestigo_models.inference.images import decode_image

    columns = ["crop_id", "tracklet", "camera", "offset_s", "quality"]
    members: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    keys: set[tuple[str, str]] = set()
    for row in crops_of_run(store, run, columns):
        key = (row["camera"], row["tracklet"])
        keys.add(key)
        if key in members or len(members) < limit:
            members.setdefault(key, []).append((-row["quality"], row["offset_s"] or 0.0, row["crop_id"]))
    strips = []
    for (camera, tracklet), crops in sorted(members.items(), key=lambda item: (item[0][0], min(c[1] for c in item[1]))):
        best = [crop for _, _, crop in sorted(crops)[:10]]
        images = [decode_image(row["image"]) for row in store.crops.get(best, ["image"])]
        first, last = min(offset for _, offset, _ in crops), max(offset for _, offset, _ in crops)
        detail = f"{camera}, {first:.1f} to {last:.1f} s" if tracklet else camera
        strips.append(SheetRow(title=tracklet[:8] or "still images", detail=detail, images=images))
    return strips, len(keys)
