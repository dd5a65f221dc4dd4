"""`vestigo label`: review in Label Studio: sample and push tasks, pull annotations."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option, Typer

from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.commands.label_sets import NO_COUNTS, export_command, import_command, sets_command
from vestigo_ui.cli.output import Output, command, err, make_table, note, out, print_without_time, program, progress

if TYPE_CHECKING:
    from vestigo.review.label_studio.pull import PullResult
    from vestigo.store.open import Store

app = Typer(help="Review in Label Studio: push tasks, pull annotations; labels as files.", no_args_is_help=True)
command(app, "export")(export_command)
command(app, "import")(import_command)
command(app, "sets")(sets_command)


@command(app, "push")
def push_command(
    *,
    store: opts.StoreOption,
    project: opts.ProjectOption,
    strategy: Annotated[
        str | None, Option(help=f"What is sampled first: {STRATEGIES.usage}.", show_default=DEFAULT_STRATEGY)
    ] = None,
    budget: Annotated[int, Option(help="Tasks to sample.")] = 200,
    unit: Annotated[
        Literal["tracklet", "crop"], Option(help="What a task is: tracklet (one annotation for all its crops) or crop.")
    ] = "tracklet",
    about: Annotated[
        str | None,
        Option(help="Attributes that the strategy uses, such as hat,gender; tasks ask for all. Default: all."),
    ] = None,
    reviewed: opts.ReviewedModel,
    seed: Annotated[int | None, Option(help="Of the sample. Default: another one for each batch.")] = None,
    another: Annotated[
        bool, Option("--another", help="Sample even if the last batch of the same sampling is not reviewed yet.")
    ] = False,
    images: Annotated[
        str, Option(help="Where images are served from: inline, local:ROOT or s3://BUCKET/PREFIX.")
    ] = "inline",
    part: opts.ArchivePart,
    chunk: Annotated[int, Option(min=1, help="Tasks per request.")] = 50,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the sample; nothing is stored or sent.")] = False,
    server: opts.LabelStudioServer,
    audit: opts.AuditOptions,
) -> Output:
    """Sample tasks and push them to Label Studio with the model's predictions.

    Every sample is stored with the inclusion probability of each task, so that `vestigo precision` is valid for the
    whole archive. The same command again completes an interrupted push; while its batch is not reviewed, it samples
    nothing.

    Example: vestigo label push --store archive --project spring --strategy mix --budget 200
    """
    from vestigo.retrieval.gallery import count_without_time
    from vestigo.review.sampling.sample import SamplingRequest, sample_tasks

    with opts.open_store(store) as opened:
        sampling = SamplingRequest(
            strategy=strategy or DEFAULT_STRATEGY,
            budget=budget,
            unit=unit,
            seed=seed,
            scope=part.scope(opened),
            about=tuple(name.strip() for name in about.split(",")) if about else (),
        )
        model = reviewed.resolve(opened)
        without_time = count_without_time(opened, model, sampling.scope)
        if dry_run:
            with progress("crops read") as read:
                sample = sample_tasks(opened, project, model, sampling, read)
            plan = {
                **NO_COUNTS,
                "project": project,
                "batch": None,
                "strategy": sampling.description,
                "tasks": len(sample.tasks),
                "population": len(sample.candidates.tasks),
                "thinned": sample.candidates.thinned,
                "dry_run": True,
                "without_time": without_time,
            }
            return Output(plan, _print_pushed)
        from vestigo.review.label_studio.images import open_image_storage
        from vestigo.review.label_studio.push import push_batch

        place = open_image_storage(images)
        with server.connect() as studio, progress("crops read") as read, progress("tasks sent") as sent:
            batch = push_batch(
                opened,
                studio,
                project,
                model,
                sampling,
                place,
                account=opts.login(),
                **vars(audit),
                another=another,
                chunk=chunk,
                read=read,
                sent=sent,
            )
    command = f"{program()} label pull --store {store} --project {project}"
    return Output({**NO_COUNTS, **asdict(batch), "without_time": without_time, "next": command}, _print_pushed)


@command(app, "pull")
def pull_command(store: opts.StoreOption, project: opts.ProjectOption, server: opts.LabelStudioServer) -> Output:
    """Pull new, edited and deleted annotations; afterwards the store's annotations equal the server's.

    Example: vestigo label pull --store archive --project spring
    """
    from vestigo.review.label_studio.pull import pull

    with opts.open_store(store) as opened:
        with server.connect() as studio, progress("tasks listed") as update:
            pulled = pull(opened, studio, project, update)
        return Output(_pulled(opened, project, pulled), _print_pulled)


@command(app, "watch")
def watch_command(
    *,
    store: opts.StoreOption,
    project: opts.ProjectOption,
    every: Annotated[float, Option(min=0.1, help="Seconds between two pulls.")] = 30.0,
    seconds: Annotated[float | None, Option(min=0, help="Stop after this time. Default: Ctrl-C.")] = None,
    until_reviewed: Annotated[int | None, Option(min=1, help="Stop when this number of tasks is reviewed.")] = None,
    server: opts.LabelStudioServer,
) -> Output:
    """Pull repeatedly. Ctrl-C stops; pulled annotations are kept.

    Example: vestigo label watch --store archive --project spring --every 30
    """
    from vestigo.review.label_studio.pull import watch

    end = None if seconds is None else time.monotonic() + seconds
    stop = threading.Event()
    last: dict[str, Any] = {}
    with opts.open_store(store) as opened, server.connect() as studio:
        pulls = watch(opened, studio, project, every=every, until=stop, on_error=lambda error: err.print(str(error)))
        try:
            for pulled in pulls:
                total = last.get("pulled", 0) + pulled.pulled
                last = _pulled(opened, project, pulled) | {"pulled": total}
                if pulled.pulled or pulled.deleted:
                    note(f"{last['reviewed']} of {last['tasks']} tasks reviewed, {last['corrections']} corrections")
                is_late = end is not None and time.monotonic() >= end
                if is_late or last["reviewed"] >= (until_reviewed or float("inf")):
                    stop.set()
        except KeyboardInterrupt:
            stop.set()
        return Output(last or _status(opened, project), _print_pulled)


@command(app, "status")
def status_command(store: opts.StoreOption, project: opts.ProjectOption) -> Output:
    """Print the progress of a review by attribute, annotator and batch; the server is not contacted.

    Example: vestigo label status --store archive --project spring
    """
    with opts.open_store(store) as opened:
        return Output(_status(opened, project), _print_status)


def _status(store: Store, project: str) -> dict[str, Any]:
    from vestigo.review.estimates.progress import review_status

    return {**NO_COUNTS, **review_status(store, project)}


def _pulled(store: Store, project: str, pulled: PullResult) -> dict[str, Any]:
    counts = {"pulled": pulled.pulled, "deleted_now": pulled.deleted, "skipped": len(pulled.skipped)}
    return {**_status(store, project), **counts, "not_of_the_form": pulled.skipped}


def _print_pushed(result: Mapping[str, Any]) -> None:
    print_without_time(result["without_time"])
    thinned = "" if result["thinned"] == 1 else f" (one in {round(1 / result['thinned'])} of the archive's)"
    population = f"{result['population']} tasks by {result['strategy']}{thinned}"
    if result.get("dry_run"):
        out.print(f"would sample {result['tasks']} of {population}")
        return
    if result["batch"] is None:
        out.print(f"project {result['project']}: every task is sampled already; nothing new to review")
        return
    state = "sampled now" if result["drawn"] else "still open, nothing was sampled (--another samples more)"
    out.print(f"batch {result['batch']} of project {result['project']}: {result['tasks']} tasks, {state}")
    out.print(f"  sampled from {population}")
    out.print(f"  {result['created']} sent now, {result['on_server']} of this project are on the server")
    out.print(f"  review them: {result['server']}/projects/{result['project_id']}/data")
    out.print(f"\nnext: {result['next']}")


def _print_pulled(result: Mapping[str, Any]) -> None:
    deleted = f", {result['deleted_now']} tasks deleted on the server" if result.get("deleted_now") else ""
    out.print(
        f"project {result['project']}: {result['reviewed']} of {result['tasks']} tasks reviewed, "
        f"{result['pulled']} annotations new or changed{deleted}"
    )
    out.print(f"  {result['corrections']} corrections of predictions, {result['conflicts']} conflicts of annotators")
    for line in result["conflicting"]:
        out.print(f"  conflict: {line}", style="yellow")
    lines = result.get("not_of_the_form", ())
    for line in lines[:10]:
        out.print(f"  skipped: {line}", style="yellow", markup=False)
    if lines[10:]:
        out.print(f"  and {len(lines) - 10} more annotations that do not fit the form; correct them in Label Studio")


def _print_status(result: Mapping[str, Any]) -> None:
    _print_pulled(result)
    if result["waiting"]:
        out.print(f"  {result['waiting']} sampled tasks are not on the server: run the push again", style="yellow")
    keys = ("answered", "corrected", "cannot_tell")
    rows = ((name, *(counts[key] for key in keys)) for name, counts in result["attributes"].items())
    out.print(make_table(("attribute", ">annotated", ">corrected", ">cannot tell"), rows))
    for annotator, count in result["reviewers"].items():
        out.print(f"  {annotator}: {count} tasks")
    if result["reviewer_error"] is not None:
        share = f"{100 * result['reviewer_error']:.1f} %"
        out.print(f"  estimated error of annotators, from tasks with several annotations: {share}")
