"""`vestigo label`: review in Label Studio: sample and push tasks, pull annotations; labels as versions and files."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option, Typer

from vestigo.resolve import require_attributes
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import (
    Output,
    command,
    command_line,
    err,
    make_table,
    note,
    out,
    print_without_time,
    progress,
)

if TYPE_CHECKING:
    from vestigo.review.label_studio.pull import PullResult
    from vestigo.store.open import Store
    from vestigo.store.review.records import LabelSet
    from vestigo_models.schemas.attributes import AttributeSchema

app = Typer(help="Review in Label Studio: push tasks, pull annotations; labels as files.", no_args_is_help=True)
NO_COUNTS = {"created": 0, "pulled": 0, "corrections": 0, "conflicts": 0}
"""The counts of the contract for commands that have none of their own."""


@command(app, "export")
def export_command(
    *,
    store: opts.OpenStore,
    path: Annotated[Path, Option("--out", "-o", help="File to write: .csv, or .mat for the Market-1501 structure.")],
    project: opts.ProjectsOption = None,
    version: Annotated[
        int | None, Option(help="A label set. Default: a new one of the labels that are agreed now.")
    ] = None,
    schema: opts.SchemaOption = None,
    audit: opts.AuditOptions,
) -> Output:
    """Write a label set to a file; labels that are agreed now become a new label set.

    In a .mat file labels are those of identities: the dataset's, or the numbers that `vestigo store export` gives.
    The export is written to the audit log before the file.

    Example: vestigo label export --store archive --out labels.csv
    """
    from vestigo.datasets.attributes_mat import write_annotations
    from vestigo.review.labels.files import identity_labels, write_csv
    from vestigo.review.labels.sets import read_label_set, save_label_set

    if path.suffix not in (".csv", ".mat"):
        raise UsageError(f"--out {path}: write a .csv or a .mat file")
    label_set = save_label_set(store, project) if version is None else store.label_sets.load(version)[0]
    if schema is not None:
        _check_projects(store, label_set, schema)
    attributes = None if path.suffix == ".csv" else _shared_schema(store, label_set)
    details = {
        "what": "labels",
        "to_file": str(path.absolute()),
        "label_set": label_set.version,
        "digest": label_set.digest,
        "labels": label_set.labels,
        "projects": list(label_set.projects),
    }
    audit.record(store, "export", details)
    if attributes is None:
        count = write_csv(read_label_set(store, label_set), path)
    else:
        crops = {crop for row in read_label_set(store, label_set) for crop in row["crops"]}
        labels = identity_labels(read_label_set(store, label_set), store.person_numbers(crops), attributes)
        write_annotations(path, {"train": labels, "test": labels})
        count = int((labels.labels >= 0).sum())
    written = f"{path}: {count} labels of {label_set.tasks} tasks"
    line = f"{written}, label set {label_set.version} ({label_set.digest[:12]})"
    return Output({**asdict(label_set), "file": path, "written": count, **NO_COUNTS}, line)


@command(app, "import")
def import_command(
    store: opts.OpenStore,
    path: Annotated[Path, Argument(help="File of `vestigo label export`, or a .mat annotation of identities.")],
    project: opts.ProjectOption,
    reviewed: opts.ReviewedModel,
) -> Output:
    """Read labels from a file into a project of its own; existing labels of the same crops are replaced.

    Example: vestigo label import labels.csv --store archive --project from-files
    """
    from vestigo.datasets.attributes_mat import read_annotations
    from vestigo.review.labels.files import group_label_rows, import_labels, match_identity_labels, read_csv

    if path.suffix not in (".csv", ".mat"):
        raise UsageError(f"{path}: give a .csv or a .mat file")
    labelled = reviewed.resolve(store)
    attributes = require_attributes(labelled)
    if path.suffix == ".csv":
        labels = group_label_rows(read_csv(path, attributes), path.name)
    else:
        splits = [read_annotations(path, attributes, split) for split in ("train", "test")]
        labels = list(match_identity_labels(store, labelled, splits, path.name))
    imported = import_labels(store, project, labelled, labels, str(path))
    result = {
        **NO_COUNTS,
        "project": project,
        "tasks": imported.tasks,
        "created": imported.created,
        "pulled": imported.labels,
        "unknown_crops": imported.unknown,
    }
    shown = f"project {project}: {imported.labels} labels of {imported.tasks} tasks, {imported.created} of them new"
    if imported.unknown:
        shown += f"\n  {imported.unknown} crops of the file are not in the store and were skipped"
    return Output(result, shown)


@command(app, "sets")
def sets_command(store: opts.OpenStore) -> Output:
    """List the label sets, oldest first.

    Example: vestigo label sets --store archive
    """
    sets = store.label_sets.list()
    rows = []
    for row in sets:
        created, projects = f"{row.created:%Y-%m-%d %H:%M}", ", ".join(row.projects)
        rows.append((row.version, created, row.labels, row.tasks, row.digest[:12], projects))
    table = make_table((">version", "created", ">labels", ">tasks", "digest", "~projects"), rows)
    return Output({"sets": list(map(asdict, sets))}, table)


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
    command = command_line("label", "pull", "--store", store, "--project", project)
    return Output({**NO_COUNTS, **asdict(batch), "without_time": without_time, "next": command}, _print_pushed)


@command(app, "pull")
def pull_command(store: opts.OpenStore, project: opts.ProjectOption, server: opts.LabelStudioServer) -> Output:
    """Pull new, edited and deleted annotations; afterwards the store's annotations equal the server's.

    Example: vestigo label pull --store archive --project spring
    """
    from vestigo.review.label_studio.pull import pull

    with server.connect() as studio, progress("tasks listed") as update:
        pulled = pull(store, studio, project, update)
    return Output(_pulled(store, project, pulled), _print_pulled)


@command(app, "watch")
def watch_command(
    *,
    store: opts.OpenStore,
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
    with server.connect() as studio:
        pulls = watch(store, studio, project, every=every, until=stop, on_error=lambda error: err.print(str(error)))
        try:
            for pulled in pulls:
                total = last.get("pulled", 0) + pulled.pulled
                last = _pulled(store, project, pulled) | {"pulled": total}
                if pulled.pulled or pulled.deleted:
                    note(f"{last['reviewed']} of {last['tasks']} tasks reviewed, {last['corrections']} corrections")
                is_late = end is not None and time.monotonic() >= end
                if is_late or last["reviewed"] >= (until_reviewed or float("inf")):
                    stop.set()
        except KeyboardInterrupt:
            stop.set()
        return Output(last or _status(store, project), _print_pulled)


@command(app, "status")
def status_command(store: opts.OpenStore, project: opts.ProjectOption) -> Output:
    """Print the progress of a review by attribute, annotator and batch; the server is not contacted.

    Example: vestigo label status --store archive --project spring
    """
    return Output(_status(store, project), _print_status)


def _status(store: Store, project: str) -> dict[str, Any]:
    from vestigo.review.estimates.progress import review_status

    return {**NO_COUNTS, **review_status(store, project)}


def _pulled(store: Store, project: str, pulled: PullResult) -> dict[str, Any]:
    counts = {"pulled": pulled.pulled, "deleted_now": pulled.deleted, "skipped": len(pulled.skipped)}
    return {**_status(store, project), **counts, "not_of_the_form": pulled.skipped}


def _shared_schema(store: Store, label_set: LabelSet) -> AttributeSchema:
    """Return the attribute schema of a label set's projects; raise UsageError if they have several."""
    schemas = {name: store.review.get_project(name).schema for name in label_set.projects}
    first = next(iter(schemas.values()))
    if others := [name for name, schema in schemas.items() if schema != first]:
        raise UsageError(
            f"projects {label_set.projects[0]} and {others[0]} have different attributes: select with --project"
        )
    return first


def _check_projects(store: Store, label_set: LabelSet, reference: str) -> None:
    """Check that the projects of a label set have the attributes of `--schema`; raise UsageError otherwise."""
    schema = opts.read_schema(reference)
    for name in label_set.projects:
        actual = store.review.get_project(name).schema
        if schema is not None and actual.digest != schema.digest:
            raise UsageError(
                f"--schema {reference} names the attributes of {schema.name}, but project {name} has those of "
                f"{actual.name}; leave --schema out or select with --project"
            )


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
