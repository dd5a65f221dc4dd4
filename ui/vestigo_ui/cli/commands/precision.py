"""`vestigo precision`: how right a model is on all crops, from those that were reviewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from vestigo_ui.cli.commands.label_sets import ProjectsOption
from vestigo_ui.cli.options import SchemaOption, check_schema
from vestigo_ui.cli.output import JsonOption, StoredModelOption, StoreOption, emit, out


def precision_command(
    store: StoreOption,
    model: StoredModelOption = None,
    project: ProjectsOption = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out predictions that are less sure than this.")
    ] = 0.0,
    period: Annotated[str, typer.Option(help="What results over time are split by: day, week or month.")] = "month",
    by: Annotated[
        str | None, typer.Option(help="Also print a table for each camera or period.", show_default=False)
    ] = None,
    schema: SchemaOption = None,
    values: Annotated[bool, typer.Option("--values", help="Also print precision and recall of every value.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate the precision of every attribute on the whole archive from the tasks that were drawn and reviewed.

    Each task counts by how likely it was drawn, so that it does not matter what was chosen for review; what reviewers
    are believed to get wrong, where several answered the same, is taken out. Intervals are at 95 %.

    Example: vestigo precision --store archive --by camera
    """
    from vestigo.resolve import resolve_review_model
    from vestigo.review.estimates.precision import Period, estimate_precision
    from vestigo.review.estimates.review_sample import read_review_sample
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    if period not in get_args(Period):
        raise UsageError(f"period {period!r} is not one of {', '.join(get_args(Period))}")
    if by not in (None, "camera", "period"):
        raise UsageError(f"--by {by!r} is not camera or period")
    with Store.open(store, create=False) as opened:
        judged = resolve_review_model(opened, model)
        check_schema(schema, judged.name, judged.facts.attributes)
        sample = read_review_sample(opened, judged, project)
    found = estimate_precision(sample.reviewed, confidence=confidence, period=cast("Period", period))
    error = sample.reviewed.error
    accuracies = [one.accuracy.value for one in found.attributes.values() if one.accuracy is not None]
    result = {
        "model": judged.name,
        "digest": judged.digest,
        **found.to_dict(),
        "attributes_mean": sum(accuracies) / len(accuracies) if accuracies else None,
        "tasks": len(sample.reviewed.probability) - sample.missing,
        "crops": len(sample.reviewed.task),
        "missing": sample.missing,
        "learnt": sample.learnt,
        "reviewer_error": error.rate,
        "reviewer_pairs": error.pairs,
    }
    emit(result, as_json, lambda told: _print(told, by, values))


def _print(result: Mapping[str, Any], by: str | None, values: bool) -> None:
    judged = f"model {result['model']} ({result['digest'][:12]})"
    out.print(f"{judged}: {result['tasks']} tasks with {result['crops']} crops reviewed", markup=False)
    known = (
        f"from {result['reviewer_pairs']} answers given twice"
        if result["reviewer_pairs"]
        else "assumed, as nobody answered twice"
    )
    out.print(f"  reviewers are taken for wrong in {100 * result['reviewer_error']:.1f} % of answers, {known}")
    if result["learnt"]:
        out.print(f"  left out: {result['learnt']} tasks about people from whom it may have learnt")
    if result["missing"]:
        out.print(f"  {result['missing']} reviewed tasks have no crop of this model and are left out", style="yellow")
    out.print(_table(result["attributes"]))
    if values:
        out.print(_value_table(result["attributes"]))
    for name, attributes in (result["cameras" if by == "camera" else "periods"] if by else {}).items():
        out.print(f"\n{by} {name}", markup=False)
        out.print(_table(attributes))


def _table(attributes: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("attribute", no_wrap=True)
    for name in ("accuracy", "95 %", "tasks", "cannot tell", "coverage", "more for ±3"):
        table.add_column(name, justify="right", no_wrap=name == "95 %")
    for name, one in attributes.items():
        if one["accuracy"] is None:
            table.add_row(name, "–", "", "0", str(one["cannot_tell"]), _percent(one["coverage"]), "")
            continue
        table.add_row(
            name,
            _percent(one["accuracy"]),
            f"{_percent(one['low'])} to {_percent(one['high'])}",
            str(one["reviewed"]),
            str(one["cannot_tell"]),
            _percent(one["coverage"]),
            str(one["more_reviews"]),
        )
    return table


def _value_table(attributes: Mapping[str, Any]) -> Table:
    table = Table(box=None)
    table.add_column("attribute")
    table.add_column("value")
    for name in ("precision", "95 %", "recall", "95 %"):
        table.add_column(name, justify="right")
    for name, one in attributes.items():
        for value, told in one["values"].items():
            cells = []
            for kind in ("precision", "recall"):
                low, high = told[f"{kind}_low"], told[f"{kind}_high"]
                cells += [_percent(told[kind]), "" if low is None else f"{_percent(low)} to {_percent(high)}"]
            table.add_row(name, value, *cells)
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
