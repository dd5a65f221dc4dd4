"""`vestigo store`: check, clean, migrate and export a store."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option, Typer

from vestigo.resolve import resolve_review_model
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, make_table, out, print_without_time, progress

FORMATS = ("market1501", "mot")
app = Typer(help="Check, clean, migrate a store; export its crops and tracklets.", no_args_is_help=True)


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
    *,
    folder: Annotated[Path | None, Argument(help="New or empty folder, the same as --out.")] = None,
    store: opts.OpenStore,
    to: Annotated[Path | None, Option("--out", help="New or empty folder.")] = None,
    format: Annotated[
        str, Option(help="market1501: crops in the Market-1501 layout. mot: tracklets as text of the MOT Challenge.")
    ] = "market1501",
    part: opts.ArchivePart,
    audit: opts.AuditOptions,
) -> Output:
    """Write the crops of one model in the Market-1501 layout, or all tracklets in the form of the MOT Challenge.

    market1501: the crops of the serving model if it has any, else of the newest that has. An identity is the dataset's
    label, or the tracklet without one. The best crop of each identity and camera is a query, the others are the
    gallery; crops.csv has the origins.

    mot: one VIDEO.txt for each video with every sampled detection that belongs to a tracklet, as frame (from 1), id,
    left, top, width, height, score, -1, -1, -1.

    The export is written to the audit log before it begins.

    Example: vestigo store export --store archive --out tracks/ --format mot
    """
    if (folder is None) == (to is None):
        raise UsageError("name one folder to write: --out FOLDER")
    target = folder or to
    assert target is not None
    if format not in FORMATS:
        raise UsageError(f"--format {format} is not written; choose one of {', '.join(FORMATS)}")
    if format == "mot":
        return _export_mot(store, target, part, audit)
    return _export_market(store, target, part, audit)


def _export_market(store: opts.OpenStore, folder: Path, part: opts.ArchivePart, audit: opts.AuditOptions) -> Output:
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


def _export_mot(store: opts.OpenStore, folder: Path, part: opts.ArchivePart, audit: opts.AuditOptions) -> Output:
    if part.since is not None or part.until is not None:
        raise UsageError("--format mot writes whole videos: leave --from and --to out")
    scope = part.scope(store)
    details = {"what": "tracklets", "to_folder": str(folder.absolute()), **opts.scope_details(scope)}
    with progress("writing tracklets") as update:
        videos = store.export_mot(
            folder, cameras=scope.cameras, before=partial(audit.record, store, "export", details), progress=update
        )
    result = {
        "out": str(folder),
        "files": len(videos),
        "rows": sum(video.rows for video in videos),
        "videos": [asdict(video) for video in videos],
    }
    table = make_table(
        ("file", "camera", ">tracklets", ">rows"),
        ((video.file, video.camera, video.tracklets, video.rows) for video in videos),
    )
    return Output(result, table)


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
