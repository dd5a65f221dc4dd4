"""Tables of an ablation compared with loops that write the formulas out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from vestigo.datasets.reid import ReidDataset
from vestigo_benchmarks.ablation.differences import crossed_interval
from vestigo_benchmarks.ablation.page import PaperFigures, ablation_page
from vestigo_benchmarks.ablation.paper import ATTRIBUTE_METHODS, ATTRIBUTES, RETRIEVAL
from vestigo_benchmarks.ablation.recipe import AblationRecipe
from vestigo_benchmarks.ablation.tables import TABLE_4, TABLE_5, TABLE_6, TABLE_7, ablation_tables
from vestigo_models.schemas.builtin import MARKET_1501

CONFIGS = ("baseline", "control", "clustering", "parser", "fls", "global-attr", "alm", "full")
WITH_ATTRIBUTES = ("global-attr", "alm", "full")
MODES = ("off", "strict", "auto 1 %")
PEOPLE = 5


def around(rng: np.random.Generator, mean: float) -> list[float]:
    """Return the figures of `PEOPLE` identities with a mean."""
    parts = rng.normal(0, 1, PEOPLE)
    return list((mean + parts - parts.mean()).tolist())


def result(config: str, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng((CONFIGS.index(config), seed))
    regions = ("foreground", "head", "belongings")

    def percent() -> float:
        return float(rng.uniform(20, 90))

    def trial(mode: str) -> dict[str, Any]:
        on = mode == "strict"
        return {
            "mode": mode,
            "thresholds": [0.7, 0.7] if on else [1.01, 1.01],
            "kept_fraction": float(rng.uniform()),
            "true_matches_lost": float(rng.uniform()),
            "identity_loss": float(rng.uniform()),
            "mAP": percent(),
            "rank1": percent(),
            "speed_up": float(rng.uniform(0.1, 0.9)) if on else None,
            "reason": "too few people" if mode == "auto 1 %" else "",
        }

    official = {n: percent() for n in MARKET_1501.names}
    attributes = {"official": official, "mean": sum(official.values()) / len(official), "balanced": percent()}
    mean_ap = percent()
    queries = {"pids": [*range(PEOPLE)], "images": [1] * PEOPLE, "mAP": around(rng, mean_ap), "rank1": [100.0] * PEOPLE}
    labels = {"pids": [*range(PEOPLE)], "images": [1] * PEOPLE}
    labels |= {"official": {name: around(rng, value) for name, value in official.items()}}
    return {
        "config": config,
        "seed": seed,
        "device": "one CPU thread",
        "epochs": 20,
        "images": 1920,
        "losses": {"total": percent(), "identity": percent()},
        "metrics": {"mAP": mean_ap, "mINP": percent(), "rank1": percent(), "rank5": 1.0, "queries": 9, "gallery": 99},
        "attributes": attributes if config in WITH_ATTRIBUTES else None,
        "regions": {"iou": {n: percent() for n in regions}, "mean": 1.0} if config == "fls" else None,
        "belongings_auc": 0.7 if config == "fls" else None,
        "labels": {n: percent() for n in regions} if config in ("parser", "fls") else None,
        "filter": [trial(mode) for mode in MODES] if config == "full" else [],
        "notes": [],
        "identities": {"retrieval": queries, "attributes": labels if config in WITH_ATTRIBUTES else None},
        "seconds": percent(),
        "judging_seconds": percent(),
        "cpu_seconds": percent(),
    }


@pytest.fixture(scope="module")
def results() -> dict[str, dict[int, Any]]:
    by_config = {config: {seed: result(config, seed) for seed in (1, 2, 3)} for config in CONFIGS}
    del by_config["fls"][2], by_config["clustering"]
    return by_config


def mean_and_sd(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) if len(values) > 1 else None
    return {"mean": pytest.approx(mean), "sd": sd if sd is None else pytest.approx(sd), "n": len(values)}


def paired(results: dict[str, dict[int, Any]], config: str, base: str, key: str) -> dict[str, Any]:
    ours, theirs = results[config], results[base]
    seeds = [s for s in (1, 2, 3) if s in ours and s in theirs]
    gains, images = [], np.ones(PEOPLE)
    for s in seeds:
        first, second = (cells[s]["identities"]["retrieval"][key] for cells in (ours, theirs))
        gains.append([a - b for a, b in zip(first, second, strict=True)])
    low, high = crossed_interval(np.array(gains), images)
    difference = mean_and_sd([ours[s]["metrics"][key] - theirs[s]["metrics"][key] for s in seeds])
    return {**difference, "low": pytest.approx(low), "high": pytest.approx(high)}


def test_retrieval_rows_are_means_with_paired_gains(results: dict[str, dict[int, Any]]) -> None:
    tables = ablation_tables(results)
    for number, rows in ((4, "baseline fls alm full"), (5, "baseline parser fls"), (6, "fls global-attr alm")):
        names = rows.split()
        table = {row["config"]: row for row in tables[f"table{number}"]}
        assert list(table) == names
        for config, row in table.items():
            for key in ("mAP", "rank1"):
                assert row[key] == mean_and_sd([cell["metrics"][key] for cell in results[config].values()])
            if config == names[0]:
                assert (row["gain"], row["step"], row["verdict"]) == (None, None, None)
            else:
                assert row["gain"] == paired(results, config, names[0], "mAP")
                assert row["gain_rank1"] == paired(results, config, names[0], "rank1")
    table4 = {row["config"]: row for row in tables["table4"]}
    for config, before in (("fls", "baseline"), ("alm", "fls"), ("full", "alm")):
        step = table4[config]["step"]
        assert step == paired(results, config, before, "mAP")
        verdict = "as in the paper" if step["low"] > 0 else "opposite" if step["high"] < 0 else "undecided"
        assert table4[config]["verdict"] == verdict
        assert (table4[config]["diagnosis"] is None) == (step["low"] > 0)
    # The row before is missing: nothing to compare with.
    assert {row["config"]: row for row in tables["table5"]}["parser"]["step"] is None
    assert (table4["fls"]["seeds"], table4["fls"]["step"]["n"]) == ([1, 3], 2)
    assert table4["full"]["paper"] == {"mAP": 89.5, "rank1": 95.6}
    assert table4["full"]["papers"]["dukemtmc-reid"] == {"mAP": 82.8, "rank1": 91.7}


@pytest.mark.parametrize(
    ("gain", "verdict"), [(5.0, "as in the paper"), (-5.0, "opposite"), (0.0, "undecided"), (None, "no interval")]
)
def test_verdict_is_said_of_interval(gain: float | None, verdict: str, results: dict[str, dict[int, Any]]) -> None:
    rng = np.random.default_rng(0)
    cells: dict[str, dict[int, Any]] = {"baseline": {}, "fls": {}}
    for seed in (1, 2, 3):
        for config, more in (("baseline", 0.0), ("fls", gain or 0.0)):
            cell = results["baseline"][seed]
            mean = 50.0 + more + float(rng.normal(0, 0.1))
            people = {**cell["identities"]["retrieval"], "mAP": around(rng, mean)}
            identities = None if gain is None else {"retrieval": people, "attributes": None}
            metrics = {**cell["metrics"], "mAP": mean}
            cells[config][seed] = {**cell, "config": config, "metrics": metrics, "identities": identities}
    tables = ablation_tables(cells)
    assert tables["table4"][1]["verdict"] == verdict
    page = ablation_page(tables, {}, parser="the default one")
    assert f"| 88.2 / 95.2 | 80.9 / 90.6 | {verdict} |" in page
    assert (f"- + FLS is {verdict}: " in page) == (verdict in ("opposite", "undecided"))


def test_paper_raises_every_figure_step_by_step() -> None:
    for figures in RETRIEVAL.values():
        for rows in (TABLE_4, TABLE_5, TABLE_6):
            steps = [figures[config][0] for config in rows]
            assert steps == sorted(set(steps))
    assert [ATTRIBUTES[config][-1] for config in TABLE_7] == [86.3, 90.1, 91.2]
    for row in (*ATTRIBUTES.values(), *ATTRIBUTE_METHODS.values()):
        assert sum(row[:-1]) / 12 == pytest.approx(row[-1], abs=0.1)


def test_report_has_paper_figures_of_both_datasets(results: dict[str, dict[int, Any]]) -> None:
    tables = ablation_tables(results, "dukemtmc-reid")
    page = ablation_page(tables, {}, parser="the default one")
    for line in (
        "| Market-1501 | 1501 | 32668 | 6 | 27 |",
        "| DukeMTMC-reID | 1404 | 36411 | 8 | 23 |",
        "| BoT (2019) | 85.9 / 94.5 | 76.4 / 86.4 |  |",
        "| the paper | 89.5 / 95.6 | 82.8 / 91.7 |  |",
        "| APR | 88.9 | 88.6 |",
    ):
        assert line in page
    assert [row["name"] for row in tables["table8"]][-2:] == ["baseline", "full"]
    mean = np.mean([cell["metrics"]["mAP"] for cell in results["full"].values()])
    assert f"| `full` | – | – | {mean:.1f} ±" in page


def test_incomplete_row_states_reason(results: dict[str, dict[int, Any]]) -> None:
    low = {config: dict(cells) for config, cells in results.items()}
    for config, figure in (("baseline", 50.0), ("fls", 1.0)):
        cell = results[config][1]
        people = {"retrieval": {**cell["identities"]["retrieval"], "mAP": [figure] * PEOPLE}, "attributes": None}
        scores = {"metrics": {**cell["metrics"], "mAP": figure}, "identities": people}
        low[config] = {seed: {**each, **scores} for seed, each in results[config].items()}
    (row,) = [row for row in ablation_tables(low)["table4"] if row["config"] == "fls"]
    assert row["verdict"] == "opposite"
    why = row["diagnosis"]
    for key, read in (("labels", lambda cell: cell["labels"]), ("regions", lambda cell: cell["regions"]["iou"])):
        expected = {name: np.mean([read(cell)[name] for cell in low["fls"].values()]) for name in read(low["fls"][1])}
        assert why[key] == pytest.approx(expected)
    assert why["belongings_auc"] == pytest.approx(0.7)
    assert why["losses"]["identity"] == pytest.approx(np.mean([low["fls"][s]["losses"]["identity"] for s in (1, 3)]))
    assert why["attributes_mean"] is None


def test_attributes_have_official_order(results: dict[str, dict[int, Any]]) -> None:
    rows = ablation_tables(results)["table7"]
    assert [row["config"] for row in rows] == list(WITH_ATTRIBUTES)
    for row, before in zip(rows, [None, *WITH_ATTRIBUTES], strict=False):
        assert list(row["attributes"]) == list(MARKET_1501.names)
        cells = results[row["config"]]
        for name in MARKET_1501.names:
            values = [cells[seed]["attributes"]["official"][name] for seed in (1, 2, 3)]
            assert row["attributes"][name] == mean_and_sd(values)
        assert row["mean"] == mean_and_sd([cells[seed]["attributes"]["mean"] for seed in (1, 2, 3)])
        if before is not None:
            others = results[before]
            better = sum(
                sum(cells[s]["attributes"]["official"][n] - others[s]["attributes"]["official"][n] for s in (1, 2, 3))
                > 0
                for n in MARKET_1501.names
            )
            assert row["better"] == better
    assert rows[0]["paper"][-1] == 86.3


def test_filter_results_are_averaged_over_seeds(results: dict[str, dict[int, Any]]) -> None:
    rows = {row["mode"]: row for row in ablation_tables(results)["filter"]}
    assert list(rows) == list(MODES)
    for place, mode in enumerate(MODES):
        trials = [results["full"][seed]["filter"][place] for seed in (1, 2, 3)]
        for key in ("kept_fraction", "true_matches_lost", "identity_loss", "mAP", "rank1"):
            assert rows[mode][key] == mean_and_sd([trial[key] for trial in trials])
    assert (rows["off"]["on"], rows["strict"]["on"]) == (0.0, 1.0)
    assert rows["strict"]["threshold"]["mean"] == pytest.approx(0.7)
    assert rows["strict"]["verdict"] == "misses"
    assert rows["auto 1 %"]["reason"] == "too few people"
    assert rows["off"]["speed_up"] is None


def test_control_separates_neck_from_regions(results: dict[str, dict[int, Any]]) -> None:
    row = ablation_tables(results)["control"]
    assert row["over_baseline"] == paired(results, "control", "baseline", "mAP")
    assert row["fls_over_control"] == paired(results, "fls", "control", "mAP")


def test_page_shows_every_row_and_training(results: dict[str, dict[int, Any]]) -> None:
    tables = ablation_tables(results)
    assert json.loads(json.dumps(tables)) == tables
    page = ablation_page(tables, {"Command": "`vestigo ablate`"}, parser="the default one")
    lines = page.splitlines()
    assert "- Command: `vestigo ablate`" in lines
    row = next(row for row in tables["table4"] if row["config"] == "full")
    text = f"| + AWM | 3 | {row['mAP']['mean']:.1f} ± {row['mAP']['sd']:.1f} |"
    assert any(line.startswith(text) for line in lines)
    trainings = lines[lines.index("## Trainings") :]
    assert sum(line.startswith("| " + config + " |") for config in CONFIGS for line in trainings) == 20
    assert "- auto 1 %: too few people" in lines
    steps = [row for t in ("table4", "table5", "table6", "table7") for row in tables[t]]
    misses = sum(row["verdict"] in ("opposite", "undecided") for row in steps)
    assert sum(line.startswith("- ") and "losses of the last epoch" in line for line in lines) == misses > 0
    # All lines of a table have as many columns as its head.
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_page_without_results_is_empty() -> None:
    tables = ablation_tables({})
    assert tables["table4"] == tables["table7"] == tables["filter"] == tables["cells"] == []
    assert tables["control"] is None
    headings = [line for line in ablation_page(tables, {}, parser="the default one").splitlines() if line[:2] == "##"]
    assert headings == ["## Table 3: datasets", "## Table 8: methods", "## Table 9: attributes of other methods"]


def dataset_of(name: str, images: int, queries: int, root: Path) -> ReidDataset:
    """Return a dataset of which only the sizes, the name and the folder are read."""
    return cast("ReidDataset", SimpleNamespace(
        name=name, train=range(images), query=range(queries), is_rendered=(root / "regions").is_dir()
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sizes", "backbone", "epochs", "figure", "sentence"),
    [
        ("dukemtmc-reid", (16522, 2228), "resnet50", 120, "82.8 / 91.7", "the data, backbone and recipe of this run."),
        ("market-1501", (12936, 3368), "resnet50", 120, "89.5 / 95.6", "the data, backbone and recipe of this run."),
        ("dukemtmc-reid", (16522, 2228), "tiny", 120, "82.8 / 91.7", "for orientation alone: other backbone."),
        ("market-1501", (12936, 3368), "resnet50", 20, "89.5 / 95.6", "for orientation alone: other recipe."),
        ("dukemtmc-reid", (100, 10), "resnet50", 120, "82.8 / 91.7", "for orientation alone: other data."),
        ("msmt17", (32621, 11659), "tiny", 20, "89.5 / 95.6", "alone: other data, other backbone, other recipe."),
    ],
)
def test_figures_of_the_paper_are_those_on_the_dataset_of_the_run(
    name: str,
    sizes: tuple[int, int],
    backbone: str,
    epochs: int,
    figure: str,
    sentence: str,
    results: dict[str, dict[int, Any]],
    tmp_path: Path,
) -> None:
    recipe = AblationRecipe(backbone=backbone, epochs=epochs)
    paper = PaperFigures.for_run(dataset_of(name, *sizes, tmp_path), recipe)
    page = ablation_page(ablation_tables(results, paper.dataset), {}, parser="the default one", paper=paper)
    (row,) = [line for line in page.splitlines() if line.startswith("| + AWM | 3 |") and "/" in line]
    assert figure in row
    assert sentence in page
    is_same = sentence.startswith("the data")
    assert (f"figures on {'DukeMTMC-reID' if name == 'dukemtmc-reid' else 'Market-1501'} are" in page) == is_same


def test_rendered_people_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    people = dataset_of("market-1501", 12936, 3368, tmp_path)
    assert PaperFigures.for_run(people, AblationRecipe(backbone="resnet50", epochs=120)).differences == ("other data",)
