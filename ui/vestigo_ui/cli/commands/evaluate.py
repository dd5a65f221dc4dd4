"""`vestigo evaluate`: evaluate a model on a dataset."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from vestigo_ui.cli import evaluation as results
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import HoldOutOptions, read_dataset_for_model
from vestigo_ui.cli.output import Output, note, number_text, out, print_skipped, progress_stages
from vestigo_ui.cli.parser_options import ParserOption


def evaluate_command(
    *,
    dataset: Annotated[Path, Argument(help="Folder or archive in the layout of Market-1501, DukeMTMC-reID or MSMT17.")],
    model: Annotated[str, Option(help="Model: default, small, tiny, a package folder, or hub:ID.")] = "default",
    compare: Annotated[
        str | None, Option(help="Another model on the same images: the advantage of --model, with 95 % intervals.")
    ] = None,
    format: Annotated[
        str | None, Option(help="market-1501, dukemtmc-reid or msmt17, if the content does not tell.")
    ] = None,
    hold_out: HoldOutOptions,
    ranking: opts.RankingOptions,
    keep_camera_bias: Annotated[
        bool,
        Option(
            "--keep-camera-bias",
            help="Compare descriptors as the model makes them; a search, and so this command, removes the bias of "
            "cameras. Published results keep it.",
        ),
    ] = False,
    filter: opts.FilterOption = "off",
    max_lost: opts.MaxLostOption = 0.01,
    html: opts.HtmlOption = None,
    parser: ParserOption = "default",
    training_regions: Annotated[
        bool,
        Option(
            "--training-regions",
            help="Also evaluate regions on the training images, against the class ids of --parser (LIP), as ISP does.",
        ),
    ] = False,
    schema: opts.SchemaOption = None,
    execution: opts.ExecutorOptions,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Evaluate a model on a dataset: ranking, attributes, regions, and losses of an attribute filter.

    Retrieval and attributes are in percent. mAP, CMC and mINP are those of the requested ranking, filtered if a filter
    is given. Attributes are evaluated on the annotated gallery images, regions if the dataset holds label maps
    (`vestigo render` writes them); --parser draws the regions of --html. Unreadable images are skipped and counted.
    Numbers that do not exist are null with --json; attributes and regions are empty if the model or the dataset has
    none. Images are processed as by `vestigo index`: the result is the same in one process and on any number of actors.

    Example: vestigo evaluate Market-1501-v15.09.15 --model default --html report.html
    """
    from vestigo.evaluation.evaluate import compare as compare_evaluations
    from vestigo.evaluation.evaluate import evaluate_model
    from vestigo.evaluation.ranking import EvaluationOptions
    from vestigo_models.attribute_filter.modes import choose_filter
    from vestigo_models.inference.package import ModelPackage
    from vestigo_workers.evaluation.embedder import ExecutorEmbedder

    started = time.monotonic()
    settings = execution.settings(device)
    packages = [ModelPackage.from_pretrained(ref) for ref in (model, compare) if ref is not None]
    opts.check_schema(schema, packages[0].name, packages[0].schema)
    loaded = read_dataset_for_model(dataset, packages[0].schema, hold_out, format=format)
    options: list[EvaluationOptions] = []
    for package in packages:
        mode = filter
        if options and filter != "off" and package.schema is None:
            note(f"{package.name} predicts no attributes to filter by: it is evaluated without the filter")
            mode = "off"
        choice = choose_filter(opts.read_filter(mode, max_lost), package.calibration)
        options.append(EvaluationOptions(**vars(ranking), filter=choice, keep_camera_bias=keep_camera_bias))
    overlap = results.training_overlap(loaded, packages[0], model, parser, settings) if training_regions else None
    evaluations = []
    for package, model_options in zip(packages, options, strict=True):
        with progress_stages() as open_progress, ExecutorEmbedder(package, settings) as embedder:
            evaluations.append(evaluate_model(loaded, embedder, model_options, open_progress))
        for text in evaluations[-1].notes:
            note(text)
    evaluation = evaluations[0]
    comparison = compare_evaluations(*evaluations) if len(evaluations) > 1 else None
    models = [{"name": package.name, "digest": package.digest} for package in packages]
    compared = comparison and {"model": models[1], **results.comparison_result(comparison, evaluations[1])}
    unreadable = {f"unreadable ({reason})": count for reason, count in evaluation.gallery_unreadable.items()}
    result = {
        **results.full_result(evaluation),
        "gallery_excluded": {**({"junk": loaded.junk} if loaded.junk else {}), **unreadable},
        "passed_over": dict(loaded.passed_over),
        "filter": results.filter_result(evaluation),
        "training_regions": overlap,
        "comparison": compared,
        "notes": list(evaluation.notes),
        "dataset": loaded.name,
        "held_out": loaded.held_out,
        "model": models[0],
        **vars(ranking),
        "camera_bias": "kept" if keep_camera_bias else "removed",
        "seconds": time.monotonic() - started,
    }
    if html is not None:
        facts = {
            "Dataset": loaded.source_name,
            "Layout": loaded.name,
            "Model": f"{packages[0].name} ({packages[0].digest[:12]})",
            "Protocol": ranking.protocol,
            "AP": ranking.ap,
            "Re-ranking": "k-reciprocal" if ranking.rerank else "none",
            "Filter": filter,
            "Bias of cameras": "kept" if keep_camera_bias else "removed",
        }
        evaluated = list(zip(packages, evaluations, strict=True))
        results.write_evaluation_page(html, loaded, evaluated, comparison, facts, ranking.protocol, parser, device)
        note(f"report: {html}")
    return Output(result, _print)


def _print(result: Mapping[str, Any]) -> None:
    bias = f"bias of cameras {result['camera_bias']}"
    out.print(f"{result['model']['name']} on {result['dataset']}, {result['protocol']}, {bias}")
    results.print_ranking(result)
    results.print_details(result)
    if (overlap := result["training_regions"]) is not None:
        figures = ", ".join(f"{name} {number_text(value)}" for name, value in overlap["two_class"].items())
        out.print(f"regions on {overlap['images']} training images: ISP's IoU {figures} (percent)")
        print_skipped(overlap["skipped"])
    print_skipped(result["gallery_excluded"], "  not in the gallery")
    for kind, count in result["passed_over"].items():
        out.print(f"  passed over: {count} {kind}", style="yellow")
    out.print(f"{result['seconds']:.1f} s", style="dim")
