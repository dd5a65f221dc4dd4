"""`vestigo models`: which models a store knows, how good they are, and which one serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo_ui.cli.evaluation import stages
from vestigo_ui.cli.options import login
from vestigo_ui.cli.output import DeviceOption, JsonOption, StoreOption, emit, note, out

if TYPE_CHECKING:
    from vestigo.store.models.records import Model, Promotion
    from vestigo.store.open import Store


SHORT, LISTED = 12, 8
"""Digits of a digest in a sentence, and in a list."""


def model_row(model: Model, serving: str | None, counts: Mapping[str, int]) -> dict[str, Any]:
    """What `list` and `show` say of a model."""
    return {
        "name": model.name,
        "digest": model.digest,
        "parent": model.parent,
        "registered": model.registered.isoformat(),
        "serving": model.digest == serving,
        "crops": counts.get(model.digest, 0),
        "scores": model.scores,
    }


def promotion_row(made: Promotion) -> dict[str, Any]:
    """A promotion or rollback."""
    return {**asdict(made), "at": made.at.isoformat()}


def print_models(result: Mapping[str, Any]) -> None:
    """Print a table of models; the one that serves has a mark."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("", "name", "digest", "parent", "registered"):
        table.add_column(name, no_wrap=True)
    for name in ("crops", "mAP", "attr.", "gate"):
        table.add_column(name, justify="left" if name == "gate" else "right")
    for row in result["models"]:
        table.add_row(
            "serves" if row["serving"] else "",
            row["name"],
            row["digest"][:LISTED],
            (row["parent"] or "")[:LISTED],
            row["registered"][:10],
            str(row["crops"]),
            *_judged(row["scores"]),
        )
    out.print(table)
    if result["serving"] is None:
        out.print("no promotion is in force: the newest model with crops is searched", style="dim")


def print_shown(result: Mapping[str, Any]) -> None:
    """Print all that is known of a model."""
    mark = ", serves" if result["serving"] else ""
    out.print(f"[bold]{result['name']}[/bold] {result['digest']}{mark}", highlight=False)
    facts = result["facts"]
    schema = facts["attribute_schema"]
    lines = {
        "location": result["location"],
        "registered": result["registered"],
        "parent": result["parent"] or "none",
        "crops": result["crops"],
        "descriptor": f"{sum(facts['blocks'])} numbers, {facts['parts']} parts that may be invisible",
        "attributes": "none" if schema is None else schema["name"],
        "calibrated": "no" if facts["calibration"] is None else "yes",
        **{f"origin, {name}": value for name, value in result["origin"].items()},
        **{f"score, {name}": _brief("", scores) for name, scores in result["scores"].items()},
    }
    for name, value in lines.items():
        out.print(f"  {name}: {value}", highlight=False, markup=False)
    for made in result["promotions"]:
        out.print(f"  {_sentence(made)}", highlight=False, markup=False)


def print_compared(result: Mapping[str, Any]) -> None:
    """Print a table of measures for each test set, and what the gate would say."""
    for name, measures in result["judged"].items():
        table = Table(box=None, header_style="dim", pad_edge=False, title=name, title_justify="left")
        table.add_column("percent")
        for column in (f"A {result['a']['name']}", f"B {result['b']['name']}", "B - A", "95 %", "identities"):
            table.add_column(column, justify="right")
        for measure, row in measures.items():
            cells = [measure, _number(row["a"]), _number(row["b"])]
            if row["difference"] is not None:
                interval = f"{row['low']:+.1f} to {row['high']:+.1f}"
                cells += [f"{row['difference']:+.1f}", interval, str(row["identities"])]
            table.add_row(*cells)
        out.print(table)
    if (verdict := result["verdict"]) is not None:
        out.print(f"the gate would {'let B serve' if verdict['promoted'] else 'refuse B'}:")
        for reason in verdict["reasons"]:
            out.print(f"  {reason}", highlight=False, markup=False)


def print_promotion(result: Mapping[str, Any]) -> None:
    """Print what serves from now on."""
    out.print(_sentence(result), highlight=False, markup=False)


def _sentence(made: Mapping[str, Any]) -> str:
    now, before = ("no promoted model" if made[key] is None else made[key][:SHORT] for key in ("model", "before"))
    why = f": {'; '.join(made['reasons'])}" if made["reasons"] else ""
    return f"{made['kind']} of {made['at'][:16].replace('T', ' ')} by {made['by']}: {now} serves, before {before}{why}"


def _judged(scores: Mapping[str, Any]) -> tuple[str, str, str]:
    """mAP and mean attribute accuracy of the test that was recorded last, and what the gate said."""
    tests = [one for one in scores.values() if isinstance(one, dict) and "mAP" in one]
    gate = scores.get("gate", {}).get("promoted")
    said = "" if gate is None else ("passed" if gate else "refused")
    return (_number(tests[-1]["mAP"]), _number(tests[-1].get("attributes_mean")), said) if tests else ("", "", said)


def _brief(name: str, scores: Any) -> str:
    said = "recorded"
    if isinstance(scores, dict) and "promoted" in scores:
        said = "passed" if scores["promoted"] else f"refused: {'; '.join(scores['reasons'][:1])}"
    elif isinstance(scores, dict) and "mAP" in scores:
        said = f"mAP {_number(scores['mAP'])}, attributes {_number(scores.get('attributes_mean'))}"
    return f"{name}: {said}" if name else said


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


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
        serving, counts = opened.models.serving(), opened.models.crop_counts()
        rows = [model_row(model, serving, counts) for model in opened.models.list()]
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
            **model_row(found, opened.models.serving(), opened.models.crop_counts()),
            "location": found.location,
            "origin": found.origin,
            "facts": found.facts.to_dict(),
            "promotions": [
                promotion_row(made) for made in opened.models.promotions() if found.digest in (made.model, made.before)
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
    from vestigo.promotion.promote import promote_manually
    from vestigo.resolve import open_registered
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        found = _find(opened, model)
        open_registered(found)
        made = promote_manually(
            opened,
            found,
            by=by or login(),
            account=login(),
            serving=opened.models.serving(),
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
        made = opened.models.rollback(by=by or login(), reasons=[reason] if reason else [], account=login())
        _tell(opened, made, as_json)


def _find(store: Store, ref: str) -> Model:
    from vestigo.resolve import find_registered, resolve_digest

    return find_registered(store, resolve_digest(store, ref))


def _compare_stored(first: Model, second: Model) -> dict[str, Any]:
    from vestigo.promotion.judge import compare_scores, split_names
    from vestigo_models.errors import UsageError

    shared = [name for name in split_names(first.scores) if name in second.scores]
    if not shared:
        raise UsageError(
            f"no score is kept of both {first.name} ({first.digest[:12]}) and {second.name} ({second.digest[:12]}): "
            "judge them with --data DATASET"
        )
    return {
        "a": {"name": first.name, "digest": first.digest},
        "b": {"name": second.name, "digest": second.digest},
        "judged": {name: compare_scores(first.scores[name], second.scores[name], {}) for name in shared},
        "verdict": None,
    }


def _compare_judged(store: Store, first: str, second: str, data: Path, margin: float, device: str) -> dict[str, Any]:
    from vestigo.datasets.recognise import load_dataset_for_model
    from vestigo.promotion.gate import Margins, decide_promotion
    from vestigo.promotion.judge import compare_scores, evaluate_pair, split_name
    from vestigo.resolve import open_model
    from vestigo_models.devices import resolve_device

    one, other = open_model(store, first), open_model(store, second)
    dataset = load_dataset_for_model(data, one.schema)
    with stages() as advance:
        pair = evaluate_pair(dataset, one, other, device=resolve_device(device), progress=advance)
    name = split_name(dataset)
    known = {model.digest for model in store.models.list()}
    for package, scores in ((one, pair.before), (other, pair.after)):
        if package.digest in known:
            store.models.record_scores(package.digest, {name: scores})
    return {
        "a": {"name": one.name, "digest": one.digest},
        "b": {"name": other.name, "digest": other.digest},
        "judged": {name: compare_scores(pair.before, pair.after, pair.differences)},
        "verdict": decide_promotion(pair.differences, Margins(mAP=margin, attributes=margin)).to_dict(),
    }


def _tell(store: Store, made: Promotion, as_json: bool) -> None:
    from vestigo.promotion.promote import count_stale_crops

    stale = count_stale_crops(store.models.crop_counts(), made.model)
    emit({**promotion_row(made), "serving": made.model, "stale_crops": stale}, as_json, print_promotion)
    if stale and made.model is not None:
        note(f"{stale} crops are of other models; index them again: vestigo index --reindex-stale --store {store.ref}")
