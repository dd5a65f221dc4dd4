"""`vestigo models`: the models of a store, their scores, and which one serves."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, Typer

from vestigo.resolve import find_registered, open_model, open_registered, resolve_digest
from vestigo.store.models.records import Model, Promotion
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import read_dataset_for_model
from vestigo_ui.cli.output import Output, command, command_line, make_table, note, number_text, out, progress_stages

SHORT, LISTED = 12, 8
"""Digits of a digest in a sentence, and in a list."""

app = Typer(help="The models of a store: compare, promote, roll back.", no_args_is_help=True)
ModelArgument = Annotated[str, Argument(help="Name or digest (6 digits or more) of the registry, or a folder.")]
ReasonOption = Annotated[str | None, Option("--reason", help="The reason, which is recorded.")]


@command(app, "list")
def list_command(store: opts.OpenStore) -> Output:
    """List the models of a store, newest first, with parents, scores and numbers of crops.

    Example: vestigo models list --store archive
    """
    serving, counts = store.models.serving(), store.models.crop_counts()
    rows = [_model_row(model, serving, counts) for model in store.models.list()]
    return Output({"models": rows, "serving": serving}, _print_models)


@command(app, "show")
def show_command(model: ModelArgument, store: opts.OpenStore) -> Output:
    """Show a model: its training, scores, promotions, and the meaning of its crops' columns.

    Example: vestigo models show 3f2a9c --store archive
    """
    shown = _find(store, model)
    promotions = [made for made in store.models.promotions() if shown.digest in (made.model, made.before)]
    result = {
        **_model_row(shown, store.models.serving(), store.models.crop_counts()),
        "location": shown.location,
        "origin": shown.origin,
        "facts": shown.facts.to_dict(),
        "promotions": [_promotion_row(promotion) for promotion in promotions],
    }
    return Output(result, _print_model)


@command(app, "compare")
def compare_command(
    first: Annotated[str, Argument(metavar="A", help="A model, in the role of the serving model.")],
    second: Annotated[str, Argument(metavar="B", help="Another model, in the role of the candidate.")],
    store: opts.OpenStore,
    data: Annotated[Path | None, Option(help="Dataset whose query and gallery both are evaluated on.")] = None,
    margin: Annotated[float, Option(min=0, help="Points of mAP or accuracy that the gate lets B lose.")] = 1.0,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Compare two models: the advantage of B over A with 95 % intervals, and the gate's verdict on B.

    With --data both are evaluated on the dataset's test images, and the scores are recorded. Without, their recorded
    scores are compared. Nothing is promoted: the gate promotes candidates of `vestigo retrain`.

    Example: vestigo models compare tiny 3f2a9c --data Market-1501-v15.09.15 --store archive
    """
    if data is None:
        result = _compare_recorded(_find(store, first), _find(store, second))
    else:
        result = _compare_on_data(store, first, second, data, margin, device)
    return Output(result, _print_comparison)


@command(app, "promote")
def promote_command(
    model: ModelArgument,
    store: opts.OpenStore,
    reason: ReasonOption = None,
    force: Annotated[
        bool, Option("--force", help="Promote a model that the gate refused or has not compared; requires --reason.")
    ] = False,
    by: opts.ByOption = None,
) -> Output:
    """Promote a model by hand: index and search use it from now on.

    A model that passed the gate against the serving model needs no reason. Crops of other models stay; `vestigo index
    --reindex-stale` replaces them.

    Example: vestigo models promote 3f2a9c --store archive --force --reason "checked by hand on the new camera"
    """
    from vestigo.promotion.promote import promote_manually

    promoted = _find(store, model)
    open_registered(promoted)
    promotion = promote_manually(
        store,
        promoted,
        by=by or opts.login(),
        account=opts.login(),
        serving=store.models.serving(),
        reason=reason,
        force=force,
    )
    return _promotion_output(store, promotion)


@command(app, "rollback")
def rollback_command(store: opts.OpenStore, reason: ReasonOption = None, by: opts.ByOption = None) -> Output:
    """Undo the last promotion that is in force: the model before it serves again.

    Example: vestigo models rollback --store archive --reason "hats are missed at night"
    """
    reasons = [reason] if reason else []
    promotion = store.models.rollback(by=by or opts.login(), reasons=reasons, account=opts.login())
    return _promotion_output(store, promotion)


def _model_row(model: Model, serving: str | None, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": model.name,
        "digest": model.digest,
        "parent": model.parent,
        "registered": model.registered.isoformat(),
        "serving": model.digest == serving,
        "crops": counts.get(model.digest, 0),
        "scores": model.scores,
    }


def _promotion_row(promotion: Promotion) -> dict[str, Any]:
    return {**asdict(promotion), "at": promotion.at.isoformat()}


def _find(store: opts.OpenStore, ref: str) -> Model:
    return find_registered(store, resolve_digest(store, ref))


def _compare_recorded(first: Model, second: Model) -> dict[str, Any]:
    from vestigo.promotion.judge import compare_scores, split_names

    shared = [name for name in split_names(first.scores) if name in second.scores]
    if not shared:
        raise UsageError(
            f"{first.name} ({first.digest[:SHORT]}) and {second.name} ({second.digest[:SHORT]}) have no recorded score "
            "on the same data: evaluate them with --data DATASET"
        )
    return {
        "a": {"name": first.name, "digest": first.digest},
        "b": {"name": second.name, "digest": second.digest},
        "judged": {name: compare_scores(first.scores[name], second.scores[name], {}) for name in shared},
        "verdict": None,
    }


def _compare_on_data(
    store: opts.OpenStore, first: str, second: str, data: Path, margin: float, device: str
) -> dict[str, Any]:
    from vestigo.promotion.gate import Margins, decide_promotion
    from vestigo.promotion.judge import compare_scores, evaluate_pair, split_name
    from vestigo_models.devices import resolve_device

    a, b = open_model(store, first), open_model(store, second)
    dataset = read_dataset_for_model(data, a.schema)
    with progress_stages() as open_progress:
        pair = evaluate_pair(dataset, a, b, device=resolve_device(device), progress=open_progress)
    name = split_name(dataset)
    registered = {model.digest for model in store.models.list()}
    for package, scores in ((a, pair.before), (b, pair.after)):
        if package.digest in registered:
            store.models.record_scores(package.digest, {name: scores})
    return {
        "a": {"name": a.name, "digest": a.digest},
        "b": {"name": b.name, "digest": b.digest},
        "judged": {name: compare_scores(pair.before, pair.after, pair.differences)},
        "verdict": asdict(decide_promotion(pair.differences, Margins(mAP=margin, attributes=margin))),
    }


def _promotion_output(store: opts.OpenStore, promotion: Promotion) -> Output:
    from vestigo.promotion.promote import count_stale_crops

    stale = count_stale_crops(store.models.crop_counts(), promotion.model)
    if stale and promotion.model is not None:
        again = command_line("index", "--reindex-stale", "--store", store.ref)
        note(f"{stale} crops are of other models; index them again: {again}")
    result = {**_promotion_row(promotion), "serving": promotion.model, "stale_crops": stale}
    return Output(result, _promotion_text(result))


def _print_models(result: Mapping[str, Any]) -> None:
    rows = []
    for row in result["models"]:
        tests = [scores for scores in row["scores"].values() if isinstance(scores, dict) and "mAP" in scores]
        figures = [number_text(tests[-1].get(name)) if tests else "" for name in ("mAP", "attributes_mean")]
        passed = row["scores"].get("gate", {}).get("promoted")
        serves = "serves" if row["serving"] else ""
        digests = row["digest"][:LISTED], (row["parent"] or "")[:LISTED]
        gate = "" if passed is None else ("passed" if passed else "refused")
        rows.append((serves, row["name"], *digests, row["registered"][:10], row["crops"], *figures, gate))
    columns = ("", "name", "digest", "parent", "registered", ">crops", ">mAP", ">attr.", "gate")
    out.print(make_table(columns, rows))
    if result["serving"] is None:
        out.print("no promotion is in force: the newest model with crops is searched", style="dim")


def _print_model(result: Mapping[str, Any]) -> None:
    mark = ", serves" if result["serving"] else ""
    out.print(f"{result['name']} {result['digest']}{mark}", highlight=False)
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
        **{f"score, {name}": _score_text(scores) for name, scores in result["scores"].items()},
    }
    for name, value in lines.items():
        out.print(f"  {name}: {value}", highlight=False)
    for promotion in result["promotions"]:
        out.print(f"  {_promotion_text(promotion)}", highlight=False)


def _print_comparison(result: Mapping[str, Any]) -> None:
    for name, measures in result["judged"].items():
        rows = []
        for measure, row in measures.items():
            cells = [measure, number_text(row["a"]), number_text(row["b"])]
            if row["difference"] is not None:
                interval = f"{row['low']:+.1f} to {row['high']:+.1f}"
                cells += [f"{row['difference']:+.1f}", interval, str(row["identities"])]
            rows.append(cells)
        sides = f">A {result['a']['name']}", f">B {result['b']['name']}"
        columns = ("percent", *sides, ">B - A", ">95 %", ">identities")
        out.print(make_table(columns, rows, title=name, title_justify="left"))
    if (verdict := result["verdict"]) is not None:
        out.print(f"the gate would {'promote B' if verdict['promoted'] else 'refuse B'}:")
        for reason in verdict["reasons"]:
            out.print(f"  {reason}", highlight=False)


def _promotion_text(row: Mapping[str, Any]) -> str:
    now, before = ("no promoted model" if row[key] is None else row[key][:SHORT] for key in ("model", "before"))
    why = f": {'; '.join(row['reasons'])}" if row["reasons"] else ""
    return f"{row['kind']} of {row['at'][:16].replace('T', ' ')} by {row['by']}: {now} serves, before {before}{why}"


def _score_text(scores: Any) -> str:
    if isinstance(scores, dict) and "promoted" in scores:
        return "passed" if scores["promoted"] else f"refused: {'; '.join(scores['reasons'][:1])}"
    if isinstance(scores, dict) and "mAP" in scores:
        return f"mAP {number_text(scores['mAP'])}, attributes {number_text(scores.get('attributes_mean'))}"
    return "recorded"
