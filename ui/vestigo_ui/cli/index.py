"""`vestigo index`: a camera archive goes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from vestigo_ui.cli.console import HtmlOption, JsonOption, StoreOption, emit, err, note, out, progress


def index_command(
    sources: Annotated[
        list[str], typer.Argument(help="Video files, folders of images and videos, tar or zip files, datasets.")
    ],
    store: StoreOption,
    camera: Annotated[str | None, typer.Option(help="Name of the camera; by default the file's or folder's.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="ISO8601", help="When the footage begins; UTC unless it says otherwise.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second looked at, of a video. Default: 5.")] = None,
    model: Annotated[str | None, typer.Option(help="default, a package folder or hub:ID. Default: default.")] = None,
    detector: Annotated[str | None, typer.Option(help="auto, none, hog or hf:FOLDER_OR_ID. Default: auto.")] = None,
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
        bool, typer.Option("--reindex-stale", help="Replace rows made under another fingerprint.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file with any of these settings.")] = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index an archive: people are detected, tracked, embedded and kept in the store.

    Indexing an unchanged archive again adds nothing; a run that was cut off goes on where it stopped.

    Example: vestigo index footage/gate.mp4 --camera gate --start 2026-05-01T08:00:00 --store archive
    """
    from vestigo_workers.request import build_request

    given = {
        "sources": tuple(sources),
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
    request = build_request(given, config)
    from vestigo.store import Store
    from vestigo_workers.dry_run import dry_run
    from vestigo_workers.index import index

    with Store.open(store) as opened:
        if plan_only:
            with progress("reading") as report:
                emit(dry_run(opened, request, report), as_json, print_estimate)
            return
        indexed = run_and_report(
            lambda stage: index(opened, request, stage, reindex_stale=reindex_stale), opened, as_json
        )
        if html is not None:
            write_sheet(opened, indexed.ended.run.id, html)


def run_and_report(work: Callable[..., Any], store: Any, as_json: bool) -> Any:
    """Run a job under progress bars and say how it ended; see `run_with_bars`."""
    from vestigo_workers.resuming import summary

    indexed = run_with_bars(work, store)
    emit(summary(store, indexed), as_json, print_run)
    return indexed


def run_with_bars(work: Callable[..., Any], store: Any) -> Any:
    """Run a job under progress bars; Ctrl-C leaves one line that says how to go on."""
    with ExitStack() as bars:

        def stage(name: str) -> Callable[[int, int | None], None]:
            return bars.enter_context(progress(name))

        try:
            return work(stage)
        except KeyboardInterrupt:
            bars.close()
            unfinished = [run.id for run in store.runs() if run.status == "running"]
            hint = f"vestigo runs resume {unfinished[-1]}" if unfinished else "the same command again"
            err.print(f"vestigo: interrupted; what was committed is kept. To go on: {hint}", markup=False)
            raise typer.Exit(130) from None


def write_sheet(store: Any, run: str, html: Path) -> None:
    """Write the contact sheet of a run: who was seen, a row for each tracklet."""
    from vestigo.reports import archive_page
    from vestigo_ui.cli.sheet import read_strips

    strips, total = read_strips(store, run)
    html.write_text(archive_page(strips, {"Run": run, "Store": Path(store.ref).name}, total), encoding="utf-8")
    note(f"contact sheet: {html}")


def print_run(result: Mapping[str, Any]) -> None:
    """Print how a run ended, for people."""
    out.print(f"run [bold]{result['run']}[/bold]: {result['status']}")
    parts = [f"{result[key]} {key}" for key in ("done", "empty", "quarantined", "skipped", "pending") if result[key]]
    out.print(f"  {result['inputs']} inputs: {', '.join(parts) or 'nothing to do'}")
    out.print(f"  {made(result)}")
    if result["frame_failures"]:
        out.print(f"  {result['frame_failures']} frames could not be read")
    for failure in result["failures"][:10]:
        place = failure["input"] if failure["frame"] is None else f"{failure['input']} frame {failure['frame']}"
        out.print(f"  left out: {place}: {failure['reason']}: {failure['detail']}", style="yellow", markup=False)
    if result["empty_inputs"]:
        more = f" and {result['empty'] - 5} more" if result["empty"] > 5 else ""
        out.print(f"  nobody in: {', '.join(result['empty_inputs'][:5])}{more}", markup=False)
    if len(result["failures"]) > 10:
        note(f"  and more: vestigo runs show {result['run']}")


def made(result: Mapping[str, Any]) -> str:
    """Say what a run made and how fast, by its kind."""
    if result["kind"] == "regions":
        return (
            f"{result['images']} label maps, {result['with_belongings']} with belongings, {result['seconds']:.1f} s, "
            f"{result['images_per_second']:.1f} images/s"
        )
    return (
        f"{result['crops']} crops in {result['tracklets']} tracklets, {result['seconds']:.1f} s, "
        f"{result['crops_per_second']:.1f} crops/s"
    )


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
