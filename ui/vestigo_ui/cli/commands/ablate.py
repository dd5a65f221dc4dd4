"""`vestigo ablate`: train and compare the configurations of the method on one dataset."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from vestigo_models.errors import WorkError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import HoldOutOptions, read_dataset
from vestigo_ui.cli.output import Output, note, out, progress
from vestigo_ui.cli.parser_options import ParserOption


def ablate_command(
    *,
    dataset: Annotated[
        Path, Argument(help="Dataset with attributes, a folder or archive, such as `vestigo render` writes.")
    ],
    folder: Annotated[Path, Option("--out", help="Folder of the ablation; an existing one is continued.")],
    seeds: Annotated[int, Option(min=1, help="Train every configuration with seeds 1 to N.")] = 3,
    epochs: Annotated[int, Option(min=1, help="Epochs of every training.")] = 20,
    configs: Annotated[str | None, Option(help="Configurations, separated by commas. Default: all.")] = None,
    backbone: Annotated[str | None, Option(help="Default: tiny on a CPU and resnet50 on CUDA.")] = None,
    hold_out: HoldOutOptions,
    named_recipe: opts.RecipeOption = "auto",
    weights: Annotated[
        str | None,
        Option(help="ImageNet weights of the backbone: imagenet (those of small), a file, a folder or a hub id."),
    ] = None,
    parser: ParserOption = "default",
    jobs: Annotated[
        int | None, Option(min=1, help="Parallel trainings of one thread each. Default: one per CPU core, 1 on CUDA.")
    ] = None,
    changes: opts.SetOption = None,
    schema: opts.SchemaOption = None,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Train every configuration of docs/method.md, tables 4 to 7, with several seeds, and write the tables.

    ablation.md and ablation.json in --out are updated after each training. After an interruption, the same command
    continues; on a finished folder it writes the tables again. Each training has a folder under cells/, which is also
    a model package. All trainings share sampler, schedule, seed and the augmentation of BoT; from 120 epochs on
    they have the recipe of `vestigo train`.

    Example: vestigo ablate people/ --out ablation/ --seeds 3 --epochs 20
    """
    from vestigo_benchmarks.ablation.processes import CellEvent
    from vestigo_benchmarks.ablation.recipe import CONFIGS, AblationRecipe
    from vestigo_benchmarks.ablation.run import ablate
    from vestigo_models.devices import resolve_device
    from vestigo_models.training.recipes import choose_recipe
    from vestigo_models.training.trainer import recipe_warnings

    device = resolve_device(device)
    is_cuda = device.startswith("cuda")
    recipe = AblationRecipe(
        backbone=backbone or ("resnet50" if is_cuda else "tiny"),
        epochs=epochs,
        weights=weights,
        parser=parser,
        overrides=opts.read_changes(changes),
    )
    names = list(dict.fromkeys(name.strip() for name in (configs or "").split(",") if name.strip()))
    configurations = names or list(CONFIGS)
    recipes = [recipe.config(name, seed=1) for name in configurations]
    overridden = any(each.duke_top_override for each in recipes)
    loaded = read_dataset(dataset, hold_out, schema=opts.read_schema(schema), duke_top_override=overridden)
    choice = choose_recipe(
        recipes[0].network.backbone,
        is_rendered=loaded.is_rendered,
        is_pretrained=weights is not None,
        images=len(loaded.train),
    )
    if named_recipe == "auto":
        note(f"recipe {choice.name}: {choice.reason}; --recipe gives another")
    recipe = replace(recipe, recipe=choice.name if named_recipe == "auto" else named_recipe)
    recipes = [recipe.config(name, seed=1) for name in configurations]
    for line in dict.fromkeys(
        line for each in recipes for line in recipe_warnings(each, is_rendered=loaded.is_rendered)
    ):
        note(f"warning: {line}")
    options = {
        "out": folder,
        "seeds": seeds,
        "epochs": epochs,
        "backbone": recipe.backbone,
        "recipe": recipe.recipe,
        "weights": None if weights is None else Path(weights).name,
        "configs": ",".join(names) or None,
        **hold_out.words,
        "parser": None if parser == "default" else recipe.parser_name,
        "schema": schema,
    }
    command = opts.command_text(f"ablate {dataset.resolve().name}", options, changes)
    running: dict[Path, int] = {}

    with progress("parsing") as parsed, progress("epochs", len(configurations) * seeds * epochs) as update:

        def on_event(event: CellEvent, done: int, total: int) -> None:
            cell = event.cell
            if event.epoch is None:
                state = "done" if event.failure is None else f"failed: {event.failure.reason}"
                note(f"{cell.config}, seed {cell.seed}: {state} ({done} of {total} trainings)")
                running.pop(cell.folder, None)
            else:
                running[cell.folder] = event.epoch
            update(done * epochs + sum(running.values()), None)

        try:
            result = ablate(
                loaded,
                folder,
                recipe,
                configs=configurations,
                seeds=range(1, seeds + 1),
                device=device,
                jobs=jobs or (1 if is_cuda else os.cpu_count() or 1),
                command=command,
                on_event=on_event,
                parsing=parsed,
            )
        except KeyboardInterrupt:
            note(f"finished trainings are kept in {folder}; the same command continues")
            raise
    failed = [vars(failure) for failure in result.failures]
    tables = {
        "table": result.table,
        "page": result.page,
        "cells": result.cells,
        "trained": result.trained,
        "failed": failed,
    }
    error = None
    if failed:
        first = failed[0]
        error = WorkError(
            f"{len(failed)} trainings failed, the first is {first['config']} with seed {first['seed']}:"
            f" {first['reason']}; the same command tries them again"
        )
    return Output(tables, _print, error)


def _print(result: Mapping[str, Any]) -> None:
    for number in (4, 5, 6):
        for row in result["table"][f"table{number}"]:
            spread = f" ± {row['mAP']['sd']:.1f}" if row["mAP"]["sd"] is not None else ""
            out.print(f"table {number}  {row['name']:<40} mAP {row['mAP']['mean']:.1f}{spread}{_step_text(row)}")
    for row in result["table"]["table7"]:
        out.print(f"table 7  {row['name']:<40} attributes {row['mean']['mean']:.1f}{_step_text(row)}")
    out.print(f"\n{result['cells']} trainings have results; tables: {result['page']}")


def _step_text(row: Mapping[str, Any]) -> str:
    """Return by how much a row is above the one before it, with the interval and what it says about the paper."""
    step = row["step"]
    if step is None:
        return ""
    interval = "" if step["low"] is None else f" ({step['low']:+.1f} to {step['high']:+.1f})"
    return f"   {step['mean']:+.1f}{interval} over the row above: {row['verdict']}"
