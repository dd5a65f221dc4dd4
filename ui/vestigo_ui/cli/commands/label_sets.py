"""`vestigo label export`, `import` and `sets`: agreed labels as versions and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo_ui.cli.options import (
    AuthorityOption,
    CaseOption,
    ProjectOption,
    SchemaOption,
    check_schema,
    login,
    read_schema,
)
from vestigo_ui.cli.output import JsonOption, StoredModelOption, StoreOption, emit, out

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo.store.review.records import LabelSet
    from vestigo_models.schemas.attributes import AttributeSchema

ProjectsOption = Annotated[
    list[str] | None,
    typer.Option("--project", "-p", help="Only these projects. Default: all.", show_default=False),
]

NOTHING_MOVED = {"created": 0, "pulled": 0, "corrections": 0, "conflicts": 0}
"""The counts of the contract, for what has none of its own."""


def export_command(
    store: StoreOption,
    path: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .csv, or .mat for the Market-1501 structure.")
    ],
    project: ProjectsOption = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            help="A label set that was kept. Default: what is agreed on now, kept as one.",
            show_default=False,
        ),
    ] = None,
    schema: SchemaOption = None,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the agreed labels to a file; what is written is kept as a version of its own.

    In a .mat file labels are those of identities: the dataset's, or the numbers that `vestigo store export` gives.
    The export is written to the audit log before the file.

    Example: vestigo label export --store archive --out labels.csv
    """
    from vestigo.datasets.attributes_mat import write_annotations
    from vestigo.review.labels.export import identity_labels, write_csv
    from vestigo.review.labels.sets import read_label_set, save_label_set
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    if path.suffix not in (".csv", ".mat"):
        raise UsageError(f"--out {path}: write a .csv or a .mat file")
    with Store.open(store, create=False) as opened:
        kept = save_label_set(opened, project) if version is None else opened.label_sets.load(version)[0]
        if schema is not None:
            _check_projects(opened, kept, schema)
        details = {
            "what": "labels",
            "to_file": str(path.absolute()),
            "label_set": kept.version,
            "digest": kept.digest,
            "labels": kept.labels,
            "projects": list(kept.projects),
        }
        opened.audit.record(login(), "export", details=details, case=case, authority=authority)
        if path.suffix == ".csv":
            count = write_csv(read_label_set(opened, kept), path)
        else:
            attributes = _schema(opened, kept)
            crops = {crop for row in read_label_set(opened, kept) for crop in row["crops"]}
            labels = identity_labels(read_label_set(opened, kept), opened.person_numbers(crops), attributes)
            write_annotations(path, {"train": labels, "test": labels})
            count = int((labels.labels >= 0).sum())
        emit({**_told(kept), "file": path, "written": count, **NOTHING_MOVED}, as_json, _print_export)


def import_command(
    store: StoreOption,
    path: Annotated[Path, typer.Argument(help="File of `vestigo label export`, or a .mat annotation of identities.")],
    project: ProjectOption,
    model: StoredModelOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read labels from a file into a project of its own; labels of the same crops there are replaced.

    Example: vestigo label import labels.csv --store archive --project from-files
    """
    from vestigo.datasets.attributes_mat import read_annotations
    from vestigo.resolve import require_attributes, resolve_review_model
    from vestigo.review.labels import importing
    from vestigo.review.labels.export import read_csv
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    if path.suffix not in (".csv", ".mat"):
        raise UsageError(f"{path}: a .csv or a .mat file is read")
    with Store.open(store, create=False) as opened:
        found = resolve_review_model(opened, model)
        check_schema(schema, found.name, found.facts.attributes)
        attributes = require_attributes(found)
        if path.suffix == ".csv":
            given = importing.group_label_rows(read_csv(path, attributes), path.name)
        else:
            splits = [read_annotations(path, attributes, split) for split in ("train", "test")]
            given = list(importing.match_identity_labels(opened, found, splits, path.name))
        done = importing.import_labels(opened, project, found, given, str(path))
    emit(
        {
            "project": project,
            "tasks": done.tasks,
            "created": done.created,
            "pulled": done.labels,
            "corrections": 0,
            "conflicts": 0,
            "unknown_crops": done.unknown,
        },
        as_json,
        _print_import,
    )


def sets_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """List the versions of labels that were kept, oldest first.

    Example: vestigo label sets --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        emit({"sets": [_told(version) for version in opened.label_sets.list()]}, as_json, _print_sets)


def _check_projects(store: Store, kept: LabelSet, reference: str) -> None:
    """Check that the projects of a version have the attributes of `--schema`; raises UsageError if not."""
    from vestigo_models.errors import UsageError

    schema = read_schema(reference)
    for name in kept.projects:
        actual = store.review.get_project(name).schema
        if schema is not None and actual.digest != schema.digest:
            raise UsageError(
                f"--schema {reference} names the attributes of {schema.name}, but project {name} has those of "
                f"{actual.name}; leave --schema out or choose with --project"
            )


def _schema(store: Store, kept: LabelSet) -> AttributeSchema:
    """The one schema of a version's projects. Raises UsageError where there are several."""
    from vestigo_models.errors import UsageError

    schemas = {name: store.review.get_project(name).schema for name in kept.projects}
    first = next(iter(schemas.values()))
    if odd := [name for name, schema in schemas.items() if schema != first]:
        raise UsageError(
            f"projects {kept.projects[0]} and {odd[0]} ask for different attributes: choose with --project"
        )
    return first


def _told(kept: LabelSet) -> dict[str, Any]:
    return {
        "version": kept.version,
        "created": kept.created,
        "digest": kept.digest,
        "labels": kept.labels,
        "tasks": kept.tasks,
        "projects": list(kept.projects),
    }


def _print_export(result: Mapping[str, Any]) -> None:
    out.print(
        f"{result['file']}: {result['written']} labels of {result['tasks']} tasks, label set {result['version']} "
        f"({result['digest'][:12]})",
        markup=False,
    )


def _print_import(result: Mapping[str, Any]) -> None:
    out.print(
        f"project {result['project']}: {result['pulled']} labels about {result['tasks']} tasks, "
        f"{result['created']} of them new",
        markup=False,
    )
    if result["unknown_crops"]:
        out.print(f"  {result['unknown_crops']} crops of the file are not in the store and were passed over")


def _print_sets(result: Mapping[str, Any]) -> None:
    table = Table(box=None)
    for name in ("version", "created", "labels", "tasks", "digest", "projects"):
        table.add_column(name, justify="right" if name in ("version", "labels", "tasks") else "left")
    for one in result["sets"]:
        when = f"{one['created']:%Y-%m-%d %H:%M}"
        projects = ", ".join(one["projects"])
        table.add_row(str(one["version"]), when, str(one["labels"]), str(one["tasks"]), one["digest"][:12], projects)
    out.print(table)
