"""`vestigo train`: train a model on a dataset."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import HoldOutOptions, read_dataset
from vestigo_ui.cli.evaluation import full_result
from vestigo_ui.cli.output import Output, note, out, program, progress, progress_stages
from vestigo_ui.cli.parser_options import LabelMapOption, TrainingParserOption


def train_command(
    *,
    config: Annotated[
        str,
        Argument(
            help="A YAML file, or a shipped configuration: baseline, control, clustering, parser, fls, global-attr, "
            "alm, full, or tiny, which is full on the small backbone."
        ),
    ],
    data: Annotated[
        Path, Option(help="Dataset: folder or archive in the layout of Market-1501, DukeMTMC-reID or MSMT17.")
    ],
    model: Annotated[Path, Option("--out", help="New folder for the model package, its log and checkpoint.")],
    backbone: Annotated[
        str | None, Option(help="resnet50, convnext, small or tiny instead of the configuration's.")
    ] = None,
    named_recipe: opts.RecipeOption = "auto",
    epochs: Annotated[
        int | None, Option(help="Number of epochs; the schedule scales with it. Default: the recipe's.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of every random choice.")] = None,
    weights: Annotated[
        str | None,
        Option(
            help="Of the backbone: imagenet (those of small come with Vestigo), ImageNet weights in a file, a folder "
            "or a hub id, or package:FOLDER, the backbone of a model package."
        ),
    ] = None,
    base: Annotated[str | None, Option(help="Model package to start from: default, a folder or hub:ID.")] = None,
    hold_out: HoldOutOptions,
    parser: TrainingParserOption = None,
    label_map: LabelMapOption = None,
    changes: opts.SetOption = None,
    schema: opts.SchemaOption = None,
    execution: opts.ExecutorOptions,
    device: opts.DeviceOption = "auto",
    resume: Annotated[bool, Option("--resume", help="Continue from the checkpoint in --out.")] = False,
    workers: Annotated[int, Option(min=1, help="Processes that train together (Ray Train).")] = 1,
) -> Output:
    """Train a model on the dataset's training split and evaluate it on its query and gallery splits.

    Attributes are those of the dataset's layout. With --schema FILE.yaml they are those of the file: labels are read
    from the annotation file if it has their fields, else from attributes.csv in the dataset (columns pid, attribute,
    value, as `vestigo label export` writes them).

    A configuration with a parser parses the images first, where --executor says; the label maps do not depend on it.
    --workers is for training.

    An interrupted training continues with --resume and gives the same model as an uninterrupted one.

    Example: vestigo train baseline --backbone tiny --data people/ --out models/mine --epochs 30
    """
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo.evaluation.ranking import EvaluationOptions
    from vestigo_models.devices import resolve_device
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.inference.package import ModelPackage
    from vestigo_models.parsing.label_maps import read_label_map
    from vestigo_models.training.config import TrainConfig, is_shipped
    from vestigo_models.training.recipes import choose_recipe
    from vestigo_models.training.trainer import recipe_warnings, train
    from vestigo_workers.training.data import training_set
    from vestigo_workers.training.distributed import train_distributed
    from vestigo_workers.training.labels import parse_training_images

    settings = execution.settings(device)
    given = opts.given({"epochs": epochs, "seed": seed, "weights": weights, "base": base, "parser": parser})
    overrides = {**opts.read_changes(changes), **given}
    recipe = TrainConfig.load(config, overrides, backbone=backbone)
    dataset = read_dataset(data, hold_out, schema=opts.read_schema(schema), duke_top_override=recipe.duke_top_override)
    if named_recipe == "auto" and is_shipped(config):
        choice = choose_recipe(
            recipe.network.backbone,
            is_rendered=dataset.is_rendered,
            is_pretrained=recipe.weights is not None or recipe.base is not None,
            images=len(dataset.train),
        )
        note(f"recipe {choice.name}: {choice.reason}; --recipe gives another")
        named_recipe = choice.name
        if choice.epochs is not None:
            overrides = {"epochs": choice.epochs, **overrides}
    if named_recipe != "auto":
        recipe = TrainConfig.load(config, overrides, backbone=recipe.network.backbone, recipe=named_recipe)
    for kind, count in dataset.passed_over.items():
        note(f"passed over: {count} {kind}")
    for line in recipe_warnings(recipe, is_rendered=dataset.is_rendered):
        note(f"warning: {line}")
    device = resolve_device(device)
    if recipe.network.attributes != "none":
        dataset.require_attributes()
    maps, paths = None, dataset.train.paths
    if recipe.needs_parser:
        classes = None if label_map is None else read_label_map(label_map)
        with progress("parsing", len(paths)) as update:
            maps = parse_training_images(paths, recipe, settings, label_map=classes, progress=update)
    images = training_set(dataset, recipe, maps)
    options = {
        "data": data,
        **hold_out.words,
        "backbone": backbone,
        "recipe": None if named_recipe == "auto" else named_recipe,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "weights": weights,
        "base": base,
        "parser": parser,
        "schema": schema,
    }
    command = opts.command_text(f"train {Path(config).name}", options, changes)
    origin = {"dataset": dataset.name, "command": command}
    run = partial(train_distributed, workers=workers) if workers > 1 else train
    with progress("training") as update:
        training = run(recipe, images, model, resume=resume, device=device, progress=update, trained_on=origin)
    if training.skipped:
        note(f"warning: {training.skipped} steps were skipped, as the loss was not finite; lower learning_rate")
    metrics = {}
    if len(dataset.query) and len(dataset.gallery):
        extractor = Extractor(ModelPackage.from_pretrained(model), device=device)
        with progress_stages() as open_progress:
            metrics = full_result(evaluate_model(dataset, extractor, EvaluationOptions(), open_progress))
    return Output({**asdict(training), "metrics": metrics}, _print)


def _print(result: Mapping[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result["losses"].items())
    out.print(f"{result['model']}: {result['epochs']} epochs in {result['seconds']:.0f} s; last epoch: {losses}")
    metrics = result["metrics"]
    if metrics and metrics["mAP"] is not None:
        out.print(f"on {metrics['queries']} queries: mAP {metrics['mAP']:.1f} %, Rank-1 {metrics['cmc']['1']:.1f} %")
    if metrics and metrics["attributes_mean"] is not None:
        out.print(f"attributes: {metrics['attributes_mean']:.1f} % right on average")
    out.print(f"\nnext: {program()} evaluate DATASET --model {result['model']}")
