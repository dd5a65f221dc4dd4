"""`vestigo loop`: rounds of sampling, review, retraining and promotion."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from typer import Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.commands.retrain import TrainingOptions, candidate_row, print_candidate, run_retraining
from vestigo_ui.cli.output import JsonOption, Output, note, out, progress, run_with_bars


def loop_command(
    *,
    store: opts.StoreOption,
    project: opts.ProjectOption,
    training: TrainingOptions,
    strategy: Annotated[str | None, Option(help="See `vestigo label push`.")] = None,
    budget: Annotated[int, Option(min=1, help="Tasks per round.")] = 200,
    enough: Annotated[
        float, Option(min=0.01, max=1, help="Share of a round's tasks that must be reviewed to continue.")
    ] = 1.0,
    poll: Annotated[float, Option(min=0.1, help="Seconds between two pulls.")] = 60.0,
    wait: Annotated[
        float | None, Option(min=0, help="Hours to wait for reviews at most; then train with what there is.")
    ] = None,
    every: Annotated[
        float | None, Option(min=0, help="Hours from the start of a round to the next. Default: one round.")
    ] = None,
    rounds: Annotated[int | None, Option(min=1, help="Stop after this number of rounds.")] = None,
    images: Annotated[str, Option(help="See `vestigo label push`.")] = "inline",
    reindex: Annotated[
        bool, Option("--reindex", help="After a promotion, index the archive again with the new model and continue.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print the steps of a round; nothing is stored, sent or trained.")
    ] = False,
    server: opts.LabelStudioServer,
    as_json: JsonOption = False,
) -> Output:
    """Sample tasks, wait until they are reviewed, retrain, and promote the candidate if it passes the gate.

    An interrupted round continues where it stopped: an open batch is not sampled again. After a promotion the archive
    must be indexed again before the next round; without --reindex the loop stops there.

    Example: vestigo loop --store archive --project spring --base default --data market/ --every 24
    """
    from vestigo.review.sampling.sample import SamplingRequest
    from vestigo.review.sampling.strategies import DEFAULT_STRATEGY
    from vestigo_workers.indexing.run import reindex_stale
    from vestigo_workers.retraining.review_round import RoundRequest, plan_round, review_round

    request = RoundRequest(
        project=project,
        sampling=SamplingRequest(strategy=strategy or DEFAULT_STRATEGY, budget=budget),
        images=images,
        enough=enough,
        poll=poll,
        wait=None if wait is None else wait * 3600,
        retraining=training.request(projects=(project,)),
    )
    rows: list[dict[str, Any]] = []
    with opts.open_store(store) as opened:
        training.check_schema(opened)
        if dry_run:
            plan = plan_round(opened, request)
            lines = [f"a round of project {project} would", *plan["steps"]]
            return Output({"dry_run": True, **plan, "rounds": []}, "\n  ".join(lines))
        while True:
            began = time.monotonic()
            with server.connect() as studio, progress("reviewed") as update:
                counts, candidate = review_round(
                    opened, studio, request, message=note, progress=update, retrain=partial(run_retraining, opened)
                )
            rows.append({**counts, "retrain": None if candidate is None else candidate_row(candidate, store)})
            if not as_json:
                _print_round(len(rows), rows[-1])
            if candidate is None or (candidate.promoted and not reindex):
                break
            if candidate.promoted:
                run_with_bars(opened, partial(reindex_stale, opened, settings={}))
                request = replace(request, retraining=replace(request.retraining, base=candidate.digest))
            if every is None or len(rows) == rounds:
                break
            time.sleep(max(0.0, every * 3600 - (time.monotonic() - began)))
    promoted = any(row["retrain"] and row["retrain"]["promoted"] for row in rows)
    return Output({"dry_run": False, "rounds": rows, "promoted": promoted}, lambda _: None)


def _print_round(number: int, row: Mapping[str, Any]) -> None:
    out.print(
        f"round {number}: batch {row['batch']}, {row['reviewed']} of {row['tasks']} tasks reviewed, "
        f"{row['corrections']} corrections"
    )
    if row["retrain"] is None:
        out.print("  no candidate was trained: no task was reviewed", style="yellow")
    else:
        print_candidate(row["retrain"])
