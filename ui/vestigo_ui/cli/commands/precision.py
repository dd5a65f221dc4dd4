"""`vestigo precision`: estimate the precision of a model on all crops from reviewed samples."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from rich.table import Table
from typer import Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, make_table, out


def precision_command(
    *,
    store: opts.OpenStore,
    reviewed: opts.ReviewedModel,
    project: opts.ProjectsOption = None,
    confidence: Annotated[float, Option(min=0, max=1, help="Skip predictions below this confidence.")] = 0.0,
    period: Annotated[
        Literal["day", "week", "month"], Option(help="Period of results over time: day, week or month.")
    ] = "month",
    by: Annotated[
        Literal["camera", "period"] | None, Option(help="Also print a table for each camera or period.")
    ] = None,
    values: Annotated[bool, Option("--values", help="Also print precision and recall of every value.")] = False,
) -> Output:
    """Estimate the precision of every attribute on the whole archive from sampled and reviewed tasks.

    Each task is weighted by its inclusion probability, so that the sampling strategy does not bias the estimate. The
    error of annotators, estimated from tasks with several annotations, is corrected. Intervals are at 95 %.

    Example: vestigo precision --store archive --by camera
    """
    from vestigo.review.estimates.precision import estimate_precision
    from vestigo.review.estimates.review_sample import read_review_sample

    model = reviewed.resolve(store)
    sample = read_review_sample(store, model, project)
    estimate = estimate_precision(sample.reviewed, confidence=confidence, period=period)
    error = sample.reviewed.error
    accuracies = [attribute.accuracy.value for attribute in estimate.attributes.values() if attribute.accuracy]
    result = {
        "model": model.name,
        "digest": model.digest,
        **estimate.to_dict(),
        "attributes_mean": sum(accuracies) / len(accuracies) if accuracies else None,
        "tasks": len(sample.reviewed.probability) - sample.missing,
        "crops": len(sample.reviewed.task),
        "missing": sample.missing,
        "learnt": sample.learnt,
        "reviewer_error": error.rate,
        "reviewer_pairs": error.pairs,
    }
    return Output(result, lambda result: _print(result, by, values))


def _print(result: Mapping[str, Any], by: str | None, values: bool) -> None:
    model = f"model {result['model']} ({result['digest'][:12]})"
    out.print(f"{model}: {result['tasks']} tasks with {result['crops']} crops reviewed")
    source = "assumed, as no task has two annotations"
    if result["reviewer_pairs"]:
        source = f"estimated from {result['reviewer_pairs']} pairs of annotations"
    out.print(f"  error of annotators: {100 * result['reviewer_error']:.1f} %, {source}")
    if result["learnt"]:
        out.print(f"  skipped: {result['learnt']} tasks about people that may be in its training data")
    if result["missing"]:
        out.print(f"  {result['missing']} reviewed tasks have no crop of this model and are skipped", style="yellow")
    out.print(_attribute_table(result["attributes"]))
    if values:
        out.print(_value_table(result["attributes"]))
    for name, attributes in (result["cameras" if by == "camera" else "periods"] if by else {}).items():
        out.print(f"\n{by} {name}")
        out.print(_attribute_table(attributes))


def _attribute_table(attributes: Mapping[str, Any]) -> Table:
    rows = []
    for name, row in attributes.items():
        coverage = _percent(row["coverage"])
        if row["accuracy"] is None:
            rows.append((name, "–", "", "0", row["cannot_tell"], coverage, ""))
            continue
        interval = f"{_percent(row['low'])} to {_percent(row['high'])}"
        counts = row["reviewed"], row["cannot_tell"], coverage, row["more_reviews"]
        rows.append((name, _percent(row["accuracy"]), interval, *counts))
    columns = ("attribute", ">accuracy", ">95 %", ">tasks", ">cannot tell", ">coverage", ">more for ±3")
    return make_table(columns, rows)


def _value_table(attributes: Mapping[str, Any]) -> Table:
    rows = []
    for name, attribute in attributes.items():
        for value, row in attribute["values"].items():
            cells = []
            for kind in ("precision", "recall"):
                low, high = row[f"{kind}_low"], row[f"{kind}_high"]
                cells += [_percent(row[kind]), "" if low is None else f"{_percent(low)} to {_percent(high)}"]
            rows.append((name, value, *cells))
    return make_table(("attribute", "value", ">precision", ">95 %", ">recall", ">95 %"), rows)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
