"""`vestigo regions`: label maps of people, of a folder of images or of an indexed archive."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo_models.parsing.registry import PARSERS
from vestigo_ui.cli.output import DeviceOption, JsonOption, emit, note, out, print_run, progress, run_with_bars

if TYPE_CHECKING:
    from vestigo.evaluation.fls import FusionEvaluator
    from vestigo_models.fls.config import FlsConfig
    from vestigo_workers.regions.plan import RegionsRequest


NAMED = 10
"""Images left out that are named to people; the JSON has all of them."""


def label_folder(
    source: Path,
    target: Path,
    split: str | None,
    parser: str,
    label_map: dict[str, str] | None,
    model: str | None,
    config: FlsConfig,
    panels: bool,
    judge: bool,
    device: str,
    as_json: bool,
) -> None:
    """Write the label maps of a folder or dataset into `target`; see the options of `vestigo regions`.

    Raises:
        UsageError: options that do not fit each other or the source.
    """
    import torch

    from vestigo.evaluation.fls import shares_of_oracle
    from vestigo_models.errors import UsageError
    from vestigo_workers.regions.folder import SPLITS, label_images, source_images
    from vestigo_workers.regions.worker import FinderFactory

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: use {', '.join(SPLITS)}")
    if judge and model is None:
        raise UsageError("--judge: compares fused regions; add --fls")
    watch = _fusion_judge(source, config) if judge else None
    started = time.monotonic()
    images = source_images(source, target, split)
    # One thread, as in the actors: sums come in one order, and maps do not depend on the machine's cores.
    torch.set_num_threads(1)
    finder = FinderFactory(
        parser=parser,
        label_map=label_map,
        model=model,
        fls=config.model_dump(),
        device=device,
        clusters=(panels or judge) and model is not None,
    )()
    with progress("regions", len(images)) as update:
        found = label_images(images, target, finder, panels=panels, progress=update, judge=watch)
    seconds = time.monotonic() - started
    judged: dict[str, Any] = {}
    if watch is not None:
        methods = watch.result()
        shares = shares_of_oracle(methods)
        judged = {"judged": {name: asdict(one) for name, one in methods.items()}, "belongings_of_oracle": shares}
    emit(
        {
            "out": target,
            "labels": finder.description["name"],
            "images": found.images,
            "quarantined": len(found.unlabelled),
            "with_belongings": found.with_belongings,
            "failures": [vars(one) for one in found.unlabelled],
            "seconds": seconds,
            "images_per_second": found.images / seconds,
            **judged,
        },
        as_json,
        _tell,
    )


def _fusion_judge(source: Path, config: FlsConfig) -> FusionEvaluator:
    from vestigo.datasets.recognise import load_dataset
    from vestigo.evaluation.fls import FusionEvaluator

    return FusionEvaluator(load_dataset(source), config)


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
    if "judged" in result:
        out.print()
        out.print(_overlaps(result["judged"], result["belongings_of_oracle"]))
        note("\nIoU in percent on the network's grid; belongings also for those labelled to carry each")


def _overlaps(judged: Mapping[str, Any], shares: Mapping[str, float | None]) -> Table:
    table = Table("IoU", *judged, "of oracle", box=None, header_style="dim", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("all regions", *(_number(one["regions"]["mean"]) for one in judged.values()))
    for region in judged["fls"]["regions"]["iou"]:
        table.add_row(region, *(_number(one["regions"]["iou"][region]) for one in judged.values()))
    for name, share in shares.items():
        ours = (_number(one["belongings"][name]) for one in judged.values())
        table.add_row(f"  {name}", *ours, "–" if share is None else f"{share:.0f} %")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


class ExecutorChoice(StrEnum):
    """Where the shards of a run are worked off."""

    inline = "inline"
    ray = "ray"
    auto = "auto"


class Belongings(StrEnum):
    """`FlsConfig.belongings_mode` as the command line takes it."""

    complement = "complement"
    cluster_vote = "cluster_vote"
    both = "both"
    classifier = "classifier"


class Foreground(StrEnum):
    """`FlsConfig.foreground` as the command line takes it."""

    classifier = "classifier"
    activation = "activation"


def regions_command(
    source: Annotated[str, typer.Argument(help="Folder of images, one image, a dataset; with --store a run.")],
    parser: Annotated[
        str,
        typer.Option(
            "--parser",
            help=f"{PARSERS.usage}.",
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
        str,
        typer.Option(
            "--model",
            help="Whose features --fls clusters: default, a package folder, hub:ID, or with --store a name or digest "
            "of `vestigo models list`.",
        ),
    ] = "default",
    foreground: Annotated[
        Foreground | None,
        typer.Option(
            "--foreground",
            help="What tells --fls a person from the background: the model's pixel classifier, or two clusters of "
            "activations. Without it as the model's package says.",
            show_default=False,
        ),
    ] = None,
    belongings: Annotated[
        Belongings | None,
        typer.Option(
            "--belongings",
            help="Where --fls finds them: in the foreground that the parser missed (complement), by votes of clusters, "
            "by both, or there and where the model's pixel classifier sees them. Without it as the package says.",
            show_default=False,
        ),
    ] = None,
    panel: Annotated[
        bool, typer.Option("--panel", help="Also draw parser, clustering and result side by side, an image a picture.")
    ] = False,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge",
            help="Of a dataset with true label maps, and with --fls: overlap with them, beside that of the parser "
            "alone, of clustering alone and of an oracle.",
        ),
    ] = False,
    split: Annotated[
        str | None, typer.Option("--split", help="Of a dataset only train, query or gallery.", show_default=False)
    ] = None,
    label_map: Annotated[
        Path | None,
        typer.Option("--label-map", help="YAML with the region of each class that hf: or labels: does not name."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the clustering.")] = 0,
    executor: Annotated[
        ExecutorChoice | None, typer.Option("--executor", help="Of a run: inline, ray or auto (by default).")
    ] = None,
    actors: Annotated[
        int | None, typer.Option("--actors", min=1, help="Ray actors; by default one a GPU share or CPU.")
    ] = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option("--gpus-per-actor", min=0, help="Share of a GPU an actor is pinned to.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option("--shard-size", min=1, help="Crops of a run a shard, at most. Default: 256.")
    ] = None,
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
    from vestigo_models.parsing.label_maps import read_label_map

    if store is None and folder is None:
        store = os.environ.get("VESTIGO_STORE")
    told = None if label_map is None else read_label_map(label_map)
    features = None if not fls else model if store is None else _located(store, model)
    asked = {"foreground": foreground and foreground.value, "belongings_mode": belongings and belongings.value}
    config = fls_config(features, {"seed": seed, **{key: value for key, value in asked.items() if value is not None}})
    pool = {
        "executor": executor and executor.value,
        "actors": actors,
        "gpus_per_actor": gpus_per_actor,
        "shard_size": shard_size,
    }
    given = {name: value for name, value in pool.items() if value is not None}
    if store is None:
        if folder is None:
            raise UsageError("give --out, a folder for the label maps, or --store, where SOURCE is a run")
        if given.get("executor", "auto") == "ray" or given.keys() - {"executor"}:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{named}: a folder is worked off in this process; index it and label the run (--store)")
        label_folder(Path(source), folder, split, parser, told, features, config, panel, judge, device, as_json)
        return
    if judge:
        raise UsageError("--judge: a run has no true label maps; label a dataset in a folder (--out)")
    if split is not None:
        raise UsageError("--split: belongs to a dataset in a folder, not to a run of a store")
    if panel != (folder is not None):
        raise UsageError("with --store the label maps go there: give --out and --panel both, for pictures, or neither")
    from vestigo_workers.regions.plan import RegionsRequest

    wanted = {"run": source, "parser": parser, "label_map": told, "model": features, "fls": config, "device": device}
    request = RegionsRequest.model_validate({**wanted, **given})
    _label_run(store, request, folder, as_json)


def fls_config(model: str | None, asked: Mapping[str, Any]) -> FlsConfig:
    """The keys of FLS that a model's package recommends, those that were asked for in their place."""
    from vestigo_models.fls.config import FlsConfig
    from vestigo_models.inference.region_finder import load_feature_model

    told = None if model is None else load_feature_model(model).config.fls
    return (told or FlsConfig(foreground="classifier")).model_copy(update=dict(asked))


def _located(store: str, model: str) -> str:
    from vestigo.resolve import locate_model
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        return locate_model(opened, model)


def _label_run(store: str, request: RegionsRequest, pictures: Path | None, as_json: bool) -> None:
    from vestigo.store.open import Store
    from vestigo_workers.regions.run import draw_panels, label_run
    from vestigo_workers.runs.result import summarize

    with Store.open(store, create=False) as opened:
        labelled = run_with_bars(lambda stage: label_run(opened, request, stage), opened)
        result = summarize(opened, labelled)
        if pictures is not None:
            with progress("pictures") as update:
                result["panels"] = draw_panels(opened, request, pictures, update)
    emit(result, as_json, print_run)
    if pictures is not None and not as_json:
        note(f"{result['panels']} pictures in {pictures}")
