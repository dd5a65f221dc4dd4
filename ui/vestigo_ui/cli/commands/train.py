"""`vestigo train`: a configuration and a dataset become a model package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_models.parsing.registry import PARSERS
from vestigo_ui.cli.evaluation import judged, judged_attributes, judged_regions, stages
from vestigo_ui.cli.options import SchemaOption, read_schema
from vestigo_ui.cli.output import DeviceOption, JsonOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo.datasets.reid import ReidDataset
    from vestigo_models.training.config import TrainConfig
    from vestigo_models.training.data import TrainingSet


def train_command(
    config: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or a shipped configuration: baseline, control, clustering, parser, fls, global-attr, "
            "alm, full, or tiny, which is full on the small backbone."
        ),
    ],
    data: Annotated[Path, typer.Option("--data", help="Dataset: Market-1501 or DukeMTMC-reID layout.")],
    model: Annotated[Path, typer.Option("--out", help="New folder for the model package, its log and checkpoint.")],
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", help="resnet50, convnext or tiny instead of the configuration's.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", help="Shorter or longer; the schedule stretches with it.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Fixes every random choice.", show_default=False)] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="Of the backbone: ImageNet weights (a file, a folder or a hub id), or package:FOLDER, the backbone of "
            "a model package.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Model package to start from: default, a folder or hub:ID.", show_default=False),
    ] = None,
    parser: Annotated[
        str | None,
        typer.Option(
            "--parser",
            help=f"Parser of the training images: {PARSERS.usage}.",
            show_default=False,
        ),
    ] = None,
    label_map: Annotated[
        Path | None,
        typer.Option("--label-map", help="YAML with the region of each class that hf: or labels: does not name."),
    ] = None,
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that train together (Ray Train).")] = 1,
    json_mode: JsonOption = False,
) -> None:
    """Train a model on the dataset's training split and judge it on its query and gallery splits.

    Attributes are those of the dataset's layout. With --schema FILE.yaml they are those of the file: labels are read
    from the annotation file if it has their fields, else from attributes.csv in the dataset (columns pid, attribute,
    value, as `vestigo label export` writes them).

    A training that was interrupted goes on with --resume, and ends where an undisturbed one would have.

    Example: vestigo train baseline --backbone tiny --data people/ --out models/mine --epochs 30
    """
    from vestigo.datasets.recognise import load_dataset
    from vestigo_models.devices import resolve_device
    from vestigo_models.training.config import TrainConfig
    from vestigo_models.training.trainer import train
    from vestigo_workers.training.distributed import train_distributed

    given = {"epochs": epochs, "seed": seed, "weights": weights, "base": base, "parser": parser}
    overrides = {key: value for key, value in given.items() if value is not None}
    recipe = TrainConfig.load(config, overrides, backbone=backbone)
    dataset = load_dataset(data, schema=read_schema(schema))
    device = resolve_device(device)
    images = _training_set(dataset, recipe, label_map, device)
    # The command as anybody could repeat it: no path of this machine enters the package.
    options = {
        "data": dataset.root,
        "backbone": backbone,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "weights": weights,
        "base": base,
        "parser": parser,
        "schema": schema,
    }
    said = [f"--{name} {Path(str(value)).name}" for name, value in options.items() if value is not None]
    command = " ".join([f"vestigo train {Path(config).name}", *said])
    origin = {"dataset": dataset.name, "command": command}

    with progress("training") as update:
        if workers > 1:
            result = train_distributed(
                recipe, images, model, workers=workers, resume=resume, device=device, progress=update, trained_on=origin
            )
        else:
            result = train(recipe, images, model, resume=resume, device=device, progress=update, trained_on=origin)
    metrics = _judge(dataset, model, device)
    emit(
        {
            "model": result.model,
            "epochs": result.epochs,
            "losses": result.losses,
            "metrics": metrics,
            "seconds": result.seconds,
        },
        json_mode,
        _tell,
    )


def _training_set(dataset: ReidDataset, recipe: TrainConfig, label_map: Path | None, device: str) -> TrainingSet:
    """The training split with all that the recipe learns from: attribute labels, and what the parser says."""
    from vestigo_models.parsing.label_maps import read_label_map
    from vestigo_models.parsing.registry import make_parser
    from vestigo_models.training.relabel import parse_labels
    from vestigo_models.training.state import feature_grid
    from vestigo_workers.training.data import training_set

    if recipe.network.attributes != "none":
        dataset.require_attributes()
    parsed = None
    if recipe.needs_parser:
        parser = make_parser(recipe.parser, None if label_map is None else read_label_map(label_map), device)
        with progress("parsing", len(dataset.train)) as update:
            parsed = parse_labels(dataset.train.paths, parser, feature_grid(recipe), update)
    return training_set(dataset, recipe, parsed)


def _judge(dataset: ReidDataset, model: Path, device: str) -> dict[str, Any]:
    """What `vestigo evaluate` says of the model on the dataset's query and gallery; empty where it has none."""
    if not len(dataset.query) or not len(dataset.gallery):
        return {}
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo.evaluation.options import EvaluationOptions
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.inference.package import ModelPackage

    extractor = Extractor(ModelPackage.from_pretrained(model), device=device)
    with stages() as open_stage:
        benchmark = evaluate_model(dataset, extractor, EvaluationOptions(), open_stage)
    return {**judged(benchmark), **judged_attributes(benchmark), **judged_regions(benchmark)}


def _tell(result: Mapping[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result["losses"].items())
    out.print(f"{result['model']}: {result['epochs']} epochs in {result['seconds']:.0f} s; last epoch: {losses}")
    metrics = result["metrics"]
    if metrics and metrics["mAP"] is not None:
        out.print(f"on {metrics['queries']} queries: mAP {metrics['mAP']:.1f} %, Rank-1 {metrics['cmc']['1']:.1f} %")
    if metrics and metrics["attributes_mean"] is not None:
        out.print(f"attributes: {metrics['attributes_mean']:.1f} % right on average")
    out.print(f"\nnext: vestigo evaluate DATASET --model {result['model']}")
