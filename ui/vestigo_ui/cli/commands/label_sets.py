"""`vestigo label export`, `import` and `sets`: agreed labels as versions and as files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from vestigo.resolve import require_attributes
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, make_table

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo.store.review.records import LabelSet
    from vestigo_models.schemas.attributes import AttributeSchema

NO_COUNTS = {"created": 0, "pulled": 0, "corrections": 0, "conflicts": 0}
"""The counts of the contract for commands that have none of their own."""


def export_command(
    *,
    store: opts.StoreOption,
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
    with opts.open_store(store) as opened:
        label_set = save_label_set(opened, project) if version is None else opened.label_sets.load(version)[0]
        if schema is not None:
            _check_projects(opened, label_set, schema)
        details = {
            "what": "labels",
            "to_file": str(path.absolute()),
            "label_set": label_set.version,
            "digest": label_set.digest,
            "labels": label_set.labels,
            "projects": list(label_set.projects),
        }
        audit.record(opened, "export", details)
        if path.suffix == ".csv":
            count = write_csv(read_label_set(opened, label_set), path)
        else:
            attributes = _shared_schema(opened, label_set)
            crops = {crop for row in read_label_set(opened, label_set) for crop in row["crops"]}
            labels = identity_labels(read_label_set(opened, label_set), opened.person_numbers(crops), attributes)
            write_annotations(path, {"train": labels, "test": labels})
            count = int((labels.labels >= 0).sum())
    written = f"{path}: {count} labels of {label_set.tasks} tasks"
    line = f"{written}, label set {label_set.version} ({label_set.digest[:12]})"
    return Output({**asdict(label_set), "file": path, "written": count, **NO_COUNTS}, line)


def import_command(
    store: opts.StoreOption,
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
    with opts.open_store(store) as opened:
        labelled = reviewed.resolve(opened)
        attributes = require_attributes(labelled)
        if path.suffix == ".csv":
            labels = group_label_rows(read_csv(path, attributes), path.name)
        else:
            splits = [read_annotations(path, attributes, split) for split in ("train", "test")]
            labels = list(match_identity_labels(opened, labelled, splits, path.name))
        imported = import_labels(opened, project, labelled, labels, str(path))
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


def sets_command(store: opts.StoreOption) -> Output:
    """List the label sets, oldest first.

    Example: vestigo label sets --store archive
    """
    with opts.open_store(store) as opened:
        sets = opened.label_sets.list()
    rows = []
    for row in sets:
        created, projects = f"{row.created:%Y-%m-%d %H:%M}", ", ".join(row.projects)
        rows.append((row.version, created, row.labels, row.tasks, row.digest[:12], projects))
    table = make_table((">version", "created", ">labels", ">tasks", "digest", "~projects"), rows)
    return Output({"sets": list(map(asdict, sets))}, table)


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
