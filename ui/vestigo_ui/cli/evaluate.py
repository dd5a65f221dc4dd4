"""`vestigo evaluate`: how good a model is on a dataset."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vestigo_ui.cli.console import DeviceOption, HtmlOption, JsonOption, ModelOption, emit, note, out
from vestigo_ui.cli.filtering import FilterOption, MaxLostOption, choose
from vestigo_ui.cli.judged import (
    ApName,
    ApOption,
    ProtocolName,
    ProtocolOption,
    RerankOption,
    filtered,
    judged,
    judged_attributes,
    judged_regions,
    print_judged,
    stages,
)


def evaluate_command(
    dataset: Annotated[Path, typer.Argument(help="Folder in the Market-1501 or DukeMTMC-reID layout.")],
    model: ModelOption = "default",
    format: Annotated[
        str | None,
        typer.Option("--format", help="market-1501 or dukemtmc-reid, where the content does not tell."),
    ] = None,
    protocol: ProtocolOption = ProtocolName.cross_camera,
    ap: ApOption = ApName.standard,
    rerank: RerankOption = False,
    filter: FilterOption = "off",
    max_lost: MaxLostOption = 0.01,
    html: HtmlOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Judge a model on a dataset: mAP, CMC and mINP of the ranking, and what was left out and why.

    Images that cannot be read are left out and counted. Numbers that do not exist are null with --json: attributes,
    as long as the model predicts none, the filter, as long as none is used.

    Example: vestigo evaluate Market-1501-v15.09.15 --model default --html report.html
    """
    from vestigo.benchmark import Options, judge_model
    from vestigo.datasets import load_dataset
    from vestigo_models.devices import resolve_device
    from vestigo_models.extraction import Extractor
    from vestigo_models.package import ModelPackage

    started = time.monotonic()
    loaded = load_dataset(dataset, format)
    package = ModelPackage.from_pretrained(model)
    choice = choose(filter, max_lost, package.config.calibration)
    options = Options(protocol=protocol.value, ap=ap.value, rerank=rerank, filter=choice)
    with stages() as advance:
        benchmark = judge_model(loaded, Extractor(package, resolve_device(device)), options, advance)
    for text in benchmark.notes:
        note(text)
    unreadable = {f"unreadable ({reason})": count for reason, count in benchmark.gallery_unreadable.items()}
    result = {
        **judged(benchmark),
        "gallery_excluded": {**({"junk": loaded.junk} if loaded.junk else {}), **unreadable},
        **judged_attributes(benchmark),
        **judged_regions(benchmark),
        "filter": filtered(benchmark),
        "notes": list(benchmark.notes),
        "dataset": loaded.name,
        "model": {"name": package.name, "digest": package.digest},
        "protocol": protocol.value,
        "ap": ap.value,
        "rerank": rerank,
        "seconds": time.monotonic() - started,
    }
    if html is not None:
        from vestigo.reports import evaluation_page

        facts = {
            "Dataset": loaded.root.resolve().name,
            "Layout": loaded.name,
            "Model": f"{package.name} ({package.digest[:12]})",
            "Protocol": protocol.value,
            "AP": ap.value,
            "Re-ranking": "k-reciprocal" if rerank else "none",
        }
        html.write_text(evaluation_page(benchmark, facts, protocol.value), encoding="utf-8")
        note(f"report: {html}")
    emit(result, as_json, _print)


def _print(result: Mapping[str, Any]) -> None:
    out.print(f"[bold]{result['model']['name']}[/bold] on {result['dataset']}, {result['protocol']}")
    print_judged(result)
    for reason, count in result["gallery_excluded"].items():
        out.print(f"  left out of the gallery: {count} x {reason}", style="yellow", markup=False)
    out.print(f"{result['seconds']:.1f} s", style="dim")
