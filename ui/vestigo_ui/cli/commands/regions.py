"""`vestigo regions`: label maps of a folder of images or of an indexed archive."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from vestigo.resolve import locate_model
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import print_notes, read_dataset
from vestigo_ui.cli.output import (
    Output,
    make_table,
    note,
    number_text,
    out,
    print_line,
    progress,
    run_output,
    run_with_bars,
)
from vestigo_ui.cli.parser_options import LabelMapOption, ParserOption

if TYPE_CHECKING:
    from vestigo_workers.regions.plan import FinderSettings

MAX_LISTED = 10
"""Failed images that are printed; the JSON lists all of them."""


def regions_command(
    *,
    source: Annotated[str, Argument(help="Folder of images, one image, a dataset or its archive; with --store a run.")],
    parser: ParserOption = "default",
    folder: Annotated[
        Path | None, Option("--out", help="Folder for one label map per image; with --store for the images of --panel.")
    ] = None,
    store: Annotated[
        str | None, Option("--store", "-s", help="Store of the run SOURCE. Without --out also from VESTIGO_STORE.")
    ] = None,
    fls: Annotated[bool, Option("--fls", help="Find carried objects and fuse them with the parser's regions.")] = False,
    model: Annotated[
        str,
        Option(
            help="Model whose features --fls clusters: a shipped one (tiny sees the most cells), a package folder, "
            "hub:ID, or with --store a name or digest of `vestigo models list`."
        ),
    ] = "tiny",
    foreground: Annotated[
        Literal["classifier", "activation"] | None,
        Option(
            help="How --fls separates a person from the background: by the model's pixel classifier, or by two "
            "clusters of activations. Default: as in the model's package."
        ),
    ] = None,
    belongings: Annotated[
        Literal["complement", "cluster_vote", "both", "classifier"] | None,
        Option(
            help="Where --fls finds carried objects: in the foreground that the parser missed (complement), by votes "
            "of clusters, by both, or there and where the model's pixel classifier predicts them. Default: as in the "
            "package."
        ),
    ] = None,
    panel: Annotated[
        bool, Option("--panel", help="Also draw parser, clusters and result of each image next to each other.")
    ] = False,
    judge: Annotated[
        bool,
        Option(
            "--judge",
            help="With --fls, for a dataset with true label maps: overlap with them, also of the parser alone, of "
            "clustering alone and of an oracle.",
        ),
    ] = False,
    split: Annotated[str | None, Option(help="Of a dataset only train, query or gallery.")] = None,
    label_map: LabelMapOption = None,
    seed: Annotated[int, Option(min=0, help="Of the clustering.")] = 0,
    execution: opts.ExecutorOptions,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Label the regions of people: head, upper body, lower body, shoes, and with --fls carried objects.

    For a folder, every image NAME.jpg gives a NAME.png of the same size with the parser's own class ids, or with region
    ids 0-5 with --fls; labels.json names them. Images of one identity (by their Market or Duke file names) are
    clustered together, others one by one. For a run, the maps are stored, a tracklet is an identity, and crops that
    have maps are skipped. Images are processed as by `vestigo index`: the maps are the same in one process and on any
    number of actors.

    Example: vestigo regions people/ --parser default --fls --out maps/ --panel
    """
    from vestigo_models.fls.config import FlsConfig
    from vestigo_models.inference.region_finder import load_feature_model
    from vestigo_models.parsing.label_maps import read_label_map

    if store is None and folder is None:
        store = os.environ.get("VESTIGO_STORE")
    classes = None if label_map is None else read_label_map(label_map)
    features = model if fls else None
    if fls and store is not None:
        with opts.open_store(store) as opened:
            features = locate_model(opened, model)
    # The settings that the model's package recommends, with the changes of the options.
    recommended = None if features is None else load_feature_model(features).config.fls
    changes = opts.given({"seed": seed, "foreground": foreground, "belongings_mode": belongings})
    config = (recommended or FlsConfig(foreground="classifier")).model_copy(update=changes)
    shared: dict[str, Any] = {
        **execution.settings(device).model_dump(exclude_unset=True),
        "parser": parser,
        "label_map": classes,
        "model": features,
        "fls": config,
    }
    if store is None:
        if folder is None:
            raise UsageError("give --out, a folder for the label maps, or --store, where SOURCE is a run")
        if judge and features is None:
            raise UsageError("--judge: compares fused regions; add --fls")
        from vestigo_workers.regions.plan import FinderSettings

        finder = FinderSettings.model_validate(shared)
        return _label_folder(Path(source), folder, split, finder, panel, judge)
    if judge:
        raise UsageError("--judge: a run has no true label maps; label a dataset in a folder (--out)")
    if split is not None:
        raise UsageError("--split: belongs to a dataset in a folder, not to a run of a store")
    if panel != (folder is not None):
        raise UsageError("with --store, give --out and --panel both, for panels, or neither: the label maps are stored")
    from vestigo_workers.regions.plan import RegionsRequest
    from vestigo_workers.regions.run import draw_panels, label_run

    request = RegionsRequest.model_validate({**shared, "run": source})
    with opts.open_store(store) as opened:
        output = run_output(opened, run_with_bars(opened, partial(label_run, opened, request)))
        if folder is None:
            return output
        details = {"what": "panels", "run": request.run, "to_folder": str(folder.absolute())}
        opened.audit.record(opts.login(), "export", details=details)
        with progress("panels") as update:
            panels = draw_panels(opened, request, folder, update)
    note(f"{panels} panels in {folder}")
    return output._replace(result={**output.result, "panels": panels})


def _label_folder(
    source: Path, target: Path, split: str | None, settings: FinderSettings, panels: bool, with_judge: bool
) -> Output:
    """Write the label maps of a folder or dataset, and compare them with true ones if that is requested."""
    from vestigo.datasets.archive import open_folder
    from vestigo.evaluation.fls import FusionEvaluator, shares_of_oracle
    from vestigo.ingest.sources.naming import is_archive
    from vestigo_workers.regions.folder import SPLITS, source_images
    from vestigo_workers.regions.images import label_images

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: use {', '.join(SPLITS)}")
    judge = FusionEvaluator(read_dataset(source), settings.fls) if with_judge else None
    if not with_judge and source.is_file() and is_archive(source.name):
        print_notes(open_folder(source).notes)
    started = time.monotonic()
    images = source_images(source, target, split)
    with progress("regions", len(images)) as update:
        labelled = label_images(images, target, settings, panels=panels, judge=judge, progress=update)
    seconds = time.monotonic() - started
    result: dict[str, Any] = {
        "out": target,
        "labels": labelled.description["name"],
        "images": len(images),
        "quarantined": len(labelled.failures),
        "with_belongings": labelled.with_belongings,
        "failures": labelled.failures,
        "seconds": seconds,
        "images_per_second": len(images) / seconds,
    }
    if judge is not None:
        methods = judge.result()
        result["judged"] = {name: asdict(method) for name, method in methods.items()}
        result["belongings_of_oracle"] = shares_of_oracle(methods)
    return Output(result, _print_folder)


def _print_folder(result: Mapping[str, Any]) -> None:
    labelled = result["images"] - result["quarantined"]
    out.print(
        f"{labelled} label maps ({result['labels']}) in {result['out']}, {result['with_belongings']} with belongings; "
        f"{result['seconds']:.1f} s, {result['images_per_second']:.1f} images/s"
    )
    for failure in result["failures"][:MAX_LISTED]:
        print_line(f"  quarantined: {failure['image']}: {failure['reason']}: {failure['detail']}", style="yellow")
    if len(result["failures"]) > MAX_LISTED:
        note(f"  and {len(result['failures']) - MAX_LISTED} more: --json lists them all")
    if "judged" in result:
        methods = result["judged"].values()
        rows = [("all regions", *(number_text(method["regions"]["mean"]) for method in methods))]
        for region in result["judged"]["fls"]["regions"]["iou"]:
            rows.append((region, *(number_text(method["regions"]["iou"][region]) for method in methods)))
        for name, share in result["belongings_of_oracle"].items():
            overlaps = (number_text(method["belongings"][name]) for method in methods)
            rows.append((f"  {name}", *overlaps, "–" if share is None else f"{share:.0f} %"))
        out.print()
        out.print(make_table(("IoU", *(f">{name}" for name in result["judged"]), ">of oracle"), rows))
        note("\nIoU in percent on the network's grid; belongings also for the people labelled to carry each")
