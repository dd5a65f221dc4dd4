"""`vestigo label`: what is worth a reviewer's time goes out to Label Studio, what they say comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES
from vestigo_ui.cli.commands import label_sets as label_files
from vestigo_ui.cli.options import (
    AuthorityOption,
    CamerasOption,
    CaseOption,
    FromOption,
    PatienceOption,
    ProjectOption,
    SchemaOption,
    TokenFileOption,
    ToOption,
    UrlOption,
    check_stored_schema,
    connect,
    login,
    read_scope,
)
from vestigo_ui.cli.output import JsonOption, StoredModelOption, StoreOption, emit, err, note, out, progress

if TYPE_CHECKING:
    from vestigo.store.open import Store


def print_pushed(result: Mapping[str, Any]) -> None:
    """Print what a push did, or would do."""
    if result.get("dry_run"):
        out.print(
            f"would draw {result['tasks']} of {result['population']} tasks by {result['strategy']}{_thinned(result)}"
        )
        return
    if result["batch"] is None:
        out.print(
            f"project {result['project']}: every task has been drawn already; nothing new to review", markup=False
        )
        return
    how = "drawn now" if result["drawn"] else "still open, nothing was drawn (--another draws more)"
    out.print(f"batch {result['batch']} of project {result['project']}: {result['tasks']} tasks, {how}", markup=False)
    out.print(f"  by {result['strategy']}, out of {result['population']} tasks{_thinned(result)}")
    out.print(f"  {result['created']} sent now, {result['on_server']} of this project are on the server")
    out.print(f"  review them: {result['server']}/projects/{result['project_id']}/data", markup=False)
    out.print(f"\nnext: {result['next']}", markup=False)


def print_pulled(result: Mapping[str, Any]) -> None:
    """Print what a pull found."""
    gone = result.get("deleted_now", 0)
    out.print(
        f"project {result['project']}: {result['reviewed']} of {result['tasks']} tasks reviewed, "
        f"{result['pulled']} answers new or changed" + (f", {gone} tasks deleted on the server" if gone else ""),
        markup=False,
    )
    out.print(
        f"  {result['corrections']} corrections of what the model said, {result['conflicts']} conflicts of reviewers"
    )
    for line in result["conflicting"]:
        out.print(f"  conflict: {line}", style="yellow", markup=False)


def print_status(result: Mapping[str, Any]) -> None:
    """Print how far a review is."""
    print_pulled(result)
    if result["waiting"]:
        out.print(f"  {result['waiting']} tasks are drawn and not on the server: run the push again", style="yellow")
    table = Table(box=None)
    table.add_column("attribute")
    for name in ("answered", "corrected", "cannot tell"):
        table.add_column(name, justify="right")
    for name, counts in result["attributes"].items():
        table.add_row(name, *(str(counts[key]) for key in ("answered", "corrected", "cannot_tell")))
    out.print(table)
    for reviewer, count in result["reviewers"].items():
        out.print(f"  {reviewer}: {count} tasks", markup=False)
    if result["reviewer_error"] is not None:
        share = f"{100 * result['reviewer_error']:.1f} %"
        out.print(f"  tasks that several answered suggest that {share} of answers are wrong")


def _thinned(result: Mapping[str, Any]) -> str:
    return "" if result["thinned"] == 1 else f" (one in {round(1 / result['thinned'])} of the archive's)"


app = typer.Typer(help="Review in Label Studio: push what is worth a look, pull what was said.", no_args_is_help=True)
app.command("export")(label_files.export_command)
app.command("import")(label_files.import_command)
app.command("sets")(label_files.sets_command)


@app.command("push")
def push_command(
    store: StoreOption,
    project: ProjectOption,
    strategy: Annotated[
        str | None,
        typer.Option(help=f"What is sampled first: {STRATEGIES.usage}.", show_default=DEFAULT_STRATEGY),
    ] = None,
    budget: Annotated[int, typer.Option(help="Tasks to draw.")] = 200,
    unit: Annotated[
        str, typer.Option(help="What a task is: tracklet (one decision for all its crops) or crop.")
    ] = "tracklet",
    about: Annotated[
        str | None,
        typer.Option(
            help="Attributes that the strategy goes by, as in hat,gender; reviewers see all. Default: all.",
            show_default=False,
        ),
    ] = None,
    model: StoredModelOption = None,
    schema: SchemaOption = None,
    seed: Annotated[
        int | None, typer.Option(help="Fixes the draw. Default: another one for each batch.", show_default=False)
    ] = None,
    another: Annotated[
        bool, typer.Option("--another", help="Draw although the last batch drawn like this still waits for reviewers.")
    ] = False,
    images: Annotated[
        str, typer.Option(help="Where pictures lie: inline, local:ROOT or s3://BUCKET/PREFIX.")
    ] = "inline",
    cameras: CamerasOption = None,
    since: FromOption = None,
    until: ToOption = None,
    chunk: Annotated[int, typer.Option(min=1, help="Tasks a request.")] = 50,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be drawn; nothing is kept or sent.")
    ] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    patience: PatienceOption = 60.0,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw tasks and bring them to Label Studio, with what the model says of them.

    Every draw is recorded with the probability of each task, so that `vestigo precision` speaks for the whole archive.
    The same command again finishes what was interrupted; while its batch still waits for reviewers it draws nothing.

    Example: vestigo label push --store archive --project spring --strategy mix --budget 200
    """
    from vestigo.resolve import resolve_review_model
    from vestigo.review.sampling.sample import SamplingRequest
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    if unit not in ("tracklet", "crop"):
        raise UsageError(f"unit {unit!r} is not tracklet or crop")
    wish = SamplingRequest(
        strategy=strategy or DEFAULT_STRATEGY,
        budget=budget,
        unit="tracklet" if unit == "tracklet" else "crop",
        seed=seed,
        scope=read_scope(cameras, since, until),
        about=tuple(name.strip() for name in about.split(",")) if about else (),
    )
    with Store.open(store, create=False) as opened:
        check_stored_schema(schema, lambda: resolve_review_model(opened, model))
        if dry_run:
            emit(_foreseen(opened, project, model, wish), as_json, print_pushed)
            return
        from vestigo.review.label_studio.images import open_image_storage
        from vestigo.review.label_studio.push import push_batch

        place = open_image_storage(images)
        with (
            connect(url, token_file, patience) as studio,
            progress("crops read") as read,
            progress("tasks sent") as sent,
        ):
            result = push_batch(
                opened,
                studio,
                project,
                resolve_review_model(opened, model),
                wish,
                place,
                account=login(),
                case=case,
                authority=authority,
                another=another,
                chunk=chunk,
                read=read,
                sent=sent,
            )
    emit(
        {
            **label_files.NOTHING_MOVED,
            **asdict(result),
            "next": f"vestigo label pull --store {store} --project {project}",
        },
        as_json,
        print_pushed,
    )


@app.command("pull")
def pull_command(
    store: StoreOption,
    project: ProjectOption,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    patience: PatienceOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Fetch what reviewers said: new, edited and deleted answers. The store ends as the server is.

    Example: vestigo label pull --store archive --project spring
    """
    from vestigo.review.label_studio.pull import pull
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        with connect(url, token_file, patience) as studio, progress("tasks listed") as update:
            found = pull(opened, studio, project, update)
        emit(_pulled(opened, project, found), as_json, print_pulled)


@app.command("watch")
def watch_command(
    store: StoreOption,
    project: ProjectOption,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the server.")] = 30.0,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long. Default: Ctrl-C.", show_default=False)
    ] = None,
    until_reviewed: Annotated[
        int | None, typer.Option(min=1, help="Stop once so many tasks are reviewed.", show_default=False)
    ] = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    patience: PatienceOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Pull again and again, until it is enough. Ctrl-C stops; what was pulled is kept.

    Example: vestigo label watch --store archive --project spring --every 30
    """
    from vestigo.review.label_studio.pull import watch
    from vestigo.store.open import Store

    end = None if seconds is None else time.monotonic() + seconds
    stop = threading.Event()
    last: dict[str, Any] = {}
    with Store.open(store, create=False) as opened, connect(url, token_file, patience) as studio:
        looks = watch(
            opened, studio, project, every=every, until=stop, on_error=lambda error: err.print(str(error), markup=False)
        )
        try:
            for found in looks:
                pulled = last.get("pulled", 0) + found.pulled
                last = _pulled(opened, project, found) | {"pulled": pulled}
                if found.pulled or found.deleted:
                    note(f"{last['reviewed']} of {last['tasks']} tasks reviewed, {last['corrections']} corrections")
                if (end is not None and time.monotonic() >= end) or last["reviewed"] >= (
                    until_reviewed or float("inf")
                ):
                    stop.set()
        except KeyboardInterrupt:
            stop.set()
        emit(last or _status(opened, project), as_json, print_pulled)


@app.command("status")
def status_command(store: StoreOption, project: ProjectOption, as_json: JsonOption = False) -> None:
    """Say how far a review is, by attribute, reviewer and batch; the server is not asked.

    Example: vestigo label status --store archive --project spring
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        emit(_status(opened, project), as_json, print_status)


def _status(store: Store, project: str) -> dict[str, Any]:
    from vestigo.review.estimates.progress import review_status

    return {**label_files.NOTHING_MOVED, **review_status(store, project)}


def _pulled(store: Store, project: str, found: Any) -> dict[str, Any]:
    return {**_status(store, project), "pulled": found.pulled, "deleted_now": found.deleted}


def _foreseen(store: Store, project: str, model: str | None, wish: Any) -> dict[str, Any]:
    from vestigo.resolve import resolve_review_model
    from vestigo.review.sampling.sample import sample_tasks

    with progress("crops read") as read:
        found = sample_tasks(store, project, resolve_review_model(store, model), wish, read)
    return {
        "project": project,
        "batch": None,
        "strategy": wish.description,
        "tasks": len(found.tasks),
        **label_files.NOTHING_MOVED,
        "population": len(found.candidates.tasks),
        "thinned": found.candidates.thinned,
        "dry_run": True,
    }
