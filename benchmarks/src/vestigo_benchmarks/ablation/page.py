"""The tables of an ablation as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestigo.datasets.reid import ReidDataset
from vestigo_benchmarks.ablation.differences import Table
from vestigo_benchmarks.ablation.paper import BACKBONE, DUKE, MARKET, SIZES, TITLES
from vestigo_benchmarks.ablation.recipe import AblationRecipe
from vestigo_benchmarks.ablation.tables import MISSES
from vestigo_models.schemas.builtin import MARKET_1501

MISSING = "–"
PAPER_COLUMNS = tuple(f"paper, {title}" for title in TITLES.values())
ATTRIBUTE_HEAD = ("", *MARKET_1501.names, "mean")
RETRIEVAL_HEAD = ("", "seeds", "mAP", "Rank-1", "gain in mAP", "over the row above", *PAPER_COLUMNS, "")


@dataclass(frozen=True, kw_only=True)
class PaperFigures:
    """Which of the paper's figures are closest to a report's trainings, and how these differ from the paper's.

    Attributes:
        dataset: `MARKET` or `DUKE`.
        differences: Such as "other data"; empty if the trainings are those of the paper.
    """

    dataset: str = MARKET
    differences: tuple[str, ...] = ("other data", "other backbone")

    @classmethod
    def for_run(cls, dataset: ReidDataset, recipe: AblationRecipe) -> PaperFigures:
        """Return the figures on the dataset of a run; those on Market-1501 for a dataset that the paper lacks."""
        sizes = (len(dataset.train), len(dataset.query))
        is_same = not dataset.is_rendered and SIZES.get(dataset.name) == sizes
        differences = {
            "other data": not is_same,
            "other backbone": recipe.backbone != BACKBONE,
            "other recipe": not recipe.is_full or bool(recipe.overrides),
        }
        shown = DUKE if dataset.name == DUKE and not dataset.is_rendered else MARKET
        return cls(dataset=shown, differences=tuple(name for name, differs in differences.items() if differs))

    @property
    def sentence(self) -> str:
        """What the figures are and what they are worth."""
        if not self.differences:
            return f"The paper's figures on {TITLES[self.dataset]} are for the data, backbone and recipe of this run."
        return f"The paper's figures are for orientation alone: {', '.join(self.differences)}."


def ablation_page(
    tables: Mapping[str, Any], facts: Mapping[str, str], *, parser: str, paper: PaperFigures | None = None
) -> str:
    """Return the page.

    Args:
        tables: Result of `vestigo_benchmarks.ablation.tables.ablation_tables`.
        facts: Name -> value: dataset, command and device.
        paper: The paper's figures in the tables; by default those on Market-1501, for other data and backbone.
        parser: Name of the parser whose regions `parser` and `fls` are trained on.
    """
    parts = [
        "# Ablation",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "Percent, mean ± sample standard deviation over seeds. Differences are paired over seeds and the people who are"
        " judged, with the 95 % interval for other seeds and people (of one seed: for other people). A row is *as in"
        " the paper* if its interval is above 0, as every step of the paper is, *opposite* if it is below 0, and"
        f" *undecided* if it holds 0. {(paper or PaperFigures()).sentence}",
        *_datasets(tables["table3"]),
        *_retrieval("Table 4: modules", tables["table4"]),
        *_retrieval("Table 5: semantics", tables["table5"], f"The parser is {parser}."),
        *_retrieval("Table 6: where attributes come from", tables["table6"]),
        *_attributes(tables["table7"]),
        *_methods(tables["table8"]),
        *_attribute_methods(tables["table9"]),
        *_filter(tables["filter"]),
        *_control(tables["control"]),
        *_cells(tables["cells"]),
    ]
    return "\n\n".join(parts) + "\n"


def _retrieval(title: str, rows: Sequence[Table], note: str = "") -> list[str]:
    if not rows:
        return []
    body = [
        (
            row["name"],
            str(len(row["seeds"])),
            _spread(row["mAP"]),
            _spread(row["rank1"]),
            _difference(row["gain"]),
            _difference(row["step"]),
            *map(_pair, row["papers"].values()),
            row["verdict"] or "",
        )
        for row in rows
    ]
    return [f"## {title}", *([note] if note else []), _table(RETRIEVAL_HEAD, body), *_diagnoses(rows)]


def _attributes(rows: Sequence[Table]) -> list[str]:
    if not rows:
        return []
    names = list(rows[0]["attributes"])
    head = ("", *names, "mean", "balanced", "step of the mean", "better", "")
    body: list[tuple[str, ...]] = []
    for row in rows:
        values = [_spread(row["attributes"].get(name)) for name in names]
        better = MISSING if row["better"] is None else f"{row['better']} of {len(names)}"
        step = _difference(row["step"])
        means = (_spread(row["mean"]), _spread(row["balanced"]))
        body.append((row["name"], *values, *means, step, better, row["verdict"] or ""))
        if row["better"] is not None:
            body.append(("*step*", *(_difference(row["steps"][name]) for name in names), "", "", "", "", ""))
        if tuple(names) == MARKET_1501.names:
            body.append(("*paper, Market-1501*", *map(str, row["paper"]), "", "", "", ""))
    note = "Official accuracy by image: an identity without a colour counts as wrong. *balanced* is the mean recall."
    parts = ["## Table 7: attributes", note, _table(head, body), *_diagnoses(rows)]
    if tuple(names) != MARKET_1501.names:
        figures = [(row["name"], *map(str, row["paper"])) for row in rows]
        parts += ["The paper, on Market-1501; it has none of DukeMTMC-reID:", _table(ATTRIBUTE_HEAD, figures)]
    return parts


def _datasets(rows: Sequence[Table]) -> list[str]:
    head = ("", "identities", "images", "cameras", "attribute columns")
    return ["## Table 3: datasets", _table(head, [(row["name"], *map(str, row["counts"])) for row in rows])]


def _methods(rows: Sequence[Table]) -> list[str]:
    body = [
        (row["name"], *map(_pair, row["papers"].values()), "")
        if row["config"] is None
        else (f"`{row['config']}`", MISSING, MISSING, f"{_spread(row['mAP'])} / {_spread(row['rank1'])}")
        for row in rows
    ]
    note = "mAP / Rank-1. The methods are as the paper prints them."
    return ["## Table 8: methods", note, _table(("", *PAPER_COLUMNS, "here"), body)]


def _attribute_methods(rows: Sequence[Table]) -> list[str]:
    body = [
        (row["name"], *map(str, row["paper"]))
        if row["config"] is None
        else (f"`{row['config']}`, here", *map(_spread, row["attributes"].values()), _spread(row["mean"]))
        for row in rows
    ]
    note = "The attributes of Market-1501; the paper has none of DukeMTMC-reID."
    return ["## Table 9: attributes of other methods", note, _table(ATTRIBUTE_HEAD, body)]


def _filter(rows: Sequence[Table]) -> list[str]:
    if not rows:
        return []
    head = ("filter", "threshold", "on", "kept", "matches lost", "by identity", "mAP", "Rank-1", "speed-up", "")
    body = [
        (
            row["mode"],
            _spread(row["threshold"], digits=3),
            f"{100 * row['on']:.0f} %",
            _spread(row["kept_fraction"], scale=100),
            _spread(row["true_matches_lost"], scale=100, digits=2),
            _spread(row["identity_loss"], scale=100, digits=2),
            _spread(row["mAP"]),
            _spread(row["rank1"]),
            _spread(row["speed_up"], digits=2),
            row["verdict"] or "",
        )
        for row in rows
    ]
    note = (
        "The full model. Half of the held-out people calibrate, the queries of the other half are ranked among the"
        " whole gallery, over several random halves. *kept* is the share of the gallery that stays, *by identity* the"
        " loss that `auto` bounds, *speed-up* that of matching, measured side by side on this gallery. The paper's"
        " speed-up at 0.7 is read as 7.1."
    )
    reasons = [f"- {row['mode']}: {row['reason']}" for row in rows if row["reason"]]
    reasons += [
        f"- {row['mode']} misses: of a gallery of {row['gallery']} images {_spread(row['kept_fraction'], scale=100)} %"
        " stay, and what they save is less than the filter takes"
        for row in rows
        if row["verdict"] == MISSES
    ]
    return ["## The filter", note, _table(head, body), *(["\n".join(reasons)] if reasons else [])]


def _control(row: Table | None) -> list[str]:
    if row is None:
        return []
    return [
        "## Control",
        f"The neck alone, without regions: mAP {_spread(row['mAP'])}, Rank-1 {_spread(row['rank1'])}; over the baseline"
        f" {_difference(row['over_baseline'])}. The gain of FLS over it is due to the regions:"
        f" {_difference(row['fls_over_control'])}.",
    ]


def _cells(cells: Sequence[Table]) -> list[str]:
    head = ("configuration", "seed", "mAP", "Rank-1", "training s", "judging s", "CPU s", "device")
    body = [
        (
            cell["config"],
            str(cell["seed"]),
            _number(cell["mAP"]),
            _number(cell["rank1"]),
            _number(cell["seconds"], 0),
            _number(cell["judging_seconds"], 0),
            _number(cell["cpu_seconds"], 0),
            cell["device"],
        )
        for cell in cells
    ]
    return ["## Trainings", _table(head, body)] if cells else []


def _diagnoses(rows: Sequence[Table]) -> list[str]:
    lines = [f"- {row['name']} is {row['verdict']}: {_diagnosis(row['diagnosis'])}" for row in rows if row["diagnosis"]]
    return ["\n".join(lines)] if lines else []


def _diagnosis(figures: Mapping[str, Any]) -> str:
    """Return the figures of a diagnosis in one line, without missing ones."""
    parts = []
    for key, words in (("labels", "IoU of the label maps trained on"), ("regions", "IoU of the predicted regions")):
        if figures[key]:
            parts.append(f"{words}: " + ", ".join(f"{name} {_number(value)}" for name, value in figures[key].items()))
    if figures["belongings_auc"] is not None:
        parts.append(f"AUC of belongings {figures['belongings_auc']:.3f}")
    if figures["attributes_mean"] is not None:
        official, balanced = (_number(figures[f"attributes_{kind}"]) for kind in ("mean", "balanced"))
        parts.append(f"attributes {official} official, {balanced} balanced")
    losses = ", ".join(f"{name} {_number(value, 3)}" for name, value in figures["losses"].items())
    return "; ".join([*parts, f"losses of the last epoch: {losses}"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(value: Table | None, *, digits: int = 1, scale: float = 1) -> str:
    if value is None:
        return MISSING
    text = f"{scale * value['mean']:.{digits}f}"
    return text if value["sd"] is None else f"{text} ± {scale * value['sd']:.{digits}f}"


def _difference(value: Table | None) -> str:
    """Return a difference with its interval."""
    if value is None:
        return MISSING
    text = f"{value['mean']:+.1f}"
    return text if value["low"] is None else f"{text} ({value['low']:+.1f} to {value['high']:+.1f})"


def _pair(figures: Mapping[str, float]) -> str:
    return f"{figures['mAP']} / {figures['rank1']}"


def _number(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
