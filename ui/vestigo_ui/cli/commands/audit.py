"""`vestigo audit`: show and verify the audit log."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option, Typer

from vestigo.csv_files import csv_writer
from vestigo.store.audit.log import require_action
from vestigo.store.audit.records import AuditEntry
from vestigo_models.errors import WorkError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, make_table, out, progress

app = Typer(help="The audit log: who requested what and saw what; whether it is intact.", no_args_is_help=True)

PAGE_ROWS = 1000
COLUMNS = ("id", "at", "user", "action", "case", "authority", "snapshot", "details", "previous", "digest")


@command(app, "show")
def show_command(
    store: opts.OpenStore,
    limit: Annotated[int, Option(min=0, help="Largest number of entries, 0 for all of them.")] = 50,
    user: Annotated[str | None, Option(help="Only of this user.")] = None,
    action: Annotated[str | None, Option(help="Only one action, such as search or 'sign-in refused'.")] = None,
    case: Annotated[str | None, Option(help="Only of this case number.")] = None,
    table: Annotated[
        Path | None, Option("--csv", help="Write the entries to this file; the result then holds their number.")
    ] = None,
) -> Output:
    """Show the audit log, newest entries first, and whether it is intact (see `vestigo audit verify`).

    Searches, rankings and exports are entries, made on the command line or on the screen. Names on the command line
    are accounts of this computer; names on the screen are those of signed-in users.

    Example: vestigo audit show --store archive --action search --case 12/26
    """
    filters: dict[str, Any] = {"user": user, "action": action, "case": case}
    if table is not None:
        require_action(action)
        details = {"what": "audit log", "to_file": str(table.absolute()), "limit": limit, **opts.given(filters)}
        store.audit.record(opts.login(), "export", details=details)
    entries = _entries(partial(store.audit.entries, newest=True, **filters), limit)
    shown: Any = [_entry_result(entry) for entry in entries] if table is None else _write_csv(entries, table)
    with progress("entries verified") as update:
        intact = store.audit.verify(update).intact
    return Output({"entries": shown, "intact": intact, "file": table}, _print_entries)


@command(app, "verify")
def verify_command(store: opts.StoreOption) -> Output:
    """Verify the chain of the audit log; exits 1 if entries were changed, removed, added or reordered.

    A writer of the database who computes the whole chain again is not detected. Keep the number and digest of the last
    entry where they cannot write: as long as `vestigo audit show` gives that entry that digest, all
    entries up to it are unchanged.

    Example: vestigo audit verify --store archive
    """
    with opts.open_store(store) as opened, progress("entries verified") as update:
        report = opened.audit.verify(update)
    error = None
    if not report.intact:
        more = f" (and {len(report.problems) - 1} more findings)" if len(report.problems) > 1 else ""
        error = WorkError(f"the audit log of store {store} is not intact: {report.problems[0]}{more}")
    return Output(asdict(report), _print_report, error)


def _entries(read: Callable[..., Sequence[AuditEntry]], limit: int) -> Iterator[AuditEntry]:
    """Yield at most `limit` entries (0: all) that `read` returns in pages."""
    remaining, after = limit, 0
    while page := read(after=after, limit=min(remaining, PAGE_ROWS) if limit else PAGE_ROWS):
        yield from page
        remaining, after = remaining - len(page), page[-1].id
        if limit and not remaining:
            return


def _entry_result(entry: AuditEntry) -> dict[str, Any]:
    return {**asdict(entry), "at": entry.at.isoformat()}


def _write_csv(entries: Iterable[AuditEntry], path: Path) -> int:
    with csv_writer(path, COLUMNS) as table:
        return table.write_all(_entry_result(entry) | {"details": json.dumps(entry.details)} for entry in entries)


def _print_entries(result: Mapping[str, Any]) -> None:
    if result["file"] is not None:
        out.print(f"{result['file']}: {result['entries']} entries")
    else:
        rows = []
        for row in result["entries"]:
            details = json.dumps(row["details"], ensure_ascii=False)
            brief = details if len(details) <= 100 else f"{details[:99]}…"
            rows.append((row["id"], row["at"][:19], row["user"], row["action"], row["case"] or "", brief))
        out.print(make_table((">id", "at", "user", "action", "case", "~details"), rows))
    if result["intact"]:
        out.print("the log is intact", style="dim")
    else:
        out.print("the log is not intact: see `vestigo audit verify`", style="red")


def _print_report(result: Mapping[str, Any]) -> None:
    for problem in result["problems"]:
        out.print(problem, style="red", highlight=False)
    state = "intact" if result["intact"] else "not intact"
    out.print(f"{state}: {result['entries']} entries, the last with digest {result['head']}", highlight=False)
