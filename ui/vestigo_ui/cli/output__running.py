"""What every command that drives a run shares: progress bars, Ctrl-C, and how it is told how the run ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import typer

from vestigo_ui.cli.output import emit, err, note, out, progress


def run_and_report(work: Callable[..., Any], store: Any, as_json: bool) -> Any:
    """Run a job under progress bars and say how it ended; see `run_with_bars`."""
    from vestigo_workers.runs.resume import summary

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


def print_run(result: Mapping[str, Any]) -> None:
    """Print how a run ended, for people."""
    out.print(f"run [bold]{result['run']}[/bold]: {result['status']}")
    if result["error"]:
        out.print(f"  {result['error']}", style="red", markup=False)
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
