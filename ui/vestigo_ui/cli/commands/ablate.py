"""`vestigo ablate`: the configurations of the paper's tables, trained and compared on one dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from vestigo_models.parsing.registry import PARSERS
from vestigo_ui.cli.options import SchemaOption, read_schema
from vestigo_ui.cli.output import DeviceOption, JsonOption, emit, note, out, progress

if TYPE_CHECKING:
    from vestigo_workers.ablation.processes import CellEvent


def ablate_command(
    dataset: Annotated[Path, typer.Argument(help="Dataset with attributes, such as `vestigo render` writes.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the ablation; goes on where it stopped.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Every configuration is trained with seeds 1 to N.")] = 3,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Of every training.")] = 20,
    configs: Annotated[
        str | None,
        typer.Option(
            "--configs", help="Some of the configurations, separated by commas; all without.", show_default=False
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="tiny on a CPU and resnet50 on CUDA, if not given.", show_default=False),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", help="ImageNet weights for resnet50: a file, a folder or a hub id.", show_default=False
        ),
    ] = None,
    parser: Annotated[
        str, typer.Option("--parser", help=f"Parser of the training images: {PARSERS.usage}.")
    ] = "default",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Trainings side by side, a thread each; the cores on a CPU and 1 on CUDA, if not given.",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of every configuration, such as batch_identities=8.", show_default=False),
    ] = None,
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    json_mode: JsonOption = False,
) -> None:
    """Train every configuration of tables 4 to 7 with several seeds, judge them, and write the tables.

    ablation.md and ablation.json in --out are written anew after each training. Stop whenever you like: the same
    command goes on where it stopped, and on a finished folder it writes the tables again. Each training has a folder
    under cells/, which is a model package too. All share sampler, schedule, seed and augmentation (BoT's alone).

    Example: vestigo ablate people/ --out ablation/ --seeds 3 --epochs 20
    """
    from vestigo.datasets.recognise import load_dataset
    from vestigo_models.devices import resolve_device
    from vestigo_models.errors import WorkError
    from vestigo_workers.ablation.recipe import CONFIGS, AblationRecipe
    from vestigo_workers.ablation.run import ablate

    on = resolve_device(device)
    cuda = on.startswith("cuda")
    recipe = AblationRecipe(
        backbone=backbone or ("resnet50" if cuda else "tiny"),
        epochs=epochs,
        weights=weights,
        parser=parser,
        overrides=_overrides(changes or []),
    )
    named = [name.strip() for name in (configs or "").split(",") if name.strip()]
    chosen = list(dict.fromkeys(named)) or list(CONFIGS)
    loaded = load_dataset(dataset, schema=read_schema(schema))
    # The command as anybody could repeat it: no path of this machine enters the page.
    given = {
        "configs": ",".join(dict.fromkeys(named)),
        "parser": recipe.parser_name if parser != "default" else None,
        "schema": schema and Path(schema).name,
    }
    said = [f"--seeds {seeds} --epochs {epochs} --backbone {recipe.backbone}"]
    said += [f"--{name} {value}" for name, value in given.items() if value] + [
        f"--set {text}" for text in changes or []
    ]
    command = " ".join([f"vestigo ablate {dataset.resolve().name} --out {folder.name}", *said])
    running: dict[Path, int] = {}

    with progress("parsing") as parsed, progress("epochs", len(chosen) * seeds * epochs) as update:

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
                configs=chosen,
                seeds=range(1, seeds + 1),
                device=on,
                jobs=jobs or (1 if cuda else os.cpu_count() or 1),
                command=command,
                on_event=on_event,
                parsing=parsed,
            )
        except KeyboardInterrupt:
            note(f"what is trained is kept in {folder}; the same command goes on with it")
            raise
    failed = [{"config": one.config, "seed": one.seed, "reason": one.reason} for one in result.failures]
    emit(
        {
            "table": result.table,
            "page": result.page,
            "cells": result.cells,
            "trained": result.trained,
            "failed": failed,
        },
        json_mode,
        _tell,
    )
    if failed:
        first = failed[0]
        raise WorkError(
            f"{len(failed)} trainings failed, the first is {first['config']} with seed {first['seed']}:"
            f" {first['reason']}; the same command tries them again"
        )


def _overrides(changes: list[str]) -> dict[str, Any]:
    """Keys and values of --set; values are YAML.

    Raises:
        ConfigError: no key and value.
    """
    from vestigo_models.errors import ConfigError

    found = {}
    for text in changes:
        key, equals, value = text.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not key.strip() or not equals:
            raise ConfigError(f"--set {text}: give KEY=VALUE, such as batch_identities=8 or input_size=[64,32]")
    return found


def _tell(result: Mapping[str, Any]) -> None:
    for number in (4, 5, 6):
        for row in result["table"][f"table{number}"]:
            spread = f" ± {row['mAP']['sd']:.1f}" if row["mAP"]["sd"] is not None else ""
            step = "" if row["step"] is None else f"   {row['step']['mean']:+.1f} over the row above: {row['verdict']}"
            out.print(f"table {number}  {row['name']:<40} mAP {row['mAP']['mean']:.1f}{spread}{step}", markup=False)
    for row in result["table"]["table7"]:
        out.print(f"table 7  {row['name']:<40} attributes {row['mean']['mean']:.1f}", markup=False)
    out.print(f"\n{result['cells']} trainings have results; tables: {result['page']}", markup=False)
