"""`vestigo store`: check, clean, migrate and export a store."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option, Typer

from vestigo.resolve import resolve_review_model
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, out, print_without_time, progress

app = Typer(help="Check, clean, migrate a store; export its crops.", no_args_is_help=True)


@command(app, "check")
def check_command(store: opts.OpenStore) -> Output:
    """Verify every file, row and count of a store; exits 1 if something is wrong.

    The digest is a SHA-256 over the visible crops: two stores with the same digest hold the same crops.

    Example: vestigo store check --store archive
    """
    with progress("checking files") as update:
        report = store.check(update)
    return Output(asdict(report), _print_check, None if report.intact else Exit(1))


@command(app, "vacuum")
def vacuum_command(
    store: opts.OpenStore,
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be removed, and remove nothing.")] = False,
    now: Annotated[bool, Option("--now", help="Also remove files younger than an hour.")] = False,
) -> Output:
    """Remove files that a crash left, and files that were replaced.

    Files of a run that is being driven are kept, and so is everything younger than an hour: a reader may use it.

    Example: vestigo store vacuum --store archive --dry-run
    """
    if not dry_run:
        store.audit.record(opts.login(), "vacuum", details={"now": now})
    report = store.vacuum(dry_run=dry_run, now=now)
    done = "would be removed" if dry_run else "removed"
    lines = [*report.paths, f"{report.files} files, {report.bytes / 1e6:.1f} MB {done}"]
    return Output({**asdict(report), "dry_run": dry_run}, "\n".join(map(str, lines)))


@command(app, "migrate")
def migrate_command(store: opts.StoreOption) -> Output:
    """Migrate a store of an older Vestigo to this version's schema; back up the database before.

    Example: vestigo store migrate --store archive
    """
    from vestigo.store.open import Store

    before, after = Store.migrate(store)
    line = f"schema {after}: nothing to do" if before == after else f"schema {before} → {after}"
    return Output({"before": before, "after": after}, line)


@command(app, "export")
def export_command(
    folder: Annotated[Path, Argument(help="New or empty folder.")],
    store: opts.OpenStore,
    part: opts.ArchivePart,
    audit: opts.AuditOptions,
) -> Output:
    """Write the crops of one model in the Market-1501 layout, with their origins in crops.csv.

    It is the serving model if it has crops, else the newest that has.

    An identity is the dataset's label, or the tracklet without one. The best crop of each identity and camera is a
    query, the others are the gallery. The export is written to the audit log before it begins.

    Example: vestigo store export market/ --store archive --cameras entrance
    """
    from vestigo.retrieval.gallery import count_without_time

    scope, model = part.scope(store), resolve_review_model(store)
    details = {"what": "crops", "to_folder": str(folder.absolute()), "model": model.digest, **opts.scope_details(scope)}
    record = partial(audit.record, store, "export", details)
    with progress("writing crops") as update:
        report = store.export_market(
            folder, cameras=scope.cameras, since=scope.since, until=scope.until, before=record, progress=update
        )
    without_time = count_without_time(store, model, scope)
    return Output({"out": str(folder), **asdict(report), "without_time": without_time}, _print_export)


def _print_check(result: Mapping[str, Any]) -> None:
    for problem in result["problems"]:
        out.print(problem, style="red", highlight=False)
    state = "intact" if result["intact"] else f"{len(result['problems'])} problems"
    out.print(f"{state}: {result['crops']} crops in {result['files']} files of {result['runs']} runs")
    if result["unreferenced"]:
        out.print(f"{result['unreferenced']} unreferenced files: `vestigo store vacuum` removes them")
    out.print(f"digest {result['digest']}", highlight=False)


def _print_export(result: Mapping[str, Any]) -> None:
    out.print(f"{result['crops']} crops of {result['identities']} people, {result['queries']} of them queries")
    if result["left_out"]:
        out.print(f"{result['left_out']} crops without a known identity were skipped")
    print_without_time(result["without_time"])
