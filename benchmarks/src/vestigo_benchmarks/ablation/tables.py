"""Tables 4 to 7 of the paper, and the filter's, from the results of single trainings.

A result is what one training of one configuration with one seed gave (`vestigo_benchmarks.ablation.cell` writes it).
Means are over seeds, spreads are sample standard deviations. Gains are paired: differences between two configurations
with the same seed, whose spread is not that of either.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MARKET, DUKE = "market-1501", "dukemtmc-reid"
RETRIEVAL = {
    MARKET: {
        "baseline": (85.9, 94.5),
        "clustering": (86.8, 94.6),
        "parser": (87.6, 95.0),
        "fls": (88.2, 95.2),
        "global-attr": (88.8, 95.3),
        "alm": (89.2, 95.5),
        "full": (89.5, 95.6),
    },
    DUKE: {
        "baseline": (76.4, 86.4),
        "clustering": (78.3, 88.4),
        "parser": (79.4, 89.7),
        "fls": (80.9, 90.6),
        "global-attr": (81.7, 90.9),
        "alm": (82.3, 91.5),
        "full": (82.8, 91.7),
    },
}
"""Dataset -> configuration -> mAP and Rank-1 in percent: tables 4, 5 and 6."""

ATTRIBUTES = {
    "global-attr": (90.7, 87.5, 83.6, 93.4, 93.2, 92.2, 87.0, 89.3, 76.7, 95.7, 73.1, 73.7, 86.3),
    "alm": (92.4, 88.4, 86.2, 95.7, 95.2, 94.4, 91.3, 93.0, 81.4, 97.2, 84.5, 81.9, 90.1),
    "full": (94.2, 89.1, 87.5, 96.4, 95.7, 95.4, 92.2, 94.5, 82.6, 98.9, 85.6, 82.5, 91.2),
}
"""Configuration -> accuracy of the 12 attributes in the schema's order, and their mean: table 7, on Market-1501."""

FILTER_SPEED_UP = 1.91 / 0.27
"""Speed-up of matching with the filter at 0.7, as the damaged sentence of the paper is read (docs/method.md)."""


Result = Mapping[str, Any]
Results = Mapping[str, Mapping[int, Result]]
"""Configuration -> seed -> result."""
Table = dict[str, Any]

TABLE_4 = {"baseline": "Baseline", "fls": "+ FLS", "alm": "+ ALM", "full": "+ AWM"}
TABLE_5 = {"baseline": "Baseline", "clustering": "+ clustering", "parser": "+ parser", "fls": "+ FLS"}
TABLE_6 = {"fls": "+ FLS", "global-attr": "+ attributes from the global feature", "alm": "+ ALM"}
TABLE_7 = {"global-attr": "global feature", "alm": "+ ALM", "full": "+ AWM"}
ORDER = ("baseline", "control", *(config for config in RETRIEVAL[MARKET] if config != "baseline"))
AS_PAPER, MISSES = "as in the paper", "misses"


def ablation_tables(results: Results, paper: str = MARKET) -> Table:
    """Return all tables, with the paper's figures on the dataset `paper`; rows without a result are omitted."""
    figures = RETRIEVAL[paper]
    return {
        "table4": _retrieval(results, TABLE_4, figures),
        "table5": _retrieval(results, TABLE_5, figures),
        "table6": _retrieval(results, TABLE_6, figures),
        "table7": _attributes(results, ATTRIBUTES if paper == MARKET else {}),
        "filter": _filter(results.get("full", {})),
        "control": _control(results),
        "cells": [_cell(result) for config in ORDER for _, result in sorted(results.get(config, {}).items())],
    }


def spread(values: Iterable[float | None]) -> Table | None:
    """Return `mean`, `sd` (sample standard deviation, None for one value) and `n` of the known values."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "sd": sd, "n": len(known)}


def gain(results: Results, config: str, base: str | None, read: Callable[[Result], float | None]) -> Table | None:
    """Return how much `config` is above `base`, paired over the seeds that both have."""
    ours, theirs = results.get(config, {}), results.get(base or "", {})
    pairs = [(read(ours[seed]), read(theirs[seed])) for seed in sorted(ours.keys() & theirs.keys())]
    return spread(a - b for a, b in pairs if a is not None and b is not None)


def mean_ap(result: Result) -> float | None:
    """MAP of a result, percent."""
    return _number(result["metrics"]["mAP"])


def rank1(result: Result) -> float | None:
    """Rank-1 of a result, percent."""
    return _number(result["metrics"]["rank1"])


def attributes_mean(result: Result) -> float | None:
    """Mean official accuracy of a result, percent."""
    return _number(result["attributes"]["mean"]) if result["attributes"] else None


def _retrieval(results: Results, rows: Mapping[str, str], figures: Mapping[str, tuple[float, float]]) -> list[Table]:
    first = next(iter(rows))
    table: list[Table] = []
    for config, before in zip(rows, [None, *rows], strict=False):
        if not results.get(config):
            continue
        step = gain(results, config, before, mean_ap)
        paper = figures[config]
        row = {
            "name": rows[config],
            "config": config,
            "seeds": sorted(results[config]),
            "mAP": spread(map(mean_ap, results[config].values())),
            "rank1": spread(map(rank1, results[config].values())),
            "gain": gain(results, config, first, mean_ap) if config != first else None,
            "gain_rank1": gain(results, config, first, rank1) if config != first else None,
            "step": step,
            "paper": {"mAP": paper[0], "rank1": paper[1]},
        }
        table.append({**row, **_verdict(step, results[config])})
    return table


def _attributes(results: Results, figures: Mapping[str, Sequence[float]]) -> list[Table]:
    table: list[Table] = []
    for config, before in zip(TABLE_7, [None, *TABLE_7], strict=False):
        labelled = [result for result in results.get(config, {}).values() if result["attributes"]]
        if not labelled:
            continue
        names = list(labelled[0]["attributes"]["official"])
        steps = {name: gain(results, config, before, _accuracy(name)) for name in names}
        step = gain(results, config, before, attributes_mean)
        row = {
            "name": TABLE_7[config],
            "config": config,
            "seeds": sorted(results[config]),
            "attributes": {name: spread(_accuracy(name)(result) for result in labelled) for name in names},
            "mean": spread(map(attributes_mean, labelled)),
            "balanced": spread(_number(result["attributes"]["balanced"]) for result in labelled),
            "step": step,
            "steps": steps,
            "better": sum(step is not None and step["mean"] > 0 for step in steps.values()) if before else None,
            "paper": list(figures.get(config, ())),
        }
        table.append({**row, **_verdict(step, results[config])})
    return table


def _filter(cells: Mapping[int, Result]) -> list[Table]:
    """Return one row for each mode, in the order of the first cell."""
    trials = [{trial["mode"]: trial for trial in result["filter"]} for result in cells.values() if result["filter"]]
    gallery = next((result["metrics"]["gallery"] for result in cells.values()), 0)
    rows = []
    for mode in trials[0] if trials else ():
        of_mode = [trial[mode] for trial in trials if mode in trial]
        row: Table = {"mode": mode, "seeds": len(of_mode), "gallery": gallery}
        for key in ("kept_fraction", "true_matches_lost", "identity_loss", "mAP", "rank1", "speed_up"):
            row[key] = spread(trial[key] for trial in of_mode)
        thresholds = [threshold for trial in of_mode for threshold in trial["thresholds"]]
        row["threshold"] = spread(threshold for threshold in thresholds if threshold <= 1)
        row["on"] = sum(threshold <= 1 for threshold in thresholds) / len(thresholds)
        row["reason"] = next((trial["reason"] for trial in of_mode if trial["reason"]), "")
        row["verdict"] = None
        if mode == "strict":
            faster = row["speed_up"] is not None and row["speed_up"]["mean"] > 1
            row |= {"paper": {"speed_up": FILTER_SPEED_UP}, "verdict": AS_PAPER if faster else MISSES}
        rows.append(row)
    return rows


def _control(results: Results) -> Table | None:
    """The neck without regions: what of `fls`'s gain over the baseline is the neck's, and what the regions'."""
    cells = results.get("control")
    if not cells:
        return None
    return {
        "config": "control",
        "seeds": sorted(cells),
        "mAP": spread(map(mean_ap, cells.values())),
        "rank1": spread(map(rank1, cells.values())),
        "over_baseline": gain(results, "control", "baseline", mean_ap),
        "fls_over_control": gain(results, "fls", "control", mean_ap),
        "diagnosis": _diagnosis(cells),
    }


def _cell(result: Result) -> Table:
    keys = ("config", "seed", "device", "epochs", "images", "seconds", "judging_seconds", "cpu_seconds")
    return {key: result[key] for key in keys} | {"mAP": mean_ap(result), "rank1": rank1(result)}


def _verdict(step: Table | None, cells: Mapping[int, Result]) -> Table:
    """Whether a row is above the one before it, as each row of the paper is; and why, where it is not."""
    if step is None:
        return {"verdict": None, "diagnosis": None}
    misses = step["mean"] <= 0
    return {"verdict": MISSES if misses else AS_PAPER, "diagnosis": _diagnosis(cells) if misses else None}


def _diagnosis(cells: Mapping[int, Result]) -> Table:
    """What may explain a row: label maps and P against the truth (IoU, percent), attributes, losses; means over seeds.

    `labels` are the last label maps that the network learnt from, `regions` what it sees on the gallery.
    """
    results = list(cells.values())
    return {
        "labels": _means([result["labels"] for result in results]),
        "regions": _means([result["regions"]["iou"] for result in results if result["regions"]]),
        "belongings_auc": _mean([result["belongings_auc"] for result in results]),
        "attributes_mean": _mean(list(map(attributes_mean, results))),
        "attributes_balanced": _mean([result["attributes"]["balanced"] for result in results if result["attributes"]]),
        "losses": _means([result["losses"] for result in results]),
    }


def _means(values: Sequence[Mapping[str, float | None] | None]) -> dict[str, float | None]:
    known = [each for each in values if each]
    return {name: _mean([each.get(name) for each in known]) for name in (known[0] if known else ())}


def _mean(values: Sequence[float | None]) -> float | None:
    summary = spread(values)
    return None if summary is None else float(summary["mean"])


def _accuracy(name: str) -> Callable[[Result], float | None]:
    def read(result: Result) -> float | None:
        return _number(result["attributes"]["official"][name]) if result["attributes"] else None

    return read


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
