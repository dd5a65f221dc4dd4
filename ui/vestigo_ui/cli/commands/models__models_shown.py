"""Models and promotions as JSON has them, and as people see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vestigo_ui.cli.output import out

if TYPE_CHECKING:
    from vestigo.store.runs.records import Model, Promotion

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
