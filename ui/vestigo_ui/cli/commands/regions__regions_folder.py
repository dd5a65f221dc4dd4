"""`vestigo regions` of a folder: its label maps, what became of the images, and how right the maps are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vestigo_ui.cli.output import emit, note, out, progress

if TYPE_CHECKING:
    from vestigo.evaluation.fls import FusionJudge
    from vestigo_models.fls.config import FlsConfig

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
        found = label_images(images, target, finder, panels=panels, report=update, watch=watch)
    seconds = time.monotonic() - started
    judged: dict[str, Any] = {}
    if watch is not None:
        methods = watch.judgement()
        shares = shares_of_oracle(methods)
        judged = {"judged": {name: asdict(one) for name, one in methods.items()}, "belongings_of_oracle": shares}
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
            **judged,
        },
        as_json,
        _tell,
    )


def _fusion_judge(source: Path, config: FlsConfig) -> FusionJudge:
    from vestigo.datasets.recognise import load_dataset
    from vestigo.evaluation.fls import FusionJudge

    return FusionJudge(load_dataset(source), config)


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
