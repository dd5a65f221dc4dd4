"""`vestigo regions`: label maps of people, of a folder of images or of an indexed archive."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.console import DeviceOption, JsonOption, emit, note, out, progress

if TYPE_CHECKING:
    from vestigo_models.region_finding import RegionFinder

NAMED = 10
"""Images left out that are named to people; the JSON has all of them."""


def regions_command(
    source: Annotated[str, typer.Argument(help="Folder of images, one image, a dataset; with --store a run.")],
    parser: Annotated[
        str,
        typer.Option(
            "--parser",
            help="default, package:FOLDER, schp:CHECKPOINT[:lip|atr|pascal], hf:ID or labels:FOLDER.",
        ),
    ] = "default",
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for a label map an image; with --store for the pictures of --panel."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Store of the run SOURCE. Without --out also from VESTIGO_STORE."),
    ] = None,
    fls: Annotated[bool, typer.Option("--fls", help="Find what people carry, and fuse it with the parser's.")] = False,
    model: Annotated[
        str, typer.Option("--model", help="Whose features --fls clusters: default, a package folder, or hub:ID.")
    ] = "default",
    panel: Annotated[
        bool, typer.Option("--panel", help="Also draw parser, clustering and result side by side, an image a picture.")
    ] = False,
    split: Annotated[
        str | None, typer.Option("--split", help="Of a dataset only train, query or gallery.", show_default=False)
    ] = None,
    label_map: Annotated[
        Path | None,
        typer.Option("--label-map", help="YAML with the region of each class that hf: or labels: does not name."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the clustering.")] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Label the regions of people: head, upper body, lower body, shoes, and with --fls what they carry.

    Of a folder, for every image NAME.jpg a NAME.png of the same size is written: the parser's own class ids, or region
    ids 0-5 with --fls; labels.json says which. Images of one identity (by their Market or Duke file names) are
    clustered together, others one by one. Of a run, the maps go into the store, a tracklet an identity; what is there
    already is not done again.

    Example: vestigo regions people/ --parser default --fls --out maps/ --panel
    """
    from vestigo_models.errors import UsageError
    from vestigo_models.fls import FlsConfig

    started = time.monotonic()
    if folder is None:
        raise UsageError("give --out, a folder for the label maps")
    target = folder
    from vestigo_workers.regions_folder import SPLITS, label_images, source_images

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: use {', '.join(SPLITS)}")
    images = source_images(Path(source), target, split)
    finder = _finder(parser, label_map, model if fls else None, device, FlsConfig(seed=seed), clusters=panel)
    with progress("regions", len(images)) as update:
        found = label_images(images, target, finder, panels=panel, report=update)
    seconds = time.monotonic() - started
    emit(
        {
            "out": target,
            "labels": finder.description["name"],
            "images": found.images,
            "quarantined": len(found.left_out),
            "with_belongings": found.with_belongings,
            "failures": [vars(one) for one in found.left_out],
            "seconds": seconds,
            "images_per_second": found.images / seconds,
        },
        as_json,
        _tell,
    )


def _finder(
    parser: str, label_map: Path | None, model: str | None, device: str, config: Any, *, clusters: bool
) -> RegionFinder:
    import torch

    from vestigo_models.devices import resolve_device
    from vestigo_models.extraction import Extractor
    from vestigo_models.parsing import make_parser, read_label_map
    from vestigo_models.region_finding import RegionFinder, feature_model

    # One thread, as in the actors: sums come in one order, and maps do not depend on the machine's cores.
    torch.set_num_threads(1)
    device = resolve_device(device)
    told = None if label_map is None else read_label_map(label_map)
    extractor = None if model is None else Extractor(feature_model(model), device=device)
    return RegionFinder(make_parser(parser, told, device), extractor, config, clusters=clusters and model is not None)


def _tell(result: Mapping[str, Any]) -> None:
    labelled = result["images"] - result["quarantined"]
    out.print(
        f"{labelled} label maps ({result['labels']}) in {result['out']}, {result['with_belongings']} with belongings; "
        f"{result['seconds']:.1f} s, {result['images_per_second']:.1f} images/s",
        markup=False,
    )
    for failure in result["failures"][:NAMED]:
        line = f"  left out: {failure['image']}: {failure['reason']}: {failure['detail']}"
        out.print(line, style="yellow", markup=False)
    if len(result["failures"]) > NAMED:
        note(f"  and {len(result['failures']) - NAMED} more: --json names them all")
