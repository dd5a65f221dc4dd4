"""`vestigo loop`: push, wait for reviewers, pull, retrain, gate; once, or again and again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.commands.retrain import (
    BaseOption,
    DataOption,
    MapMarginOption,
    MarginOption,
    ModelsOption,
    ModeOption,
    ReplayOption,
    check_base_schema,
    print_candidate,
    read_mode,
    retrain_result,
    run_retraining,
)
from vestigo_ui.cli.options import (
    PatienceOption,
    ProjectOption,
    SchemaOption,
    TokenFileOption,
    UrlOption,
    connect,
    login,
)
from vestigo_ui.cli.output import DeviceOption, JsonOption, StoreOption, emit, note, out, progress, run_with_bars

if TYPE_CHECKING:
    from vestigo_workers.retraining.review_round import RoundResult


def loop_command(
    store: StoreOption,
    project: ProjectOption,
    base: BaseOption,
    data: DataOption = None,
    strategy: Annotated[str | None, typer.Option(help="See `vestigo label push`.", show_default=False)] = None,
    budget: Annotated[int, typer.Option(min=1, help="Tasks a round.")] = 200,
    enough: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of a round's tasks that must be reviewed to go on.")
    ] = 1.0,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the server.")] = 60.0,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0, help="Hours to wait for reviewers at most; then learn from what there is.", show_default=False
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            min=0, help="Hours from the start of a round to the next. Default: one round.", show_default=False
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Stop after so many.", show_default=False)] = None,
    images: Annotated[str, typer.Option(help="See `vestigo label push`.")] = "inline",
    mode: ModeOption = "heads",
    margin: MarginOption = 1.0,
    map_margin: MapMarginOption = 1.0,
    replay: ReplayOption = 2000,
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    models: ModelsOption = None,
    by: Annotated[
        str | None, typer.Option(help="Who is answerable. Default: the login name.", show_default=False)
    ] = None,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="After a promotion, index the archive again with the new model and go on.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what a round would do; nothing is kept, sent or trained.")
    ] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    patience: PatienceOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Go round: draw tasks, wait until reviewers have answered, learn, and promote what passes the gate.

    A round that was interrupted goes on where it stopped: an open batch is not drawn again. After a promotion the
    archive must be indexed again before the next round; without --reindex the loop stops there and says so.

    Example: vestigo loop --store archive --project spring --base default --data market/ --every 24
    """
    from vestigo.promotion.gate import Margins
    from vestigo.review.sampling.sample import SamplingRequest
    from vestigo.review.sampling.strategies import DEFAULT_STRATEGY
    from vestigo.store.open import Store
    from vestigo_models.devices import resolve_device
    from vestigo_workers.indexing.reindex import reindex_stale
    from vestigo_workers.retraining.candidate import RetrainRequest
    from vestigo_workers.retraining.review_round import RoundRequest, plan_round, review_round

    request = RoundRequest(
        project=project,
        sampling=SamplingRequest(strategy=strategy or DEFAULT_STRATEGY, budget=budget),
        images=images,
        enough=enough,
        poll=poll,
        wait=None if wait is None else wait * 3600,
        retraining=RetrainRequest(
            base=base,
            data=data,
            projects=(project,),
            mode=read_mode(mode),
            replay=replay,
            margins=Margins(mAP=map_margin, attributes=margin),
            folder=models,
            by=by or login(),
            account=login(),
            device=resolve_device(device),
        ),
    )
    done: list[dict[str, Any]] = []
    with Store.open(store, create=False) as opened:
        check_base_schema(opened, base, schema)
        if dry_run:
            emit({"dry_run": True, **plan_round(opened, request), "rounds": []}, as_json, _print_plan)
            return
        while True:
            began = time.monotonic()
            with connect(url, token_file, patience) as studio, progress("reviewed") as update:
                made = review_round(
                    opened,
                    studio,
                    request,
                    message=note,
                    progress=update,
                    retrain=lambda asked: run_retraining(opened, asked),
                )
            done.append(_told(made, store))
            if not as_json:
                _print_round(len(done), done[-1])
            if made.candidate is None or (made.candidate.promoted and not reindex):
                break
            if made.candidate.promoted:
                run_with_bars(lambda stage: reindex_stale(opened, stage, settings={}), opened)
                request = replace(request, retraining=replace(request.retraining, base=made.candidate.digest))
            if every is None or len(done) == rounds:
                break
            time.sleep(max(0.0, every * 3600 - (time.monotonic() - began)))
    promoted = any(one["retrain"] and one["retrain"]["promoted"] for one in done)
    emit({"dry_run": False, "rounds": done, "promoted": promoted}, as_json, lambda _: None)


def _told(made: RoundResult, store: str) -> dict[str, Any]:
    return {
        "batch": made.batch,
        "tasks": made.tasks,
        "created": made.created,
        "reviewed": made.reviewed,
        "corrections": made.corrections,
        "retrain": None if made.candidate is None else retrain_result(made.candidate, store),
    }


def _print_plan(result: Mapping[str, Any]) -> None:
    out.print(f"a round of project {result['project']} would", markup=False)
    for line in result["steps"]:
        out.print(f"  {line}", markup=False)


def _print_round(number: int, told: Mapping[str, Any]) -> None:
    out.print(
        f"round {number}: batch {told['batch']}, {told['reviewed']} of {told['tasks']} tasks reviewed, "
        f"{told['corrections']} corrections"
    )
    if told["retrain"] is None:
        out.print("  nothing was learnt: no task was reviewed", style="yellow")
    else:
        print_candidate(told["retrain"])
