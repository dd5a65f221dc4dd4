"""`vestigo train-parser`: train a parser on a dataset with label maps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from vestigo_models.progress import ProgressCallback
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import read_dataset
from vestigo_ui.cli.output import Output, out, progress

BATCH = 256
"""Images that are parsed together in the evaluation."""


def train_parser_command(
    data: Annotated[Path, Option(help="Dataset with label maps, as `vestigo render` writes it.")],
    model: Annotated[Path, Option("--out", help="New folder for the parser's package.")],
    epochs: Annotated[int, Option(min=1, help="Passes over the training images.")] = 8,
    seed: Annotated[int, Option(min=0, help="Of every random choice.")] = 0,
    hidden_by: Annotated[
        Literal["regions", "behind"],
        Option(
            help="What belongings are to the parser: background (regions), or the part of the body that they hide "
            "(behind; needs `vestigo render --behind`)."
        ),
    ] = "regions",
    hidden_weight: Annotated[
        float,
        Option(min=0.01, help="Weight of a pixel of belongings relative to others, if belongings are background."),
    ] = 1.0,
    base: Annotated[str | None, Option(help="Parser package to start from: default, or a folder.")] = None,
    learning_rate: Annotated[float, Option(min=1e-6, help="Initial rate; it decays to 0 along a cosine.")] = 3e-3,
    precision: Annotated[
        Literal["float32", "bfloat16"], Option(help="bfloat16 is faster on processors that support it.")
    ] = "float32",
    device: opts.DeviceOption = "auto",
) -> Output:
    """Train a small parser on a dataset's training split and evaluate each region on the others.

    It distinguishes head, upper body, lower body and shoes from the background. Use the result as `package:FOLDER`.

    Example: vestigo train-parser --data people/ --out parsers/mine --epochs 6
    """
    from vestigo.datasets.reid import BEHIND, REGIONS, region_maps
    from vestigo_models.devices import resolve_device
    from vestigo_models.parsing.small import ParserConfig
    from vestigo_models.parsing.training import LabelledImages, ParserTrainConfig, train_parser

    recipe = ParserTrainConfig(
        seed=seed, precision=precision, epochs=epochs, hidden_weight=hidden_weight, learning_rate=learning_rate
    )
    dataset = read_dataset(data)
    folder = BEHIND if hidden_by == "behind" else REGIONS
    paths = dataset.train.paths
    images = LabelledImages(images=paths, maps=region_maps(dataset.root, paths, folder))
    test_paths = dataset.query.paths + dataset.gallery.paths
    test_maps = region_maps(dataset.root, test_paths, folder)
    device = resolve_device(device)
    options = {
        "data": data,
        "epochs": epochs,
        "seed": seed,
        "hidden-by": hidden_by,
        "hidden-weight": f"{hidden_weight:g}",
        "learning-rate": f"{learning_rate:g}",
        "precision": precision,
        "base": base,
    }
    command = opts.command_text("train-parser", options)
    package = ParserConfig(trained_on={"dataset": dataset.name, "command": command, "images": len(paths)})
    with progress("training") as update:
        training = train_parser(recipe, images, model, package=package, base=base, device=device, progress=update)
    with progress("evaluating") as update:
        regions = _evaluate(model, test_paths, test_maps, device, update)
    counts = {"images": len(paths), "judged_images": len(test_paths)}
    result = {**asdict(training), "regions": regions, **counts}
    return Output(result, _print)


def _evaluate(
    model: Path, images: Sequence[Path], maps: Sequence[Path], device: str, update: ProgressCallback
) -> dict[str, float]:
    """Return the IoU (a fraction) of every region over all pixels of the images."""
    import numpy as np

    from vestigo_models.inference.images import read_image
    from vestigo_models.parsing.label_folder import read_labels
    from vestigo_models.parsing.label_maps import confusion, iou
    from vestigo_models.parsing.small import EmbeddedParser

    parser = EmbeddedParser.from_pretrained(model, device=device)
    classes = len(parser.label_set)
    counts = np.zeros((classes, classes), dtype=np.int64)
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        predictions = parser.parse_many([read_image(path) for path in images[part]])
        for path, parsed in zip(maps[part], predictions, strict=True):
            truth = read_labels(path)
            counts += confusion(np.where(truth < classes, truth, 0).astype(np.uint8), parsed.labels, classes)
        update(min(start + BATCH, len(images)), len(images))
    return dict(zip(parser.label_set.classes, iou(counts).tolist(), strict=True))


def _print(result: Mapping[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result["losses"].items())
    out.print(f"{result['model']}: {result['epochs']} epochs in {result['seconds']:.0f} s; last epoch: {losses}")
    if result["skipped"]:
        out.print(f"{result['skipped']} steps were skipped, as the loss was not finite; lower --learning-rate")
    regions = ", ".join(f"{name} {value:.3f}" for name, value in result["regions"].items())
    out.print(f"IoU on {result['judged_images']} images: {regions}")
    out.print(f"\nuse it as: package:{result['model']}")
