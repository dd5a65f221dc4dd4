"""`vestigo train`: a configuration and a dataset become a model package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.console import DeviceOption, JsonOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo.datasets import ReidDataset


def train_command(
    config: Annotated[str, typer.Argument(help="A shipped configuration (baseline, tiny) or a YAML file.")],
    data: Annotated[Path, typer.Option("--data", help="Dataset: Market-1501 or DukeMTMC-reID layout.")],
    model: Annotated[Path, typer.Option("--out", help="New folder for the model package, its log and checkpoint.")],
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="resnet50 or tiny instead of the configuration's.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", help="Shorter or longer; the schedule stretches with it.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Fixes every random choice.", show_default=False)] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", help="ImageNet weights for resnet50: a file, a folder or a hub id.", show_default=False
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Model package to start from: default, a folder or hub:ID.", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that train together (Ray Train).")] = 1,
    json_mode: JsonOption = False,
) -> None:
    """Train a model on the dataset's training split and judge it on its query and gallery splits.

    A training that was interrupted goes on with --resume, and ends where an undisturbed one would have.

    Example: vestigo train baseline --backbone tiny --data people/ --out models/mine --epochs 30
    """
    from vestigo.datasets import load_dataset
    from vestigo_models.batches import TrainingSet
    from vestigo_models.config import TrainConfig
    from vestigo_models.devices import resolve_device
    from vestigo_models.training import Progress, train
    from vestigo_workers.training import train_distributed

    given = {"network.backbone": backbone, "epochs": epochs, "seed": seed, "weights": weights, "base": base}
    recipe = TrainConfig.load(config, {key: value for key, value in given.items() if value is not None})
    dataset = load_dataset(data)
    pids, _ = dataset.train.relabelled()
    images = TrainingSet(paths=dataset.train.paths, pids=pids, camids=dataset.train.camids)
    device = resolve_device(device)
    # The command as anybody could repeat it: no path of this machine enters the package.
    options = {"data": dataset.root, "backbone": backbone, "epochs": recipe.epochs, "seed": recipe.seed, "base": base}
    said = [f"--{name} {Path(str(value)).name}" for name, value in options.items() if value is not None]
    command = " ".join([f"vestigo train {Path(config).name}", *said])
    origin = {"dataset": dataset.name, "command": command}

    with progress("training") as update:

        def show(at: Progress) -> None:
            update((at.epoch - 1) * at.steps + at.step, at.epochs * at.steps)

        if workers > 1:
            result = train_distributed(
                recipe, images, model, workers=workers, resume=resume, device=device, progress=show, trained_on=origin
            )
        else:
            result = train(recipe, images, model, resume=resume, device=device, progress=show, trained_on=origin)
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


def _judge(dataset: ReidDataset, model: Path, device: str) -> dict[str, Any]:
    """Cross-camera retrieval on the dataset's query and gallery; empty where it has none."""
    if not len(dataset.query) or not len(dataset.gallery):
        return {}
    from vestigo.evaluation import ImageSet, distance_chunks, score_chunks
    from vestigo_models.extraction import Extractor
    from vestigo_models.images import read_image
    from vestigo_models.package import ModelPackage

    extractor = Extractor(ModelPackage.from_pretrained(model), device=device)
    query, gallery = (
        extractor.extract([read_image(path) for path in split.paths]) for split in (dataset.query, dataset.gallery)
    )
    scores = score_chunks(
        distance_chunks(query, gallery),
        ImageSet(pids=dataset.query.pids, camids=dataset.query.camids),
        ImageSet(pids=dataset.gallery.pids, camids=dataset.gallery.camids),
    )
    summary = scores.summary()
    cmc = {str(rank): share for rank, share in summary.cmc.items()}
    return {"mAP": summary.mAP, "mINP": summary.mINP, "cmc": cmc, "queries": summary.queries}


def _tell(result: Mapping[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result["losses"].items())
    out.print(f"{result['model']}: {result['epochs']} epochs in {result['seconds']:.0f} s; last epoch: {losses}")
    metrics = result["metrics"]
    if metrics and metrics["mAP"] is not None:
        out.print(f"on {metrics['queries']} queries: mAP {metrics['mAP']:.1f} %, Rank-1 {metrics['cmc']['1']:.1f} %")
    out.print(f"\nnext: vestigo evaluate DATASET --model {result['model']}")
