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
from vestigo_benchmarks.ablation.page import PaperFigures, ablation_page
from vestigo_benchmarks.ablation.recipe import AblationRecipe
from vestigo_benchmarks.ablation.tables import ablation_tables
from vestigo_models.schemas.builtin import MARKET_1501

CONFIGS = ("baseline", "control", "clustering", "parser", "fls", "global-attr", "alm", "full")
WITH_ATTRIBUTES = ("global-attr", "alm", "full")
MODES = ("off", "strict", "auto 1 %")


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

    attributes = {"official": {n: percent() for n in MARKET_1501.names}, "mean": percent(), "balanced": percent()}
    return {
        "config": config,
        "seed": seed,
        "device": "one CPU thread",
        "epochs": 20,
        "images": 1920,
        "losses": {"total": percent(), "identity": percent()},
        "metrics": {"mAP": percent(), "mINP": percent(), "rank1": percent(), "rank5": 1.0, "queries": 9, "gallery": 99},
        "attributes": attributes if config in WITH_ATTRIBUTES else None,
        "regions": {"iou": {n: percent() for n in regions}, "mean": 1.0} if config == "fls" else None,
        "belongings_auc": 0.7 if config == "fls" else None,
        "labels": {n: percent() for n in regions} if config in ("parser", "fls") else None,
        "filter": [trial(mode) for mode in MODES] if config == "full" else [],
        "notes": [],
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
    return mean_and_sd(
        [ours[s]["metrics"][key] - theirs[s]["metrics"][key] for s in (1, 2, 3) if s in ours and s in theirs]
    )


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
        assert table4[config]["verdict"] == ("misses" if step["mean"] <= 0 else "as in the paper")
        assert (table4[config]["diagnosis"] is None) == (step["mean"] > 0)
    # The row before is missing: nothing to compare with.
    assert {row["config"]: row for row in tables["table5"]}["parser"]["step"] is None
    assert (table4["fls"]["seeds"], table4["fls"]["step"]["n"]) == ([1, 3], 2)
    assert table4["full"]["paper"] == {"mAP": 89.5, "rank1": 95.6}


def test_incomplete_row_states_reason(results: dict[str, dict[int, Any]]) -> None:
    low = {config: dict(cells) for config, cells in results.items()}
    low["fls"] = {seed: {**cell, "metrics": {**cell["metrics"], "mAP": 1.0}} for seed, cell in results["fls"].items()}
    (row,) = [row for row in ablation_tables(low)["table4"] if row["config"] == "fls"]
    assert row["verdict"] == "misses"
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
    misses = sum(row["verdict"] == "misses" for t in ("table4", "table5", "table6", "table7") for row in tables[t])
    assert sum(" misses: IoU" in line or " misses: attr" in line or " misses: loss" in line for line in lines) == misses
    # All lines of a table have as many columns as its head.
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_page_without_results_is_empty() -> None:
    tables = ablation_tables({})
    assert tables["table4"] == tables["table7"] == tables["filter"] == tables["cells"] == []
    assert tables["control"] is None
    assert "##" not in ablation_page(tables, {}, parser="the default one")


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
    is_duke = name == "dukemtmc-reid"
    assert f"those on {'DukeMTMC-reID' if is_duke else 'Market-1501'}" in page
    # The paper has no attributes of DukeMTMC-reID.
    assert ("| *paper* |" in page) == (not is_duke)


def test_rendered_people_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    people = dataset_of("market-1501", 12936, 3368, tmp_path)
    assert PaperFigures.for_run(people, AblationRecipe(backbone="resnet50", epochs=120)).differences == ("other data",)
