"""What `vestigo label` says to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vestigo_ui.cli.output import out


def print_pushed(result: Mapping[str, Any]) -> None:
    """Print what a push did, or would do."""
    if result.get("dry_run"):
        out.print(
            f"would draw {result['tasks']} of {result['population']} tasks by {result['strategy']}{_thinned(result)}"
        )
        return
    if result["batch"] is None:
        out.print(
            f"project {result['project']}: every task has been drawn already; nothing new to review", markup=False
        )
        return
    how = "drawn now" if result["drawn"] else "still open, nothing was drawn (--another draws more)"
    out.print(f"batch {result['batch']} of project {result['project']}: {result['tasks']} tasks, {how}", markup=False)
    out.print(f"  by {result['strategy']}, out of {result['population']} tasks{_thinned(result)}")
    out.print(f"  {result['created']} sent now, {result['on_server']} of this project are on the server")
    out.print(f"  review them: {result['server']}/projects/{result['project_id']}/data", markup=False)
    out.print(f"\nnext: {result['next']}", markup=False)


def print_pulled(result: Mapping[str, Any]) -> None:
    """Print what a pull found."""
    gone = result.get("deleted_now", 0)
    out.print(
        f"project {result['project']}: {result['reviewed']} of {result['tasks']} tasks reviewed, "
        f"{result['pulled']} answers new or changed" + (f", {gone} tasks deleted on the server" if gone else ""),
        markup=False,
    )
    out.print(
        f"  {result['corrections']} corrections of what the model said, {result['conflicts']} conflicts of reviewers"
    )
    for line in result["conflicting"]:
        out.print(f"  conflict: {line}", style="yellow", markup=False)


def print_status(result: Mapping[str, Any]) -> None:
    """Print how far a review is."""
    print_pulled(result)
    if result["waiting"]:
        out.print(f"  {result['waiting']} tasks are drawn and not on the server: run the push again", style="yellow")
    table = Table(box=None)
    table.add_column("attribute")
    for name in ("answered", "corrected", "cannot tell"):
        table.add_column(name, justify="right")
    for name, counts in result["attributes"].items():
        table.add_row(name, *(str(counts[key]) for key in ("answered", "corrected", "cannot_tell")))
    out.print(table)
    for reviewer, count in result["reviewers"].items():
        out.print(f"  {reviewer}: {count} tasks", markup=False)
    if result["reviewer_error"] is not None:
        share = f"{100 * result['reviewer_error']:.1f} %"
        out.print(f"  tasks that several answered suggest that {share} of answers are wrong")


def _thinned(result: Mapping[str, Any]) -> str:
    return "" if result["thinned"] == 1 else f" (one in {round(1 / result['thinned'])} of the archive's)"
