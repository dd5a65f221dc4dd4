"""The ablation of the paper (specification, sections 12 and 13): configurations times seeds, each cell committed alone.

A folder belongs to one dataset and one recipe, which `ablation.json` remembers; the tables are made anew from the
results of the cells after each of them, and again by whoever asks on a finished folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo.reports.ablation import ablation_page
from vestigo.reports.ablation_tables import Results, tables
from vestigo_models.errors import ConfigError
from vestigo_models.parsing.registry import make_parser
from vestigo_models.training.relabel import parsed_labels
from vestigo_models.training.state import grid_of
from vestigo_workers.ablation.cell import RESULT, Cell, alone, device_words, write_json
from vestigo_workers.ablation.processes import Failure, run_side_by_side
from vestigo_workers.ablation.recipe import AblationRecipe

CELLS, PARSED, REMEMBERED, PAGE = "cells", "parsed.npz", "ablation.json", "ablation.md"


class Heard(NamedTuple):
    """How far an ablation is: `cell` did its `epoch`, or ended (`epoch` None) with a result or a `failure`; `done` of
    `total` cells have results."""

    cell: Cell
    epoch: int | None
    failure: Failure | None
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What an ablation has after a run: the tables of all results in its folder, and what failed in this run."""

    table: dict[str, Any]
    page: Path
    cells: int
    trained: int
    failures: tuple[Failure, ...]


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
    hear: Callable[[Heard], None] = lambda heard: None,
    parsing: Callable[[int], None] = lambda done: None,
) -> Ablation:
    """Train and judge what has no result yet in the folder `out`, `jobs` cells side by side, and write the tables.

    A cell that fails is reported and leaves the others alone. `parsing` hears how many training images are parsed.

    Raises:
        ConfigError: the recipe is wrong, `out` holds another dataset's or recipe's ablation, or somebody works in it.
        DatasetError: the dataset lacks what a configuration learns from.
    """
    cells = _cells(dataset, out, recipe, configs, seeds, device)
    if any(cell.recipe.network.attributes != "none" for cell in cells):
        dataset.require_attributes()
    with alone(out):
        return _ablate(
            dataset, out, recipe, cells, jobs=jobs, device=device, command=command, hear=hear, parsing=parsing
        )


def _ablate(
    dataset: ReidDataset,
    out: Path,
    recipe: AblationRecipe,
    cells: Sequence[Cell],
    *,
    device: str,
    jobs: int,
    command: str,
    hear: Callable[[Heard], None],
    parsing: Callable[[int], None],
) -> Ablation:
    remembered = _remember(dataset, out, recipe, cells)
    pending = [cell for cell in cells if not cell.done]
    if any(cell.parsed for cell in pending):
        _parse(dataset, out / PARSED, pending, device, parsing)
    failures: list[Failure] = []
    facts = {
        "Command": f"`{command}`",
        "Dataset": f"{dataset.root.resolve().name}, {len(dataset.train)} training images of"
        f" {len(np.unique(dataset.train.pids))} people, {len(dataset.query)} queries, {len(dataset.gallery)} gallery"
        f" images; digest `{remembered['dataset']['digest']}`",
        "Recipe": f"{recipe.backbone}, {recipe.epochs} epochs, otherwise as"
        " `vestigo_workers/ablation_recipe.py` says" + (f", with {dict(recipe.overrides)}" if recipe.overrides else ""),
        "Device": f"{device_words(device)} a training, {jobs} side by side",
    }

    def write() -> dict[str, Any]:
        table = tables(read_results(out))
        failed = [asdict(failure) for failure in failures]
        write_json(out / REMEMBERED, {**remembered, "facts": facts, "table": table, "failed": failed})
        text = ablation_page(table, facts, parser=recipe.parser_words)
        (out / PAGE).write_text(text, encoding="utf-8")
        return table

    def counted() -> int:
        return sum(cell.done for cell in cells)

    def ended(cell: Cell, failure: Failure | None) -> None:
        if failure is not None:
            failures.append(failure)
        write()
        hear(Heard(cell, None, failure, counted(), len(cells)))

    def epoch(cell: Cell, number: int) -> None:
        hear(Heard(cell, number, None, counted(), len(cells)))

    before = counted()
    run_side_by_side(pending, jobs, epoch=epoch, ended=ended)
    return Ablation(
        table=write(),
        page=out / PAGE,
        cells=counted(),
        trained=counted() - before,
        failures=tuple(failures),
    )


def read_results(out: Path) -> Results:
    """The results of every finished cell in a folder."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((out / CELLS).glob(f"*/{RESULT}")):
        result = json.loads(path.read_text("utf-8"))
        found.setdefault(result["config"], {})[result["seed"]] = result
    return found


def _cells(
    dataset: ReidDataset, out: Path, recipe: AblationRecipe, configs: Sequence[str], seeds: Sequence[int], device: str
) -> list[Cell]:
    """All cells, seed by seed, so that whoever stops early can compare the configurations."""
    cells = []
    for seed in seeds:
        for config in configs:
            trained = recipe.config(config, seed)
            cells.append(
                Cell(
                    config=config,
                    seed=seed,
                    recipe=trained,
                    dataset=dataset,
                    folder=out / CELLS / f"{config}-seed-{seed}",
                    parsed=out / PARSED if trained.needs_parser else None,
                    device=device,
                )
            )
    return cells


def _remember(dataset: ReidDataset, out: Path, recipe: AblationRecipe, cells: Sequence[Cell]) -> dict[str, Any]:
    """Write down whose folder this is; what it remembers may only grow.

    Raises:
        ConfigError: it is another ablation's.
    """
    asked = {
        "dataset": {"name": dataset.root.resolve().name, "digest": dataset_digest(dataset)},
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "configs": {cell.config: cell.recipe.model_dump(mode="json", exclude={"seed"}) for cell in cells},
    }
    path = out / REMEMBERED
    if not path.is_file():
        write_json(path, asked)
        return asked
    held = json.loads(path.read_text("utf-8"))
    if held["dataset"]["digest"] != asked["dataset"]["digest"]:
        raise ConfigError(
            f"{out} holds an ablation on {held['dataset']['name']} with other images or labels; give another folder"
        )
    pairs = [(held["recipe"], asked["recipe"])]
    pairs += [(held["configs"][name], told) for name, told in asked["configs"].items() if name in held["configs"]]
    if differing := [line for there, now in pairs for line in _differing(there, now)]:
        raise ConfigError(
            f"{out} holds an ablation with another recipe: {differing[0]}; repeat that one or give another folder"
        )
    return {**held, "configs": {**held["configs"], **asked["configs"]}}


def _differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{key} {there.get(key)!r} there, {value!r} now" for key, value in now.items() if there.get(key) != value]


def _parse(
    dataset: ReidDataset, path: Path, pending: Sequence[Cell], device: str, parsing: Callable[[int], None]
) -> None:
    """Have the training images parsed once for all cells; what is there already counts, if the same parser made it.

    Raises:
        ConfigError: another parser made it.
    """
    recipe = next(cell.recipe for cell in pending if cell.parsed)
    parser = make_parser(recipe.parser, device=device)
    if path.is_file():
        with np.load(path) as held:
            if str(held["parser"]) != parser.digest:
                raise ConfigError(f"{path} was made by another parser than {recipe.parser}; give another folder")
            return
    labels = parsed_labels(dataset.train.paths, parser, grid_of(recipe), parsing)
    partial = path.with_name(f"partial-{path.name}")
    np.savez_compressed(partial, labels=labels, parser=np.array(parser.digest))
    partial.replace(path)
