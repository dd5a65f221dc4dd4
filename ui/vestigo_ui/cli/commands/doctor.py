"""`vestigo doctor`: what is installed, found, missing, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from vestigo_ui.cli.output import JsonOption, emit, out

STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def doctor_command(
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", envvar="VESTIGO_STORE", help="Also look at this store.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, found and missing, and what to do about it.

    Ends with status 1 when something essential is missing.

    Example: vestigo doctor --store archive
    """
    from vestigo_ui.cli.commands.doctor__checks import all_checks

    checks = [asdict(check) for check in all_checks(store)]
    emit({"checks": checks}, as_json, _print_checks)
    if any(check["status"] == "missing" for check in checks):
        raise typer.Exit(1)


def _print_checks(result: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in result["checks"]:
        remedy = f" → {check['remedy']}" if check["remedy"] else ""
        table.add_row(Text(check["status"], style=STYLES[check["status"]]), check["name"], check["found"] + remedy)
    out.print(table)
