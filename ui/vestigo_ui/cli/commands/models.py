"""`vestigo models`: which models a store knows, how good they are, and which one serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.commands.models__models_shown import (
    model_row,
    print_compared,
    print_models,
    print_promotion,
    print_shown,
    promotion_row,
)
from vestigo_ui.cli.evaluation import stages
from vestigo_ui.cli.options__accountable import login
from vestigo_ui.cli.output import DeviceOption, JsonOption, StoreOption, emit, note

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo.store.runs.records import Model, Promotion

app = typer.Typer(help="The models of a store: compare, promote, roll back.", no_args_is_help=True)
ModelArgument = Annotated[str, typer.Argument(help="Name or digest (6 digits or more) of the registry, or a folder.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who decides; by default the login name.")]


@app.command("list")
def list_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """List the models that the store knows, newest first: parents, scores, and how many crops each has.

    Example: vestigo models list --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        serving, counts = opened.serving(), opened.crop_counts()
        rows = [model_row(model, serving, counts) for model in opened.models()]
    emit({"models": rows, "serving": serving}, as_json, print_models)


@app.command("show")
def show_command(model: ModelArgument, store: StoreOption, as_json: JsonOption = False) -> None:
    """Show all that is known of a model: how it was trained and judged, when it served, what its crops mean.

    Example: vestigo models show 3f2a9c --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        found = _find(opened, model)
        result = {
            **model_row(found, opened.serving(), opened.crop_counts()),
            "location": found.location,
            "origin": found.origin,
            "facts": found.facts.to_dict(),
            "promotions": [
                promotion_row(made) for made in opened.promotions() if found.digest in (made.model, made.before)
            ],
        }
    emit(result, as_json, print_shown)


@app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A model, as the one that serves.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one, as its challenger.")],
    store: StoreOption,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Dataset on whose query and gallery both are judged.", show_default=False),
    ] = None,
    margin: Annotated[
        float,
        typer.Option("--margin", min=0, help="Points of mAP or accuracy that the gate lets B lose."),
    ] = 1.0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare two models: by how much B is better than A, with 95 % intervals, and what the gate would say of B.

    With --data both are judged on the dataset's test images, and the scores are kept. Without, the scores that are
    kept of both are laid beside each other. Nothing is promoted: the gate promotes what `vestigo retrain` made.

    Example: vestigo models compare tiny 3f2a9c --data Market-1501-v15.09.15 --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        if data is None:
            result = _compare_stored(_find(opened, first), _find(opened, second))
        else:
            result = _compare_judged(opened, first, second, data, margin, device)
    emit(result, as_json, print_compared)


@app.command("promote")
def promote_command(
    model: ModelArgument,
    store: StoreOption,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it is kept.", show_default=False)] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote what the gate refused or has not judged; asks for --reason.")
    ] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model serve by hand: index and search take it from now on.

    A model that passed the gate against the one that serves needs no reason. Crops of other models are not touched;
    `vestigo index --reindex-stale` replaces them.

    Example: vestigo models promote 3f2a9c --store archive --force --reason "checked by hand on the new camera"
    """
    from vestigo.promotion.promote import promote_by_hand
    from vestigo.resolve import open_registered
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        found = _find(opened, model)
        open_registered(found)
        made = promote_by_hand(
            opened,
            found,
            by=by or login(),
            account=login(),
            serving=opened.serving(),
            reason=reason,
            force=force,
        )
        _tell(opened, made, as_json)


@app.command("rollback")
def rollback_command(
    store: StoreOption,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it is kept.", show_default=False)] = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back the last promotion that is in force: what served before it serves again.

    Example: vestigo models rollback --store archive --reason "hats are missed at night"
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        made = opened.rollback(by=by or login(), reasons=[reason] if reason else [], account=login())
        _tell(opened, made, as_json)


def _find(store: Store, ref: str) -> Model:
    from vestigo.resolve import model_digest, registered

    return registered(store, model_digest(store, ref))


def _compare_stored(first: Model, second: Model) -> dict[str, Any]:
    from vestigo.promotion.judge__measures import stored_measures, tests_of
    from vestigo_models.errors import UsageError

    shared = [name for name in tests_of(first.scores) if name in second.scores]
    if not shared:
        raise UsageError(
            f"no score is kept of both {first.name} ({first.digest[:12]}) and {second.name} ({second.digest[:12]}): "
            "judge them with --data DATASET"
        )
    return {
        "a": {"name": first.name, "digest": first.digest},
        "b": {"name": second.name, "digest": second.digest},
        "judged": {name: stored_measures(first.scores[name], second.scores[name], {}) for name in shared},
        "verdict": None,
    }


def _compare_judged(store: Store, first: str, second: str, data: Path, margin: float, device: str) -> dict[str, Any]:
    from vestigo.datasets.recognise import load_dataset
    from vestigo.promotion.gate import Margins, decide
    from vestigo.promotion.judge import judge_pair, split_name
    from vestigo.promotion.judge__measures import stored_measures
    from vestigo.resolve import open_model
    from vestigo_models.devices import resolve_device

    dataset = load_dataset(data)
    one, other = open_model(store, first), open_model(store, second)
    with stages() as advance:
        pair = judge_pair(dataset, one, other, device=resolve_device(device), progress=advance)
    name = split_name(dataset)
    known = {model.digest for model in store.models()}
    for package, scores in ((one, pair.before), (other, pair.after)):
        if package.digest in known:
            store.record_scores(package.digest, {name: scores})
    return {
        "a": {"name": one.name, "digest": one.digest},
        "b": {"name": other.name, "digest": other.digest},
        "judged": {name: stored_measures(pair.before, pair.after, pair.differences)},
        "verdict": decide(pair.differences, Margins(mAP=margin, attributes=margin)).to_dict(),
    }


def _tell(store: Store, made: Promotion, as_json: bool) -> None:
    from vestigo.promotion.promote import stale_crops

    stale = stale_crops(store.crop_counts(), made.model)
    emit({**promotion_row(made), "serving": made.model, "stale_crops": stale}, as_json, print_promotion)
    if stale and made.model is not None:
        note(f"{stale} crops are of other models; index them again: vestigo index --reindex-stale --store {store.ref}")
