"""Output of commands: results on standard output, progress and notes on standard error.

A command returns its result, a dict that `json.dumps` can write, and what is printed of it. `command` adds the option
`--json`, with which the result is printed as JSON and nothing else.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.table import Table
from rich.text import Text

from vestigo_models.errors import StoreError
from vestigo_models.names import JSON_CONTROLS, escape_controls
from vestigo_models.private_files import create_private
from vestigo_models.progress import OpenProgress, ProgressCallback
from vestigo_ui.cli.options import OpenStore, open_store

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo_workers.runs.result import RunResult

Value = TypeVar("Value")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


class _EscapedControls(RenderHook):
    """Escapes control characters in everything that a console prints; styles of the program's own remain."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(renderable) for renderable in renderables]


class _Escaped:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.renderable, options):
            yield segment if segment.control else segment._replace(text=escape_controls(segment.text))


def _make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: names are data, neither markup, emoji codes nor escape codes."""
    console = Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False)
    console.push_render_hook(_EscapedControls())
    return console


out = _make_console()
err = _make_console(stderr=True)


class Output(NamedTuple):
    """What a command returns: the JSON, a text or table that shows it (or a function that prints it), and an error.

    The error is raised after the result is printed.
    """

    result: Mapping[str, Any]
    shown: RenderableType | Callable[[Mapping[str, Any]], None]
    error: Exception | None = None


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., Output]], Callable[..., Output]]:
    """Add a function to an application as a command with the option `--json`.

    A parameter of the type `OpenStore` is the store of `--store`, which is open while the function runs. A parameter
    whose type is a dataclass stands for the options that are the dataclass's fields. A function with the parameter
    `as_json` receives the value of the option.
    """

    def add(function: Callable[..., Output]) -> Callable[..., Output]:
        accepted = signature(function, eval_str=True).parameters
        groups: dict[str, Any] = {}
        options: dict[str, Parameter] = {}
        for parameter in accepted.values():
            if is_dataclass(parameter.annotation):
                groups[parameter.name] = parameter.annotation
                options |= signature(groups[parameter.name], eval_str=True).parameters
            else:
                options[parameter.name] = parameter.replace(kind=Parameter.KEYWORD_ONLY)
        opens_store = "store" in accepted and accepted["store"].annotation is OpenStore
        options["as_json"] = Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)

        @wraps(function)
        def run(as_json: bool, **values: Any) -> None:
            for group, options_type in groups.items():
                values[group] = options_type(**{field.name: values.pop(field.name) for field in fields(options_type)})
            if "as_json" in accepted:
                values["as_json"] = as_json
            with ExitStack() as stack:
                if opens_store:
                    values["store"] = stack.enter_context(open_store(values["store"]))
                output = function(**values)
            if as_json:
                sys.stdout.write(json_text(output.result) + "\n")
                sys.stdout.flush()
            elif callable(output.shown):
                output.shown(output.result)
            else:
                out.print(output.shown)
            if output.error is not None:
                raise output.error

        run.__signature__ = Signature(list(options.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {option.name: option.annotation for option in options.values()}
        app.command(name)(run)
        return function

    return add


def print_line(text: str, style: str | None = None) -> None:
    """Print one line on standard output; names in it do not begin another one."""
    out.print(escape_controls(text, one_line=True), style=style)


def note(message: str) -> None:
    """Print a line on standard error."""
    err.print(message, style="dim", highlight=False)


def json_text(result: Mapping[str, Any]) -> str:
    """Return a result as JSON without control characters, which are in strings only."""
    text = json.dumps(json_types(result), ensure_ascii=False, allow_nan=False)
    return text.translate(JSON_CONTROLS)


def json_types(value: Any) -> Any:
    """Return a value as JSON types: NumPy values unwrapped, paths as text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    if hasattr(value, "tolist"):
        return json_types(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def make_table(columns: Iterable[str], rows: Iterable[Iterable[object]], **settings: Any) -> Table:
    """Return a plain table.

    Args:
        columns: Names of the columns; `>` before a name aligns it right, `~` lets its text continue on the next line.
        rows: Cells of each row, which are written as they are, without markup.
        settings: Settings of `rich.table.Table`.
    """
    table = Table(**{"box": None, "pad_edge": False, "header_style": "dim", **settings})
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        is_wrapped = name.startswith((">", "~"))
        table.add_column(name.lstrip(">~"), justify=justify, no_wrap=not is_wrapped, overflow="fold")
    for row in rows:
        texts = (cell if isinstance(cell, Text) else escape_controls(str(cell), one_line=True) for cell in row)
        table.add_row(*(Text(text) if isinstance(text, str) else text for text in texts))
    return table


def number_text(value: float | None) -> str:
    """Return a number with one decimal, a dash for None."""
    return "–" if value is None else f"{value:.1f}"


def print_without_time(count: int) -> None:
    """Print how many crops a time range left out because they have no time."""
    from vestigo.retrieval.gallery import without_time_note

    if count:
        out.print(without_time_note(count), style="yellow")


def print_skipped(counts: Mapping[str, int], label: str = "  skipped") -> None:
    """Print counts by reason."""
    for reason, count in counts.items():
        out.print(f"{label}: {count} x {reason}", style="yellow")


def write_page(path: Path, text: str) -> None:
    """Write an HTML page, which shows pictures of people, for its owner only."""
    with create_private(path, "w") as file:
        file.write(text)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[ProgressCallback]:
    """Show a progress bar on standard error if it is a terminal; yield the callback that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

    class RateColumn(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "–/s", style="progress.data.speed")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(""),
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


@contextmanager
def progress_stages() -> Iterator[OpenProgress]:
    """Yield a function that shows the progress bar of a stage, the same one for the same name; all close at the end."""
    with ExitStack() as bars:
        yield cache(lambda name: bars.enter_context(progress(name)))


def run_with_bars(store: Store, work: Callable[[OpenProgress], Value]) -> Value:
    """Call `work` under progress bars; after Ctrl-C, state how to continue and exit with status 130."""
    try:
        with progress_stages() as open_progress:
            result = work(open_progress)
            refresh_indexes(store, open_progress)
            return result
    except KeyboardInterrupt:
        unfinished = [run.id for run in store.runs.list() if run.status == "running"]
        hint = "the same command again"
        if unfinished:
            hint = command_line("runs", "resume", unfinished[-1], "--store", store.ref)
        err.print(f"vestigo: interrupted; committed work is kept. To continue: {hint}")
        raise typer.Exit(130) from None


def refresh_indexes(store: Store, open_progress: OpenProgress) -> None:
    """Bring what searches and the screen read up to date, if it is in the store's folder, so that they do not wait."""
    from vestigo.resolve import resolve_search_model
    from vestigo.retrieval.gallery import Gallery
    from vestigo.sightings.index import BrowseIndex

    if not Path(store.ref).is_dir() or not store.models.with_crops():
        return
    try:
        Gallery.of(store, resolve_search_model(store), open_progress)
        with BrowseIndex.open(store) as index:
            index.refresh(open_progress("screen"))
    except StoreError as error:
        note(f"searches and the screen will read the new crops first: {error}")


def run_output(store: Store, result: RunResult) -> Output:
    """Return the output of a command that executed or shows a run."""
    from vestigo_workers.runs.result import summarize

    return Output(summarize(store, result), partial(print_run, store=store.ref))


def program() -> str:
    """Return what to type for this program: `vestigo`, or its path if the shell finds another one or none."""
    own = Path(sys.executable).with_name("vestigo")
    known = shutil.which("vestigo")
    if not own.exists() or (known is not None and Path(known).resolve() == own.resolve()):
        return "vestigo"
    return shlex.quote(os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own))


def command_line(*words: object) -> str:
    """Return a command of this program as a shell takes it."""
    return f"{program()} {shlex.join(map(str, words))}"


def print_run(result: Mapping[str, Any], *, store: str, listed: int | None = 10) -> None:
    """Print the result of a run of a store, with at most `listed` names of each list; all if it is None."""
    out.print(f"run {result['run']}: {result['status']}", style="bold")
    if result["error"]:
        print_line(f"  {result['error']}", style="red")
    parts = [f"{result[key]} {key}" for key in ("done", "empty", "quarantined", "skipped", "pending") if result[key]]
    if passed := sum(result["passed_over"].values()):
        parts.append(f"{passed} passed over")
    out.print(f"  {result['inputs']} inputs: {', '.join(parts) or 'nothing to do'}")
    if result["kind"] == "regions":
        out.print(
            f"  {result['images']} label maps, {result['with_belongings']} with belongings, "
            f"{result['seconds']:.1f} s, {result['images_per_second']:.1f} images/s"
        )
    else:
        out.print(
            f"  {result['crops']} crops in {result['tracklets']} tracklets, {result['seconds']:.1f} s, "
            f"{result['crops_per_second']:.1f} crops/s"
        )
    if passed:
        kinds = ", ".join(f"{kind} {count}" for kind, count in result["passed_over"].items())
        files = "1 file was" if passed == 1 else f"{passed} files were"
        print_line(f"  {files} passed over, by kind: {kinds}", style="yellow")
    if result["frame_failures"]:
        out.print(f"  {result['frame_failures']} frames could not be read, or are damaged")
    for failure in result["failures"][:listed]:
        state = "quarantined" if failure["frame"] is None else "failed frame"
        print_line(f"  {state}: {failure['input']}: {failure['reason']}: {failure['detail']}", style="yellow")
    if names := result["empty_inputs"]:
        more = f" and {result['empty'] - listed} more" if listed and result["empty"] > listed else ""
        print_line(f"  without people: {', '.join(names[:listed])}{more}")
    if names := result["videos_without_times"]:
        more = " and more" if listed and len(names) > listed else ""
        print_line(f"  times by frame number and rate, as the file has none: {', '.join(names[:listed])}{more}")
    if listed and (count := result["quarantined"] + result["frame_failures"] - listed) > 0:
        note(f"  and {count} more: {command_line('runs', 'show', result['run'], '--store', store)}")
