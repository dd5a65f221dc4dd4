"""`vestigo index`: a camera archive goes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vestigo_models.detection.registry import DETECTORS
from vestigo_ui.cli.output import (
    HtmlOption,
    JsonOption,
    StoreOption,
    emit,
    note,
    out,
    print_run,
    progress,
    run_and_report,
    run_with_bars,
)


def reindex_store(ref: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Repeat every run that left crops of other models than the one that serves, or than `given["model"]`.

    `given` are the options that were given. Raises UsageError for those that belong to a source.
    """
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError
    from vestigo_workers.indexing.reindex import EXECUTION_SETTINGS, reindex_stale

    if own := sorted(given.keys() - {"model", *EXECUTION_SETTINGS}):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in own)
        raise UsageError(f"{named}: without SOURCES every run is repeated as it was; name the sources, or leave it out")
    pool = {name: value for name, value in given.items() if name in EXECUTION_SETTINGS}
    with Store.open(ref, create=False) as store:
        done = run_with_bars(lambda stage: reindex_stale(store, stage, model=given.get("model"), settings=pool), store)
        runs = [_summary(store, indexed) for indexed in done.runs]
        result = {
            "model": done.model,
            **_together(runs),
            "runs": runs,
            "gone": list(done.missing),
            "stale": done.stale,
            "unended": list(done.unended),
        }
    emit(result, as_json, _print)


def _summary(store: Any, indexed: Any) -> dict[str, Any]:
    from vestigo_workers.runs.result import summarize

    return summarize(store, indexed)


def _together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs did, under the keys of one: the last run's id, the first status that is not the usual one, sums."""
    odd = [run["status"] for run in runs if run["status"] != "succeeded"]
    counted = ("inputs", "done", "empty", "quarantined", "skipped", "frame_failures", "crops", "tracklets", "seconds")
    sums = {name: sum(run[name] for run in runs) for name in counted}
    return {
        "run": runs[-1]["run"] if runs else None,
        "status": odd[0] if odd else "succeeded",
        **sums,
        "crops_per_second": sums["crops"] / sums["seconds"] if sums["seconds"] else 0.0,
    }


def _print(result: Mapping[str, Any]) -> None:
    for run in result["runs"]:
        print_run(run)
    told = {
        "not there any more, and left as they were": ", ".join(result["gone"]),
        "runs that have not ended, and were left alone": ", ".join(result["unended"]),
        "crops of other models that stay (vestigo search --model searches one version)": result["stale"],
    }
    for what, which in told.items():
        if which:
            out.print(f"{what}: {which}", style="yellow", markup=False)
    if not result["stale"]:
        out.print(f"all crops are of model {result['model'][:12]}")


def index_command(
    store: StoreOption,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Video files, folders of images and videos, tar or zip files, datasets. None with --reindex-stale for "
            "all that is in the store.",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Name of the camera; by default the file's or folder's.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="ISO8601", help="When the footage begins; UTC unless it says otherwise.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second looked at, of a video. Default: 5.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="default, a package folder, hub:ID, or a name or digest of `vestigo models list`. Default: the one "
            "that serves, else default."
        ),
    ] = None,
    detector: Annotated[str | None, typer.Option(help=f"{DETECTORS.usage}. Default: auto.")] = None,
    crops_per_tracklet: Annotated[int | None, typer.Option(help="Best crops kept a tracklet. Default: 8.")] = None,
    executor: Annotated[str | None, typer.Option(help="inline, ray or auto. Default: auto.")] = None,
    actors: Annotated[int | None, typer.Option(help="Ray actors; by default one a GPU share or CPU.")] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="Share of a GPU an actor is pinned to.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: auto.")] = None,
    shard_size: Annotated[int | None, typer.Option(help="Still images a shard. Default: 256.")] = None,
    slice_seconds: Annotated[float | None, typer.Option(help="Seconds of video a shard. Default: 30.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Crops a forward pass. Default: 32.")] = None,
    decode_threads: Annotated[
        int | None, typer.Option(help="Decoding threads a worker. Default: 2 beside a GPU, none of its own on a CPU.")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--dry-run", help="Plan only: shards, time, disk.")] = False,
    reindex_stale: Annotated[
        bool,
        typer.Option(
            "--reindex-stale",
            help="Replace rows made under another fingerprint; without SOURCES, of everything that other models made.",
        ),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with any of these settings.")] = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index an archive: people are detected, tracked, embedded and kept in the store.

    Indexing an unchanged archive again adds nothing; a run that was cut off goes on where it stopped.

    After another model was promoted, --reindex-stale without SOURCES repeats every run that left crops of other models
    with the one that serves, each with its own sources and settings; the old crops are there until the new ones are.

    Example: vestigo index footage/gate.mp4 --camera gate --start 2026-05-01T08:00:00 --store archive
    """
    from vestigo_models.errors import UsageError
    from vestigo_workers.indexing.request import build_request

    given = {
        "sources": tuple(sources) if sources else None,
        "camera": camera,
        "start": start,
        "fps": fps,
        "model": model,
        "detector": detector,
        "crops_per_tracklet": crops_per_tracklet,
        "executor": executor,
        "actors": actors,
        "gpus_per_actor": gpus_per_actor,
        "device": device,
        "shard_size": shard_size,
        "slice_seconds": slice_seconds,
        "batch_size": batch_size,
        "decode_threads": decode_threads,
    }
    if not sources:
        if not reindex_stale:
            raise UsageError("nothing to index: name a SOURCE, or give --reindex-stale for all that is in the store")
        told = {"config": config, "html": html, "dry_run": plan_only or None}
        reindex_store(store, {name: value for name, value in (given | told).items() if value is not None}, as_json)
        return
    request = build_request(given, config)
    from vestigo.store.open import Store
    from vestigo_workers.indexing.run import estimate_index, index

    with Store.open(store) as opened:
        if plan_only:
            with progress("reading") as report:
                emit(estimate_index(opened, request, report), as_json, print_estimate)
            return
        indexed = run_and_report(
            lambda stage: index(opened, request, stage, reindex_stale=reindex_stale), opened, as_json
        )
        if html is not None:
            write_sheet(opened, indexed.run.id, html)


def write_sheet(store: Any, run: str, html: Path) -> None:
    """Write the contact sheet of a run: who was seen, a row for each tracklet."""
    from vestigo.reports.contact_sheet import archive_page
    from vestigo_ui.cli.contact_sheet import read_strips

    strips, total = read_strips(store, run)
    html.write_text(archive_page(strips, {"Run": run, "Store": Path(store.ref).name}, total), encoding="utf-8")
    note(f"contact sheet: {html}")


def print_estimate(result: Mapping[str, Any]) -> None:
    """Print what a run would do, for people."""
    out.print(
        f"would index {result['inputs']} inputs in {result['shards']} shards; "
        f"{result['skipped']} are in the store already"
    )
    out.print(
        f"  about {result['seconds']:.0f} s on {result['workers']} x {result['device']} and at most "
        f"{result['disk_bytes'] / 1e6:.1f} MB, judged by {result['timed']} of {result['images']} images "
        f"and {result['frames']} frames"
    )
