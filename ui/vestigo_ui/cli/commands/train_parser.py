"""`vestigo train-parser`: a dataset with label maps becomes a parser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.output import DeviceOption, JsonOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo_models.parsing.training import LabelledImages

JUDGED_AT_ONCE = 256


class Hidden(StrEnum):
    """What is true of a pixel that shows belongings."""

    REGIONS = "regions"
    BEHIND = "behind"


class Precision(StrEnum):
    """In which numbers the network's layers compute while they learn."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def train_parser_command(
    data: Annotated[Path, typer.Option("--data", help="Dataset with label maps, as `vestigo render` writes it.")],
    model: Annotated[Path, typer.Option("--out", help="New folder for the parser's package.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes every random choice.")] = 0,
    hidden_by: Annotated[
        Hidden,
        typer.Option(
            "--hidden-by",
            help="What belongings are to the parser: background (regions), or the part of the body that they hide "
            "(behind; needs `vestigo render --behind`).",
        ),
    ] = Hidden.REGIONS,
    hidden_weight: Annotated[
        float,
        typer.Option(
            "--hidden-weight",
            min=0.01,
            help="How much more a pixel of belongings counts than others, while they are background to the parser.",
        ),
    ] = 1.0,
    base: Annotated[
        str | None, typer.Option("--base", help="Parser package to go on from: default, or a folder.")
    ] = None,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=1e-6, help="The first rate; a cosine takes it to 0.")
    ] = 3e-3,
    precision: Annotated[
        Precision, typer.Option("--precision", help="bfloat16 is faster where the processor has it.")
    ] = Precision.FLOAT32,
    device: DeviceOption = "auto",
    json_mode: JsonOption = False,
) -> None:
    """Train a small parser on the dataset's training split and judge it, region by region, on the two others.

    It tells head, upper body, lower body and shoes from the background. Use the result as `package:FOLDER`.

    Example: vestigo train-parser --data people/ --out parsers/mine --epochs 6
    """
    from vestigo.datasets.recognise import load_dataset
    from vestigo.datasets.reid import BEHIND, REGIONS, region_maps
    from vestigo_models.devices import resolve_device
    from vestigo_models.parsing.small import ParserConfig
    from vestigo_models.parsing.training import LabelledImages, ParserTrainConfig, train_parser

    recipe = ParserTrainConfig(
        seed=seed,
        precision=precision.value,
        epochs=epochs,
        hidden_weight=hidden_weight,
        learning_rate=learning_rate,
    )
    dataset = load_dataset(data)
    folder = BEHIND if hidden_by is Hidden.BEHIND else REGIONS
    paths = dataset.train.paths
    images = LabelledImages(images=paths, maps=region_maps(dataset.root, paths, folder))
    tested = dataset.query.paths + dataset.gallery.paths
    judged = LabelledImages(images=tested, maps=region_maps(dataset.root, tested, folder))
    device = resolve_device(device)
    # The command as anybody could repeat it: no path of this machine enters the package.
    said = (
        f"--epochs {epochs} --seed {seed} --hidden-by {hidden_by} --hidden-weight {hidden_weight:g}"
        f" --learning-rate {learning_rate:g} --precision {precision}"
    )
    if base is not None:
        said += f" --base {Path(base).name}"
    command = f"vestigo train-parser --data {dataset.root.name} {said}"
    package = ParserConfig(trained_on={"dataset": dataset.name, "command": command, "images": len(paths)})

    with progress("training") as update:
        result = train_parser(recipe, images, model, package=package, base=base, device=device, progress=update)
    with progress("judging") as update:
        regions = _judge(model, judged, device, update)
    emit(
        {
            "model": result.model,
            "epochs": result.epochs,
            "losses": result.losses,
            "regions": regions,
            "images": len(paths),
            "judged_images": len(tested),
            "seconds": result.seconds,
        },
        json_mode,
        _tell,
    )


def _judge(
    model: Path, data: LabelledImages, device: str, update: Callable[[int, int | None], None]
) -> dict[str, float]:
    """IoU (a fraction) of every region over all pixels of the images."""
    import numpy as np

    from vestigo_models.inference.images import read_image
    from vestigo_models.parsing.label_folder import read_labels
    from vestigo_models.parsing.overlap import confusion, iou
    from vestigo_models.parsing.small import EmbeddedParser

    parser = EmbeddedParser.from_pretrained(model, device=device)
    classes = len(parser.label_set)
    counts = np.zeros((classes, classes), dtype=np.int64)
    for start in range(0, len(data.images), JUDGED_AT_ONCE):
        part = slice(start, start + JUDGED_AT_ONCE)
        found = parser.parse_many([read_image(path) for path in data.images[part]])
        for path, parsed in zip(data.maps[part], found, strict=True):
            truth = read_labels(path)
            counts += confusion(np.where(truth < classes, truth, 0).astype(np.uint8), parsed.labels, classes)
        update(min(start + JUDGED_AT_ONCE, len(data.images)), len(data.images))
    return dict(zip(parser.label_set.classes, iou(counts).tolist(), strict=True))


def _tell(result: Mapping[str, Any]) -> None:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result["losses"].items())
    out.print(f"{result['model']}: {result['epochs']} epochs in {result['seconds']:.0f} s; last epoch: {losses}")
    regions = ", ".join(f"{name} {value:.3f}" for name, value in result["regions"].items())
    out.print(f"IoU on {result['judged_images']} images: {regions}")
    out.print(f"\nuse it as: package:{result['model']}")
