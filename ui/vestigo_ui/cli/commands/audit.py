"""`vestigo audit`: who asked what and saw what, and whether the log is as it was written."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from vestigo_ui.cli.output import JsonOption, StoreOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo.store.audit.records import AuditEntry
    from vestigo.store.open import Store

app = typer.Typer(help="The audit log: who asked what and saw what; whether it is unbroken.", no_args_is_help=True)

PAGE_ROWS = 1000
COLUMNS = ("id", "at", "user", "action", "case", "authority", "snapshot", "details", "previous", "digest")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet; names in the log may be a stranger's."""


@app.command("show")
def show_command(
    store: StoreOption,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Entries in the answer, 0 for all of them.")] = 50,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.", show_default=False)] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", help="Only one action, as in search or 'sign-in refused'.", show_default=False),
    ] = None,
    case: Annotated[str | None, typer.Option("--case", help="Only this case number.", show_default=False)] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the entries to this file; the answer then says how many.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the audit log, newest entries first, and whether it is intact (`vestigo audit verify` says what is wrong).

    Searches, rankings and exports of the command line are entries like those of the screen. Names there are accounts of
    this computer, names of the screen are those people sign in with.

    Example: vestigo audit show --store archive --action search --case 12/26
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        found = _entries(opened, limit, user=user, action=action, case=case)
        shown: Any = [_row(entry) for entry in found] if table is None else _write_csv(found, table)
        with progress("entries verified") as update:
            intact = opened.audit.verify(update).intact
    emit({"entries": shown, "intact": intact, "file": table}, as_json, _print_shown)


@app.command("verify")
def verify_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """Compute the chain of the audit log anew; exits 1 where entries were changed, removed, added or reordered.

    Somebody who may write to the database and computes the whole chain again is not found out. Keep number and digest
    of the last entry where they cannot write: as long as `vestigo audit show` gives that entry that digest, all entries
    up to it are as they were.

    Example: vestigo audit verify --store archive
    """
    from vestigo.store.open import Store
    from vestigo_models.errors import WorkError

    with Store.open(store, create=False) as opened, progress("entries verified") as update:
        report = opened.audit.verify(update)
    emit(asdict(report), as_json, _print_verified)
    if not report.intact:
        raise WorkError(
            f"the audit log of store {store} is not intact: {report.problems[0]}"
            + (f" (and {len(report.problems) - 1} more findings)" if len(report.problems) > 1 else "")
        )


def _entries(store: Store, limit: int, **chosen: Any) -> Iterator[AuditEntry]:
    left, after = limit, 0
    while page := store.audit.entries(
        after=after, limit=min(left, PAGE_ROWS) if limit else PAGE_ROWS, newest=True, **chosen
    ):
        yield from page
        left, after = left - len(page), page[-1].id
        if limit and not left:
            return


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {**asdict(entry), "at": entry.at.isoformat()}


def _write_csv(entries: Iterable[AuditEntry], path: Path) -> int:
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    with partial.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        for entry in entries:
            row = _row(entry) | {"details": json.dumps(entry.details)}
            table.writerow({name: _cell(row[name]) for name in COLUMNS})
            count += 1
    partial.replace(path)
    return count


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _print_shown(result: Mapping[str, Any]) -> None:
    if result["file"] is not None:
        out.print(f"{result['file']}: {result['entries']} entries", markup=False)
    else:
        table = Table(box=None, header_style="dim", pad_edge=False)
        for name in ("id", "at", "user", "action", "case", "details"):
            table.add_column(name, justify="right" if name == "id" else "left", no_wrap=name != "details")
        for row in result["entries"]:
            details = json.dumps(row["details"], ensure_ascii=False)
            brief = details if len(details) <= 100 else f"{details[:99]}…"
            cells = str(row["id"]), row["at"][:19], row["user"], row["action"], row["case"] or "", brief
            table.add_row(*map(Text, cells))
        out.print(table)
    if result["intact"]:
        out.print("the log is intact", style="dim")
    else:
        out.print("the log is not intact: `vestigo audit verify` says what is wrong", style="red")


def _print_verified(result: Mapping[str, Any]) -> None:
    for problem in result["problems"]:
        out.print(problem, style="red", highlight=False)
    state = "intact" if result["intact"] else "not intact"
    out.print(f"{state}: {result['entries']} entries, the last with digest {result['head']}", highlight=False)
