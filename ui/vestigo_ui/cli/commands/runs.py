"""`vestigo runs`: what ran, how it ended, what it left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from vestigo_ui.cli.options import AuthorityOption, CaseOption, login
from vestigo_ui.cli.output import JsonOption, StoreOption, emit, out, print_run, run_and_report, run_with_bars

app = typer.Typer(help="What ran, how it ended, what it left out; resume, retry or cancel.", no_args_is_help=True)
RunArgument = Annotated[str, typer.Argument(help="Run, as `vestigo runs list` names it.")]


@app.command("list")
def list_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """List the runs, oldest first.

    Example: vestigo runs list --store archive
    """
    from vestigo.store.open import Store
    from vestigo_workers.runs.result import read_result, summarize_totals

    with Store.open(store, create=False) as opened:
        runs = [
            {**summarize_totals(opened, read_result(opened, run.id)), "created": run.created}
            for run in opened.runs.list()
        ]
    emit({"runs": runs}, as_json, _print_runs)


@app.command("show")
def show_command(run: RunArgument, store: StoreOption, as_json: JsonOption = False) -> None:
    """Show one run: its counts, and every input it left out with the reason.

    Example: vestigo runs show 20260501-080000-3f --store archive
    """
    from vestigo.store.open import Store
    from vestigo_workers.runs.result import read_result, summarize

    with Store.open(store, create=False) as opened:
        emit(summarize(opened, read_result(opened, run)), as_json, print_run)


@app.command("resume")
def resume_command(run: RunArgument, store: StoreOption, as_json: JsonOption = False) -> None:
    """Do what a run left undone, and only that; a finished run gives its totals.

    Example: vestigo runs resume 20260501-080000-3f --store archive
    """
    from vestigo.store.open import Store
    from vestigo_workers.runs.resume import resume

    with Store.open(store, create=False) as opened:
        run_and_report(lambda stage: resume(opened, run, stage), opened, as_json)


@app.command("retry")
def retry_command(
    run: RunArgument,
    store: StoreOption,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help="Inputs that it left out; by default all.", show_default=False),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only what was left out for this reason.", show_default=False)
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who asks. Default: the login name.", show_default=False)] = None,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try again what a run left out, and finish what it left undone; what fails again is left out again.

    A video is done again as a whole, and shows what it showed until then. A file whose content has changed is another
    input: index its source again.

    Example: vestigo runs retry 20260501-080000-3f --reason worker-died --store archive
    """
    from vestigo.store.open import Store
    from vestigo_workers.runs.result import summarize
    from vestigo_workers.runs.resume import retry

    details = {"run": run, "inputs": inputs or None, "reason": reason}
    details = {name: value for name, value in details.items() if value is not None}
    with Store.open(store, create=False) as opened:

        def before() -> None:
            opened.audit.record(by or login(), "retry", details=details, case=case, authority=authority)

        retried, result = run_with_bars(
            lambda stage: retry(opened, run, stage, names=inputs or None, reason=reason, before=before), opened
        )
        told = {"retried": retried.inputs, "left": list(retried.missing)}
        emit(summarize(opened, result) | told, as_json, _print_retried)


@app.command("cancel")
def cancel_command(run: RunArgument, store: StoreOption, as_json: JsonOption = False) -> None:
    """Ask a run to stop after the shards it is working on; it can be resumed later.

    Example: vestigo runs cancel 20260501-080000-3f --store archive
    """
    from vestigo.store.open import Store
    from vestigo_workers.runs.result import read_result, summarize

    with Store.open(store, create=False) as opened:
        opened.runs.request_cancel(run)
        emit(summarize(opened, read_result(opened, run)), as_json, print_run)


def _print_retried(result: Mapping[str, Any]) -> None:
    retried = result["retried"]
    out.print(f"{retried} input{'s' if retried > 1 else ''} tried again")
    for name in result["left"][:10]:
        out.print(f"  its video is not where it was indexed: {name}", style="yellow", markup=False)
    print_run(result)


def _print_runs(result: Mapping[str, Any]) -> None:
    table = Table(box=None)
    table.add_column("run", no_wrap=True)
    table.add_column("status")
    for name in ("inputs", "made", "seconds"):
        table.add_column(name, justify="right")
    for run in result["runs"]:
        made = f"{run['crops']} crops, {run['tracklets']} tracklets"
        if run["kind"] == "regions":
            made = f"{run['label_maps']} label maps"
        table.add_row(run["run"], run["status"], str(run["inputs"]), made, f"{run['seconds']:.1f}")
    out.print(table)
