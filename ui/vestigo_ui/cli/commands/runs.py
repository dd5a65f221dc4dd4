"""`vestigo runs`: runs, their results and quarantined inputs."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from typer import Argument, Option, Typer

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, make_table, out, print_line, print_run, run_output, run_with_bars
from vestigo_workers.runs.result import read_result, summarize, summarize_totals

app = Typer(help="Runs and their results; resume, retry or cancel them.", no_args_is_help=True)
RunArgument = Annotated[str, Argument(help="Run, as `vestigo runs list` names it.")]


@command(app, "list")
def list_command(store: opts.OpenStore) -> Output:
    """List the runs, oldest first.

    Example: vestigo runs list --store archive
    """
    runs = [
        {**summarize_totals(store, read_result(store, run.id)), "created": run.created} for run in store.runs.list()
    ]
    rows = []
    for run in runs:
        made = f"{run['crops']} crops, {run['tracklets']} tracklets"
        if run["kind"] == "regions":
            made = f"{run['label_maps']} label maps"
        rows.append((run["run"], run["status"], run["inputs"], made, f"{run['seconds']:.1f}"))
    return Output({"runs": runs}, make_table(("run", "status", ">inputs", ">made", ">seconds"), rows))


@command(app, "show")
def show_command(run: RunArgument, store: opts.OpenStore) -> Output:
    """Show one run: its counts, and every quarantined input with the reason.

    Example: vestigo runs show 20260501-080000-3f --store archive
    """
    return Output(
        summarize(store, read_result(store, run), limit=None), partial(print_run, store=store.ref, listed=None)
    )


@command(app, "resume")
def resume_command(run: RunArgument, store: opts.OpenStore) -> Output:
    """Process the pending inputs of a run; a finished run gives its totals.

    Example: vestigo runs resume 20260501-080000-3f --store archive
    """
    from vestigo_workers.runs.resume import resume

    return run_output(store, run_with_bars(store, partial(resume, store, run)))


@command(app, "retry")
def retry_command(
    *,
    run: RunArgument,
    store: opts.OpenStore,
    inputs: Annotated[
        list[str] | None, Argument(metavar="INPUT", help="Quarantined inputs. Default: all of them.")
    ] = None,
    reason: Annotated[str | None, Option(help="Only inputs that were quarantined for this reason.")] = None,
    by: opts.ByOption = None,
    audit: opts.AuditOptions,
) -> Output:
    """Process the quarantined inputs of a run again, and its pending ones; what fails again is quarantined again.

    A video is processed again as a whole and shows its earlier crops until then. A file whose content has changed is
    another input: index its source again.

    Example: vestigo runs retry 20260501-080000-3f --reason worker-died --store archive
    """
    from vestigo_workers.runs.resume import retry

    details = opts.given({"run": run, "inputs": inputs or None, "reason": reason, "by": by})
    record = partial(audit.record, store, "retry", details)
    work = partial(retry, store, run, names=inputs or None, reason=reason, before=record)
    retried, result = run_with_bars(store, work)
    counts = {"retried": retried.inputs, "left": list(retried.missing)}
    return Output(summarize(store, result) | counts, partial(_print_retried, store=store.ref))


@command(app, "cancel")
def cancel_command(run: RunArgument, store: opts.OpenStore) -> Output:
    """Stop a run after the shards that are being processed; it can be resumed later.

    Example: vestigo runs cancel 20260501-080000-3f --store archive
    """
    store.runs.request_cancel(run)
    return run_output(store, read_result(store, run))


def _print_retried(result: Mapping[str, Any], *, store: str) -> None:
    retried = result["retried"]
    out.print(f"{retried} input{'s' if retried > 1 else ''} tried again")
    for name in result["left"][:10]:
        print_line(f"  its video is not where it was indexed: {name}", style="yellow")
    print_run(result, store=store)
