"""Tables 3 to 9 of the paper, and the filter's, from the results of single trainings.

A result is what one training of one configuration with one seed gave (`vestigo_benchmarks.ablation.cell` writes it).
Means are over seeds, spreads are sample standard deviations. Steps and gains are differences of two configurations that
are paired over seeds and identities, see `vestigo_benchmarks.ablation.differences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo_benchmarks.ablation.differences import Measure, Result, Results, Table, paired_difference, spread
from vestigo_benchmarks.ablation.paper import (
    ATTRIBUTE_METHODS,
    ATTRIBUTES,
    DATASETS,
    DUKE,
    FILTER_SPEED_UP,
    MARKET,
    METHODS,
    RETRIEVAL,
    TITLES,
)
from vestigo_models.schemas.builtin import MARKET_1501

TABLE_4 = {"baseline": "Baseline", "fls": "+ FLS", "alm": "+ ALM", "full": "+ AWM"}
TABLE_5 = {"baseline": "Baseline", "clustering": "+ clustering", "parser": "+ parser", "fls": "+ FLS"}
TABLE_6 = {"fls": "+ FLS", "global-attr": "+ attributes from the global feature", "alm": "+ ALM"}
TABLE_7 = {"global-attr": "global feature", "alm": "+ ALM", "full": "+ AWM"}
ORDER = ("baseline", "control", *(config for config in RETRIEVAL[MARKET] if config != "baseline"))
AS_PAPER, OPPOSITE, UNDECIDED, NO_INTERVAL = "as in the paper", "opposite", "undecided", "no interval"
"""Verdict on a step, each of which raises the figure in the paper: its interval is above 0, below 0, or holds 0."""
MISSES = "misses"
"""Verdict on a filter that saves no time."""
MEAN_AP = Measure(
    read=lambda result: _number(result["metrics"]["mAP"]),
    sums=lambda people: people["retrieval"]["mAP"],
    side="retrieval",
)
RANK_1 = Measure(
    read=lambda result: _number(result["metrics"]["rank1"]),
    sums=lambda people: people["retrieval"]["rank1"],
    side="retrieval",
)
MEAN_ACCURACY = Measure(
    read=lambda result: _number(result["attributes"]["mean"]) if result["attributes"] else None,
    sums=lambda people: np.mean(list(people["attributes"]["official"].values()), axis=0),
    side="attributes",
)


@cache
def accuracy(name: str) -> Measure:
    """Return the official accuracy of an attribute."""
    return Measure(
        read=lambda result: _number(result["attributes"]["official"][name]) if result["attributes"] else None,
        sums=lambda people: people["attributes"]["official"][name],
        side="attributes",
    )


def ablation_tables(results: Results, paper: str = MARKET, dataset: ReidDataset | None = None) -> Table:
    """Return all tables; rows without a result are omitted.

    Args:
        results: Results of the trainings.
        paper: Dataset whose figures of the paper are `paper` in each row; `papers` has those of both.
        dataset: Dataset of the trainings, for table 3.
    """
    return {
        "table3": _datasets(dataset),
        "table4": _retrieval(results, TABLE_4, paper),
        "table5": _retrieval(results, TABLE_5, paper),
        "table6": _retrieval(results, TABLE_6, paper),
        "table7": _attributes(results),
        "table8": _methods(results),
        "table9": _attribute_methods(results),
        "filter": _filter(results.get("full", {})),
        "control": _control(results),
        "cells": [_cell(result) for config in ORDER for _, result in sorted(results.get(config, {}).items())],
    }


def _datasets(dataset: ReidDataset | None) -> list[Table]:
    rows = [{"name": TITLES[name], "counts": list(counts)} for name, counts in DATASETS.items()]
    if dataset is not None:
        splits = (dataset.train, dataset.gallery, *((dataset.query,) if dataset.held_out else ()))
        searched = np.concatenate([dataset.train.pids, dataset.query.pids])
        counts = [
            len(np.unique(searched[searched > 0])),
            sum(map(len, splits)) + dataset.junk,
            len(np.unique(np.concatenate([split.camids for split in splits]))),
            0 if dataset.without_labels else sum(len(each.fields) for each in dataset.schema.attributes),
        ]
        rows.append({"name": dataset.source_name, "counts": counts})
    return rows


def _retrieval(results: Results, rows: Mapping[str, str], paper: str) -> list[Table]:
    first = next(iter(rows))
    table: list[Table] = []
    for config, before in zip(rows, [None, *rows], strict=False):
        if not results.get(config):
            continue
        step = paired_difference(results, config, before, MEAN_AP)
        papers = {name: _figures(figures[config]) for name, figures in RETRIEVAL.items()}
        row = {
            "name": rows[config],
            "config": config,
            "seeds": sorted(results[config]),
            "mAP": spread(map(MEAN_AP.read, results[config].values())),
            "rank1": spread(map(RANK_1.read, results[config].values())),
            "gain": paired_difference(results, config, first, MEAN_AP) if config != first else None,
            "gain_rank1": paired_difference(results, config, first, RANK_1) if config != first else None,
            "step": step,
            "paper": papers[paper],
            "papers": papers,
        }
        table.append({**row, **_verdict(step, results[config])})
    return table


def _attributes(results: Results) -> list[Table]:
    table: list[Table] = []
    for config, before in zip(TABLE_7, [None, *TABLE_7], strict=False):
        labelled = [result for result in results.get(config, {}).values() if result["attributes"]]
        if not labelled:
            continue
        names = list(labelled[0]["attributes"]["official"])
        steps = {name: paired_difference(results, config, before, accuracy(name)) for name in names}
        step = paired_difference(results, config, before, MEAN_ACCURACY)
        row = {
            "name": TABLE_7[config],
            "config": config,
            "seeds": sorted(results[config]),
            "attributes": {name: spread(map(accuracy(name).read, labelled)) for name in names},
            "mean": spread(map(MEAN_ACCURACY.read, labelled)),
            "balanced": spread(_number(result["attributes"]["balanced"]) for result in labelled),
            "step": step,
            "steps": steps,
            "better": sum(step is not None and step["mean"] > 0 for step in steps.values()) if before else None,
            "paper": list(ATTRIBUTES[config]),
        }
        table.append({**row, **_verdict(step, results[config])})
    return table


def _methods(results: Results) -> list[Table]:
    """Table 8: methods on both datasets of the paper, and the results here."""
    methods = {
        name: dict(zip((MARKET, DUKE), map(_figures, figures), strict=True)) for name, figures in METHODS.items()
    }
    rows: list[Table] = [{"name": name, "config": None, "papers": papers} for name, papers in methods.items()]
    for config in ("baseline", "full"):
        if cells := results.get(config):
            scores = {
                "mAP": spread(map(MEAN_AP.read, cells.values())),
                "rank1": spread(map(RANK_1.read, cells.values())),
            }
            rows.append({"name": config, "config": config, **scores})
    return rows


def _attribute_methods(results: Results) -> list[Table]:
    """Table 9: accuracies of the attributes of Market-1501, and the results here if they are of the same attributes."""
    rows: list[Table] = [{"name": name, "config": None, "paper": list(row)} for name, row in ATTRIBUTE_METHODS.items()]
    labelled = [result for result in results.get("full", {}).values() if result["attributes"]]
    if labelled and tuple(labelled[0]["attributes"]["official"]) == MARKET_1501.names:
        attributes = {name: spread(map(accuracy(name).read, labelled)) for name in MARKET_1501.names}
        mean = spread(map(MEAN_ACCURACY.read, labelled))
        rows.append({"name": "full", "config": "full", "attributes": attributes, "mean": mean})
    return rows


def _figures(pair: tuple[float, float]) -> Table:
    return {"mAP": pair[0], "rank1": pair[1]}


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
        "mAP": spread(map(MEAN_AP.read, cells.values())),
        "rank1": spread(map(RANK_1.read, cells.values())),
        "over_baseline": paired_difference(results, "control", "baseline", MEAN_AP),
        "fls_over_control": paired_difference(results, "fls", "control", MEAN_AP),
        "diagnosis": _diagnosis(cells),
    }


def _cell(result: Result) -> Table:
    keys = ("config", "seed", "device", "epochs", "images", "seconds", "judging_seconds", "cpu_seconds")
    return {key: result[key] for key in keys} | {"mAP": MEAN_AP.read(result), "rank1": RANK_1.read(result)}


def _verdict(step: Table | None, cells: Mapping[int, Result]) -> Table:
    """Whether a row is above the one before it, as each row of the paper is; where it is not, what may explain it."""
    if step is None:
        return {"verdict": None, "diagnosis": None}
    if step["low"] is None:
        return {"verdict": NO_INTERVAL, "diagnosis": None}
    verdict = AS_PAPER if step["low"] > 0 else OPPOSITE if step["high"] < 0 else UNDECIDED
    return {"verdict": verdict, "diagnosis": None if verdict == AS_PAPER else _diagnosis(cells)}


def _diagnosis(cells: Mapping[int, Result]) -> Table:
    """What may explain a row: label maps and P against the truth (IoU, percent), attributes, losses; means over seeds.

    `labels` are the last label maps that the network learnt from, `regions` what it sees on the gallery.
    """
    results = list(cells.values())
    return {
        "labels": _means([result["labels"] for result in results]),
        "regions": _means([result["regions"]["iou"] for result in results if result["regions"]]),
        "belongings_auc": _mean([result["belongings_auc"] for result in results]),
        "attributes_mean": _mean(list(map(MEAN_ACCURACY.read, results))),
        "attributes_balanced": _mean([result["attributes"]["balanced"] for result in results if result["attributes"]]),
        "losses": _means([result["losses"] for result in results]),
    }


def _means(values: Sequence[Mapping[str, float | None] | None]) -> dict[str, float | None]:
    known = [each for each in values if each]
    return {name: _mean([each.get(name) for each in known]) for name in (known[0] if known else ())}


def _mean(values: Sequence[float | None]) -> float | None:
    summary = spread(values)
    return None if summary is None else float(summary["mean"])


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
