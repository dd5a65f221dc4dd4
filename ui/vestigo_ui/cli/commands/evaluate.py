"""`vestigo evaluate`: how good a model is on a dataset."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_models.parsing.registry import PARSERS
from vestigo_ui.cli.evaluation import (
    ApName,
    ApOption,
    ProtocolName,
    ProtocolOption,
    RerankOption,
    compared,
    filtered,
    judged,
    judged_attributes,
    judged_regions,
    print_judged,
    print_more,
    stages,
    write_page,
)
from vestigo_ui.cli.options import FilterOption, MaxLostOption, SchemaOption, check_schema, choose
from vestigo_ui.cli.output import DeviceOption, HtmlOption, JsonOption, ModelOption, emit, note, out

if TYPE_CHECKING:
    from vestigo.evaluation.options import EvaluationOptions
    from vestigo_models.inference.package import ModelPackage


def evaluate_command(
    dataset: Annotated[Path, typer.Argument(help="Folder in the Market-1501 or DukeMTMC-reID layout.")],
    model: ModelOption = "default",
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            help="Another model, judged on the same images: by how much --model is better, with 95 % intervals.",
            show_default=False,
        ),
    ] = None,
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
    parser: Annotated[
        str,
        typer.Option("--parser", help=f"Parser of the pictures of regions in --html: {PARSERS.usage}."),
    ] = "default",
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Judge a model on a dataset: the ranking, attributes, regions, and what a filter by attributes costs.

    Retrieval and attributes are in percent. mAP, CMC and mINP are those of the ranking that was asked for, with the
    filter where one is given. Attributes are judged on the annotated gallery images, regions where the dataset holds
    label maps (`vestigo render` writes them). Images that cannot be read are left out and counted. Numbers that do not
    exist are null with --json, and attributes and regions empty where the model or the dataset has none.

    Example: vestigo evaluate Market-1501-v15.09.15 --model default --html report.html
    """
    from vestigo.datasets.recognise import load_dataset_for_model
    from vestigo.evaluation.compare import compare as compare_benchmarks
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo_models.devices import resolve_device
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.inference.package import ModelPackage

    started = time.monotonic()
    packages = [ModelPackage.from_pretrained(ref) for ref in (model, compare) if ref is not None]
    check_schema(schema, packages[0].name, packages[0].schema)
    loaded = load_dataset_for_model(dataset, packages[0].schema, format)
    options = [_options(packages[0], protocol, ap, rerank, filter, max_lost)]
    for package in packages[1:]:
        unfiltered = filter != "off" and package.schema is None
        if unfiltered:
            note(f"{package.name} predicts no attributes to filter by: it is judged without the filter")
        options.append(_options(package, protocol, ap, rerank, "off" if unfiltered else filter, max_lost))
    extractors = [Extractor(package, resolve_device(device)) for package in packages]
    benchmarks = []
    for extractor, how in zip(extractors, options, strict=True):
        with stages() as open_stage:
            benchmarks.append(evaluate_model(loaded, extractor, how, open_stage))
        for text in benchmarks[-1].notes:
            note(text)
    benchmark = benchmarks[0]
    comparison = compare_benchmarks(*benchmarks) if len(benchmarks) > 1 else None
    unreadable = {f"unreadable ({reason})": count for reason, count in benchmark.gallery_unreadable.items()}
    result = {
        **judged(benchmark),
        "gallery_excluded": {**({"junk": loaded.junk} if loaded.junk else {}), **unreadable},
        **judged_attributes(benchmark),
        **judged_regions(benchmark),
        "filter": filtered(benchmark),
        "comparison": None if comparison is None else {**_identity(packages[1]), **compared(comparison, benchmarks[1])},
        "notes": list(benchmark.notes),
        "dataset": loaded.name,
        **_identity(packages[0]),
        "protocol": protocol.value,
        "ap": ap.value,
        "rerank": rerank,
        "seconds": time.monotonic() - started,
    }
    if html is not None:
        facts = {
            "Dataset": loaded.root.resolve().name,
            "Layout": loaded.name,
            "Model": f"{packages[0].name} ({packages[0].digest[:12]})",
            "Protocol": protocol.value,
            "AP": ap.value,
            "Re-ranking": "k-reciprocal" if rerank else "none",
            "Filter": filter,
        }
        write_page(html, loaded, extractors, benchmarks, comparison, facts, protocol.value, parser)
        note(f"report: {html}")
    emit(result, as_json, _print)


def _options(
    package: ModelPackage, protocol: ProtocolName, ap: ApName, rerank: bool, filter: str, max_lost: float
) -> EvaluationOptions:
    from vestigo.evaluation.options import EvaluationOptions

    choice = choose(filter, max_lost, package.config.calibration)
    return EvaluationOptions(protocol=protocol.value, ap=ap.value, rerank=rerank, filter=choice)


def _identity(package: ModelPackage) -> dict[str, Any]:
    return {"model": {"name": package.name, "digest": package.digest}}


def _print(result: Mapping[str, Any]) -> None:
    out.print(f"[bold]{result['model']['name']}[/bold] on {result['dataset']}, {result['protocol']}")
    print_judged(result)
    print_more(result)
    for reason, count in result["gallery_excluded"].items():
        out.print(f"  left out of the gallery: {count} x {reason}", style="yellow", markup=False)
    out.print(f"{result['seconds']:.1f} s", style="dim")
