"""Results of evaluations, for `evaluate`, `score`, `train` and `demo`: JSON keys, text and the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import note, number_text, out, print_skipped, progress, write_page

if TYPE_CHECKING:
    from vestigo.datasets.reid import ReidDataset
    from vestigo.evaluation.evaluate import ModelComparison
    from vestigo.evaluation.result import Evaluation
    from vestigo_models.inference.package import ModelPackage
    from vestigo_workers.executors.base import ExecutorSettings

RANKS = (1, 5, 10)
TITLES = {"mAP": "mAP", "rank1": "Rank-1"}


def full_result(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics in percent (AUCs as fractions), None without a scored query; empty if not evaluated."""
    ranking, attributes, regions = evaluation.metrics, evaluation.attributes, evaluation.regions
    result: dict[str, Any] = {
        "mAP": ranking.mAP,
        "mINP": ranking.mINP,
        "cmc": {str(rank): ranking.cmc[rank] for rank in RANKS},
        "queries": ranking.queries,
        "evaluated": ranking.queries - sum(ranking.excluded.values()),
        "excluded": ranking.excluded,
        "gallery": len(evaluation.gallery),
        "intervals": evaluation.intervals(),
        "camera_pairs": [
            {"query_camera": own, "gallery_camera": other, **asdict(metrics)}
            for (own, other), metrics in evaluation.by_camera_pair().items()
        ],
        "attributes": {},
        "attributes_mean": None,
        "attributes_balanced": None,
        "regions": regions.iou if regions else {},
        "regions_mean": regions.mean if regions else None,
        "regions_two_class": regions.two_class if regions else {},
        "belongings_auc": evaluation.belongings_auc,
    }
    if attributes is not None:
        metrics = attributes.metrics
        result |= {
            "attributes": metrics.official,
            "attributes_mean": metrics.official_mean,
            "attributes_balanced": metrics.balanced,
            "attributes_labelled_only": metrics.labelled_only,
            "attributes_labelled_only_mean": metrics.labelled_only_mean,
            "attributes_recall": metrics.recall,
            "attributes_calibration_error": attributes.calibration_errors,
            "attributes_images": metrics.images,
        }
    return result


def filter_result(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the filter's effect; mAP and Rank-1 in percent, the rest as fractions. None without a filter."""
    measured = evaluation.filter
    if measured is None:
        return None
    cost = measured.cost
    return {
        **(opts.filter_summary(measured.choice) or {}),
        "kept_fraction": cost.kept_fraction,
        "true_matches_lost": cost.true_matches_lost,
        "identity_loss": cost.identity_loss,
        "speed_up": measured.speed_up,
        "mAP": cost.with_filter.mAP,
        "rank1": cost.with_filter.cmc[1],
        "mAP_without": cost.without.mAP,
        "rank1_without": cost.without.cmc[1],
    }


def comparison_result(comparison: ModelComparison, other: Evaluation) -> dict[str, Any]:
    """Return the advantage of a model over another one in percentage points, and the metrics of the other one."""
    return {
        "mAP": comparison.mAP and asdict(comparison.mAP),
        "attributes": {name: gain and asdict(gain) for name, gain in comparison.attributes.items()},
        "judged": {**full_result(other), "filter": filter_result(other)},
    }


def training_overlap(
    dataset: ReidDataset, package: ModelPackage, model: str, parser: str, settings: ExecutorSettings
) -> dict[str, Any]:
    """Return the overlap of a model's regions with a parser's on the training images, and with those it learnt from.

    `model` is the reference of the model; the label maps that it learnt from lie in its folder if it was trained there.
    """
    from vestigo_models.inference.package import resolve_model
    from vestigo_models.training.state import read_label_maps
    from vestigo_workers.evaluation.training_regions import evaluate_training_images

    paths = dataset.train.paths
    maps = read_label_maps(resolve_model(model))
    if maps is not None and len(maps) != len(paths):
        note(
            f"{model} learnt from {len(maps)} images, {dataset.root} has {len(paths)}: its label maps are not compared"
        )
        maps = None
    with progress("regions", len(paths)) as update:
        return asdict(evaluate_training_images(paths, package, parser, settings, maps, progress=update))


def print_ranking(result: Mapping[str, Any]) -> None:
    """Print ranking metrics and excluded queries."""
    ranks = "   ".join(f"Rank-{rank} {number_text(value):>5}" for rank, value in result["cmc"].items())
    out.print(f"mAP {number_text(result['mAP']):>5}   {ranks}   mINP {number_text(result['mINP']):>5}   (percent)")
    if intervals := {name: each for name, each in result["intervals"].items() if each}:
        texts = (f"{TITLES[name]} {low:.1f} to {high:.1f}" for name, (low, high) in intervals.items())
        out.print(f"95 % intervals for other identities: {', '.join(texts)}")
    out.print(f"{result['evaluated']} of {result['queries']} queries against {result['gallery']} gallery images")
    print_skipped(result["excluded"])


def print_details(result: Mapping[str, Any]) -> None:
    """Print attributes, regions, the filter and the comparison of an evaluation."""
    if result["attributes_mean"] is not None:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in result["attributes"].items())
        out.print(f"attributes: {result['attributes_mean']:.1f} % right on average ({figures})")
    if result["regions_mean"] is not None:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in result["regions"].items() if value is not None)
        out.print(f"regions: mean IoU {result['regions_mean']:.1f} % ({figures})")
    if result["belongings_auc"] is not None:
        out.print(f"belongings: AUC {result['belongings_auc']:.3f} for carrying something")
    if (effect := result["filter"]) is not None and effect["kept_fraction"] is not None:
        lost, speed_up = effect["true_matches_lost"], effect["speed_up"]
        losses = "" if lost is None else f", {100 * lost:.1f} % of matches lost"
        faster = "" if speed_up is None else f", matching {speed_up:.2f} x as fast"
        out.print(f"filter {effect['mode']}: {100 * effect['kept_fraction']:.1f} % of the gallery kept{losses}{faster}")
        out.print(f"  {effect['sentence']}", style="dim")
    if (other := result["comparison"]) is not None and (gain := other["mAP"]) is not None:
        out.print(
            f"compared with {other['model']['name']}: mAP {gain['difference']:+.1f} points "
            f"(95 % interval {gain['low']:+.1f} to {gain['high']:+.1f})"
        )


def write_evaluation_page(
    html: Path,
    dataset: ReidDataset,
    evaluations: Sequence[tuple[ModelPackage, Evaluation]],
    comparison: ModelComparison | None,
    facts: Mapping[str, str],
    protocol: str,
    parser: str = "default",
    device: str = "auto",
) -> None:
    """Write the page of one model, or of two and their comparison, with region examples if the model has regions."""
    from vestigo.reports.evaluation import evaluation_page
    from vestigo.reports.region_examples import region_examples
    from vestigo_models.devices import resolve_device
    from vestigo_models.inference.extractor import Extractor
    from vestigo_models.parsing.registry import make_parser

    packages = [package for package, _ in evaluations]
    names = [package.name for package in packages]
    if len(set(names)) < len(names):
        names = [f"{package.name} ({package.digest[:8]})" for package in packages]
    examples = []
    if packages[0].regions is not None:
        first = Extractor(packages[0], resolve_device(device))
        examples = region_examples(dataset, first, make_parser(parser, device=str(first.device)))
    models = {name: evaluation for name, (_, evaluation) in zip(names, evaluations, strict=True)}
    write_page(html, evaluation_page(models, facts, protocol, comparison=comparison, region_examples=examples))
