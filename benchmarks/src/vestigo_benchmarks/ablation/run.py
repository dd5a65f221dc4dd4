"""The ablation of docs/method.md: configurations times seeds, each cell committed on its own.

A folder belongs to one dataset and one recipe, which `ablation.json` records. The tables are written again from the
results of all cells after each cell, and by every run on a finished folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo_benchmarks.ablation.cell import IDENTITIES, RESULT, AblationCell, device_name, locked_folder, write_json
from vestigo_benchmarks.ablation.differences import Results
from vestigo_benchmarks.ablation.page import PaperFigures, ablation_page
from vestigo_benchmarks.ablation.processes import CellEvent, CellFailure, run_cells
from vestigo_benchmarks.ablation.recipe import AblationRecipe
from vestigo_benchmarks.ablation.tables import ablation_tables
from vestigo_models.errors import ConfigError
from vestigo_models.parsing.registry import make_parser
from vestigo_models.private_files import create_private
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.training.config import DEFAULT_RECIPES, PAPER, TrainConfig
from vestigo_models.training.relabel import parse_labels
from vestigo_models.training.state import feature_grid

CELLS, PARSED, RECORD, PAGE = "cells", "parsed.npz", "ablation.json", "ablation.md"


@dataclass(frozen=True, kw_only=True)
class AblationResult:
    """The tables of all results in the folder, and the failures of this run."""

    table: dict[str, Any]
    page: Path
    cells: int
    trained: int
    failures: tuple[CellFailure, ...]


def ablate(
    dataset: ReidDataset,
    out: Path,
    recipe: AblationRecipe,
    *,
    configs: Sequence[str],
    seeds: Sequence[int],
    device: str,
    jobs: int,
    command: str,
    on_event: Callable[[CellEvent, int, int], None] = lambda *_: None,
    parsing: ProgressCallback = ignore_progress,
) -> AblationResult:
    """Train and evaluate the cells without a result in the folder `out`, and write the tables.

    A cell that fails is reported and leaves the others alone.

    Args:
        dataset: Training, query and gallery images.
        out: Folder of the ablation.
        recipe: Settings that all cells share.
        configs: Names of configurations.
        seeds: Seeds of every configuration.
        device: Torch device.
        jobs: Cells that run in parallel.
        command: Command line for the report.
        on_event: Receives each event, the number of cells with a result, and the number of cells.
        parsing: Receives the number of parsed training images and their total.

    Raises:
        ConfigError: The recipe is wrong, `out` belongs to another dataset or recipe, or another process uses it.
        DatasetError: The dataset lacks labels that a configuration learns from.
    """
    cells = _cells(dataset, out, recipe, configs, seeds, device)
    if any(cell.recipe.network.attributes != "none" for cell in cells):
        dataset.require_attributes()
    with locked_folder(out):
        record = _update_record(dataset, out, recipe, cells)
        pending = [cell for cell in cells if not cell.is_done]
        if any(cell.parsed for cell in pending):
            _parse(dataset, out / PARSED, pending, device, parsing)
        failures: list[CellFailure] = []
        facts = {
            "Command": f"`{command}`",
            "Dataset": f"{dataset.source_name}, {len(dataset.train)} training images of"
            f" {len(np.unique(dataset.train.pids))} people, {len(dataset.query)} queries, {len(dataset.gallery)}"
            f" gallery images"
            + (f" of {dataset.held_out} people held out of the training split" if dataset.held_out else "")
            + f"; digest `{record['dataset']['digest']}`",
            "Recipe": f"{recipe.backbone}, {recipe.epochs} epochs, "
            + (f"recipe `{recipe.recipe}`, " if recipe.recipe else "")
            + "otherwise as "
            + ("`vestigo train` does" if recipe.is_full else "`vestigo_benchmarks/ablation/recipe.py` says")
            + (f", with {dict(recipe.overrides)}" if recipe.overrides else ""),
            "Device": f"{device_name(device)} a training, {jobs} side by side",
        }

        paper = PaperFigures.for_run(dataset, recipe)

        def write() -> dict[str, Any]:
            table = ablation_tables(read_results(out), paper.dataset, dataset)
            failed = [asdict(failure) for failure in failures]
            write_json(out / RECORD, {**record, "facts": facts, "table": table, "failed": failed})
            with create_private(out / PAGE, "w") as file:
                file.write(ablation_page(table, facts, parser=recipe.parser_name, paper=paper))
            return table

        done_before = len(cells) - len(pending)
        with closing(run_cells(pending, jobs)) as events:
            for event in events:
                if event.failure is not None:
                    failures.append(event.failure)
                if event.epoch is None:
                    write()
                on_event(event, sum(cell.is_done for cell in cells), len(cells))
        done = sum(cell.is_done for cell in cells)
        return AblationResult(
            table=write(), page=out / PAGE, cells=done, trained=done - done_before, failures=tuple(failures)
        )


def read_results(out: Path) -> Results:
    """Return the results of every finished cell in a folder, with the scores of each identity."""
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((out / CELLS).glob(f"*/{RESULT}")):
        result = json.loads(path.read_text("utf-8"))
        people = path.with_name(IDENTITIES)
        result["identities"] = json.loads(people.read_text("utf-8")) if people.is_file() else None
        results.setdefault(result["config"], {})[result["seed"]] = result
    return results


def _cells(
    dataset: ReidDataset, out: Path, recipe: AblationRecipe, configs: Sequence[str], seeds: Sequence[int], device: str
) -> list[AblationCell]:
    """Return all cells, seed by seed, so that an interrupted ablation can compare the configurations."""
    cells = []
    for seed in seeds:
        for config in configs:
            cell_recipe = recipe.config(config, seed)
            cells.append(
                AblationCell(
                    config=config,
                    seed=seed,
                    recipe=cell_recipe,
                    dataset=dataset,
                    folder=out / CELLS / f"{config}-seed-{seed}",
                    parsed=out / PARSED if cell_recipe.needs_parser else None,
                    device=device,
                )
            )
    return cells


def _update_record(
    dataset: ReidDataset, out: Path, recipe: AblationRecipe, cells: Sequence[AblationCell]
) -> dict[str, Any]:
    """Record the dataset, recipe and configurations of a folder; later runs may only add configurations.

    Raises:
        ConfigError: The folder belongs to another ablation.
    """
    named = DEFAULT_RECIPES.get(recipe.backbone, PAPER)
    requested = {
        "dataset": {"name": dataset.source_name, "digest": dataset_digest(dataset)},
        "recipe": json.loads(json.dumps({**asdict(recipe), "recipe": recipe.recipe or named})),
        "configs": {cell.config: cell.recipe.model_dump(mode="json", exclude={"seed"}) for cell in cells},
    }
    path = out / RECORD
    if not path.is_file():
        write_json(path, requested)
        return requested
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if record["dataset"]["digest"] != requested["dataset"]["digest"]:
        raise ConfigError(
            f"{out} holds an ablation on {record['dataset']['name']} with other images or labels; give another folder"
        )
    # Ablations of earlier versions did not name their recipe, that of the backbone.
    pairs = [({"recipe": named, **record["recipe"]}, requested["recipe"])]
    for name in requested["configs"].keys() & record["configs"].keys():
        # A record of an earlier version lacks newer keys.
        recorded = TrainConfig.model_validate(record["configs"][name]).model_dump(mode="json", exclude={"seed"})
        pairs.append((recorded, requested["configs"][name]))
    if differing := [line for recorded, now in pairs for line in _differences(recorded, now)]:
        raise ConfigError(
            f"{out} holds an ablation with another recipe: {differing[0]}; repeat that one or give another folder"
        )
    return {**record, "configs": {**record["configs"], **requested["configs"]}}


def _differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} {recorded.get(key)!r} there, {value!r} now" for key, value in now.items() if recorded.get(key) != value
    ]


def _parse(
    dataset: ReidDataset, path: Path, pending: Sequence[AblationCell], device: str, parsing: ProgressCallback
) -> None:
    """Parse the training images once for all cells; an existing file of the same parser is used.

    Raises:
        ConfigError: Another parser made the file.
    """
    recipe = next(cell.recipe for cell in pending if cell.parsed)
    parser = make_parser(recipe.parser, device=device)
    if path.is_file():
        with np.load(path) as arrays:
            if str(arrays["parser"]) != parser.digest:
                raise ConfigError(f"{path} was made by another parser than {recipe.parser}; give another folder")
            return
    grid = feature_grid(recipe)
    labels = parse_labels(dataset.train.paths, parser, grid, parsing, atr_bag_seed=recipe.atr_bag_seed)
    partial = path.with_name(f"partial-{path.name}")
    np.savez_compressed(partial, labels=labels, parser=np.array(parser.digest))
    partial.replace(path)
