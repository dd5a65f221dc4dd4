"""What every command shares: results on standard output, everything else on standard error.

A command builds one result, a dict that `json.dumps` can write. `emit` prints it as JSON and nothing else when
`--json` was given, and otherwise hands it to the command's own rendering for people.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        envvar="VESTIGO_STORE",
        help="Store: a folder (made on first use) or a TOML file with 'database' and 'data'.",
        show_default=False,
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="Where the networks run: auto, cpu, cuda or cuda:N.")]
ModelOption = Annotated[str, typer.Option("--model", help="Model: default, a package folder, or hub:ID.")]
StoredModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Only crops of this model: default, a folder, hub:ID, or a name or digest of `vestigo models list`. "
        "Without it the one that serves, or the newest; crops of others beside it are refused.",
        show_default=False,
    ),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Also write a self-contained HTML page to this file.", show_default=False)
]


def emit(result: Mapping[str, Any], json_mode: bool, human: Callable[[Mapping[str, Any]], None]) -> None:
    """Print `result` as one JSON object, or let `human` render it for people."""
    if json_mode:
        sys.stdout.write(json.dumps(_plain(result), ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
    else:
        human(result)


def note(message: str) -> None:
    """Say something beside the result, on standard error."""
    err.print(message, style="dim", highlight=False, markup=False)


def _plain(value: Any) -> Any:
    """Return `value` as JSON types: NumPy scalars unwrapped, paths as text, numbers that do not exist as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


class _RateColumn(ProgressColumn):
    """Units a second since the task began."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "–/s", style="progress.data.speed")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with rate and time left on standard error; yields `update(done, total)`.

    Nothing is drawn where standard error is not a terminal.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=total)

        def update(done: int, total: int | None = None) -> None:
            if total is not None:
                bar.update(task, total=total)
            bar.update(task, completed=done)

        yield update


def run_and_report(work: Callable[..., Any], store: Any, as_json: bool) -> Any:
    """Run a job under progress bars and say how it ended; see `run_with_bars`."""
    from vestigo_workers.runs.result import summarize

    result = run_with_bars(work, store)
    emit(summarize(store, result), as_json, print_run)
    return result


def run_with_bars(work: Callable[..., Any], store: Any) -> Any:
    """Run a job under progress bars; Ctrl-C leaves one line that says how to go on."""
    with ExitStack() as bars:

        def stage(name: str) -> Callable[[int, int | None], None]:
            return bars.enter_context(progress(name))

        try:
            return work(stage)
        except KeyboardInterrupt:
            bars.close()
            unfinished = [run.id for run in store.runs.list() if run.status == "running"]
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
