"""`vestigo store`: consistency, cleaning, schema, crops out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vestigo_ui.cli.options import (
    AuthorityOption,
    CamerasOption,
    CaseOption,
    FromOption,
    ToOption,
    asked_of,
    login,
    read_scope,
)
from vestigo_ui.cli.output import JsonOption, StoreOption, emit, out, progress

app = typer.Typer(help="Check, clean, migrate a store; export its crops.", no_args_is_help=True)


@app.command("check")
def check_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """Verify every file, row and count of a store; exits 1 where something is wrong.

    The digest is a SHA-256 over the visible crops: two stores with the same digest hold the same crops.

    Example: vestigo store check --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened, progress("checking files") as update:
        report = opened.check(update)
    emit(asdict(report), as_json, _print_check)
    if not report.intact:
        raise typer.Exit(1)


@app.command("vacuum")
def vacuum_command(
    store: StoreOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Also remove what is younger than an hour.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove files that a crash left behind, and files that were replaced.

    Files of a run that is being driven are left alone, and so is everything younger than an hour: a reader may have
    it open.

    Example: vestigo store vacuum --store archive --dry-run
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        report = opened.vacuum(dry_run=dry_run, now=now)

    def human(result: Mapping[str, Any]) -> None:
        for path in result["paths"]:
            out.print(path, highlight=False, markup=False)
        done = "would be removed" if dry_run else "removed"
        out.print(f"{result['files']} files, {result['bytes'] / 1e6:.1f} MB {done}")

    emit({**asdict(report), "dry_run": dry_run}, as_json, human)


@app.command("migrate")
def migrate_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """Bring a store of an older Vestigo to this version's schema; back up the database before.

    Example: vestigo store migrate --store archive
    """
    from vestigo.store.open import Store

    before, after = Store.migrate(store)

    def human(result: Mapping[str, Any]) -> None:
        out.print(f"schema {after}: nothing to do" if before == after else f"schema {before} → {after}")

    emit({"before": before, "after": after}, as_json, human)


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    store: StoreOption,
    cameras: CamerasOption = None,
    since: FromOption = None,
    until: ToOption = None,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the crops of one model in the Market-1501 layout, with crops.csv saying where each comes from.

    It is the model that serves where it has crops, else the newest that has.

    A person is the dataset's label, or the tracklet where there is none. The best crop of each person and camera is
    a query, the others are the gallery. The export is written to the audit log before it begins.

    Example: vestigo store export market/ --store archive --cameras entrance
    """
    from vestigo.resolve import resolve_review_model
    from vestigo.store.open import Store

    scope = read_scope(cameras, since, until)
    with Store.open(store, create=False) as opened:
        details = {
            "what": "crops",
            "to_folder": str(folder.absolute()),
            "model": resolve_review_model(opened).digest,
            **asked_of(scope),
        }
        opened.audit.record(login(), "export", details=details, case=case, authority=authority)
        with progress("writing crops") as update:
            report = opened.export_market(
                folder, cameras=scope.cameras, since=scope.since, until=scope.until, progress=update
            )

    def human(result: Mapping[str, Any]) -> None:
        out.print(f"{result['crops']} crops of {result['identities']} people, {result['queries']} of them queries")
        if result["left_out"]:
            out.print(f"{result['left_out']} crops belong to no known person and were left out")

    emit({"out": str(folder), **asdict(report)}, as_json, human)


def _print_check(result: Mapping[str, Any]) -> None:
    for problem in result["problems"]:
        out.print(problem, style="red", highlight=False, markup=False)
    state = "intact" if result["intact"] else f"{len(result['problems'])} problems"
    out.print(f"{state}: {result['crops']} crops in {result['files']} files of {result['runs']} runs")
    if result["unreferenced"]:
        out.print(f"{result['unreferenced']} files that nobody refers to: `vestigo store vacuum` removes them")
    out.print(f"digest {result['digest']}", highlight=False)
