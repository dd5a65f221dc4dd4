"""What `evaluate` and `score` share: options, the result as JSON has it, and its rendering for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_models.progress import OpenProgress, ProgressCallback
from vestigo_ui.cli.output import out, progress

if TYPE_CHECKING:
    from vestigo.datasets.reid import ReidDataset
    from vestigo.evaluation.compare import ModelComparison
    from vestigo.evaluation.evaluate import Evaluation
    from vestigo.evaluation.metrics.bootstrap import Difference
    from vestigo_models.inference.extractor import Extractor


RANKS = (1, 5, 10)


class ProtocolName(StrEnum):
    """`vestigo.evaluation.Protocol` as the command line takes it."""

    cross_camera = "cross-camera"
    same_camera = "same-camera"
    all = "all"


class ApName(StrEnum):
    """`vestigo.evaluation.ApDefinition` as the command line takes it."""

    standard = "standard"
    trapezoid = "trapezoid"


ProtocolOption = Annotated[
    ProtocolName,
    typer.Option(
        "--protocol",
        help="What a query is compared with: cross-camera leaves out its own person's images from its own camera (the "
        "standard), same-camera looks in its own camera only, all everywhere. Never with itself.",
    ),
]
ApOption = Annotated[
    ApName,
    typer.Option("--ap", help="Average precision: standard, or trapezoid as in the original Market-1501 toolbox."),
]
RerankOption = Annotated[bool, typer.Option("--rerank", help="Re-rank by k-reciprocal neighbours (CVPR 2017).")]


@contextmanager
def stages() -> Iterator[OpenProgress]:
    """Yield what opens the progress bar of a stage; a stage that is opened again uses the same bar."""
    with ExitStack() as bars:
        updates: dict[str, ProgressCallback] = {}

        def open_stage(stage: str) -> ProgressCallback:
            if stage not in updates:
                updates[stage] = bars.enter_context(progress(stage))
            return updates[stage]

        yield open_stage


def judged(benchmark: Evaluation) -> dict[str, Any]:
    """The keys that both commands report: percent, None where no query could be scored."""
    metrics = benchmark.metrics
    return {
        "mAP": metrics.mAP,
        "mINP": metrics.mINP,
        "cmc": {str(rank): metrics.cmc[rank] for rank in RANKS},
        "queries": metrics.queries,
        "evaluated": metrics.queries - sum(metrics.excluded.values()),
        "excluded": metrics.excluded,
        "gallery": len(benchmark.gallery),
    }


def judged_attributes(benchmark: Evaluation) -> dict[str, Any]:
    """What `evaluate`, `train` and `demo` report about attributes: percent; empty where none were judged."""
    if benchmark.attributes is None:
        return {"attributes": {}, "attributes_mean": None, "attributes_balanced": None}
    found = benchmark.attributes.metrics
    return {
        "attributes": found.official,
        "attributes_mean": found.official_mean,
        "attributes_balanced": found.balanced,
        "attributes_labelled_only": found.labelled_only,
        "attributes_labelled_only_mean": found.labelled_only_mean,
        "attributes_recall": found.recall,
        "attributes_calibration_error": benchmark.attributes.calibration_errors,
        "attributes_images": found.images,
    }


def judged_regions(benchmark: Evaluation) -> dict[str, Any]:
    """What `evaluate` and `train` report about regions: percent, the AUC a fraction; empty where none were judged."""
    found = benchmark.regions
    return {
        "regions": found.iou if found else {},
        "regions_mean": found.mean if found else None,
        "regions_two_class": found.two_class if found else {},
        "belongings_auc": benchmark.belongings_auc,
    }


def filtered(benchmark: Evaluation) -> dict[str, Any] | None:
    """What the filter kept, lost and cost; None without a filter. mAP and Rank-1 in percent, the rest in fractions."""
    found = benchmark.filter
    if found is None:
        return None
    choice, cost = found.choice, found.cost
    return {
        "mode": choice.mode,
        "threshold": choice.threshold,
        "kept_fraction": cost.kept_fraction,
        "true_matches_lost": cost.true_matches_lost,
        "identity_loss": cost.identity_loss,
        "speed_up": found.speed_up,
        "mAP": cost.with_filter.mAP,
        "rank1": cost.with_filter.cmc[1],
        "mAP_without": cost.without.mAP,
        "rank1_without": cost.without.cmc[1],
        "expected_kept": choice.expected.kept_fraction if choice.expected else None,
        "expected_lost": choice.expected.miss_rate if choice.expected else None,
        "guaranteed": False,
        "holds_for": choice.holds_for,
        "sentence": choice.describe(),
    }


def compared(comparison: ModelComparison, other: Evaluation) -> dict[str, Any]:
    """By how much the model is better than the other one, in percentage points, and how the other one was judged."""

    def plain(difference: Difference | None) -> dict[str, Any] | None:
        return None if difference is None else asdict(difference)

    return {
        "mAP": plain(comparison.mAP),
        "attributes": {name: plain(difference) for name, difference in comparison.attributes.items()},
        "judged": {**judged(other), **judged_attributes(other), **judged_regions(other), "filter": filtered(other)},
    }


def print_judged(result: Mapping[str, Any]) -> None:
    """Print figures and exclusions for people."""

    def percent(value: float | None) -> str:
        return "  –  " if value is None else f"{value:5.1f}"

    ranks = "   ".join(f"Rank-{rank} {percent(value)}" for rank, value in result["cmc"].items())
    out.print(f"mAP {percent(result['mAP'])}   {ranks}   mINP {percent(result['mINP'])}   (percent)")
    out.print(f"{result['evaluated']} of {result['queries']} queries against {result['gallery']} gallery images")
    for reason, count in result["excluded"].items():
        out.print(f"  left out: {count} x {reason}", style="yellow", markup=False)


def print_more(result: Mapping[str, Any]) -> None:
    """Print what `evaluate` says besides the ranking, for people."""
    if result["attributes_mean"] is not None:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in result["attributes"].items())
        out.print(f"attributes: {result['attributes_mean']:.1f} % right on average ({figures})")
    if result["regions_mean"] is not None:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in result["regions"].items() if value is not None)
        out.print(f"regions: mean IoU {result['regions_mean']:.1f} % ({figures})")
    if result["belongings_auc"] is not None:
        out.print(f"belongings: AUC {result['belongings_auc']:.3f} for who carries something")
    if (found := result["filter"]) is not None and found["kept_fraction"] is not None:
        lost = (
            "" if found["true_matches_lost"] is None else f", {100 * found['true_matches_lost']:.1f} % of matches lost"
        )
        faster = "" if found["speed_up"] is None else f", matching {found['speed_up']:.2f} x as fast"
        out.print(f"filter {found['mode']}: {100 * found['kept_fraction']:.1f} % of the gallery kept{lost}{faster}")
        out.print(f"  {found['sentence']}", style="dim", markup=False)
    if (other := result["comparison"]) is not None and other["mAP"] is not None:
        gain = other["mAP"]
        out.print(
            f"beside {other['model']['name']}: mAP {gain['difference']:+.1f} points "
            f"(95 % interval {gain['low']:+.1f} to {gain['high']:+.1f})"
        )


def write_page(
    html: Path,
    dataset: ReidDataset,
    extractors: Sequence[Extractor],
    benchmarks: Sequence[Evaluation],
    comparison: ModelComparison | None,
    facts: Mapping[str, str],
    protocol: str,
    parser: str = "default",
) -> None:
    """Write the page of one model, or of two and their comparison; with pictures where the model sees regions."""
    from vestigo.reports.evaluation import ComparedModel, evaluation_page
    from vestigo.reports.region_pictures import region_pictures
    from vestigo_models.parsing.registry import make_parser

    names = _names(extractors)
    other = None
    if comparison is not None:
        other = ComparedModel(name=names[1], benchmark=benchmarks[1], comparison=comparison)
    first = extractors[0]
    sees = first.package.regions is not None
    pictures = region_pictures(dataset, first, make_parser(parser, device=str(first.device))) if sees else ()
    page = evaluation_page(benchmarks[0], facts, protocol, model=names[0], other=other, pictures=pictures)
    html.write_text(page, encoding="utf-8")


def _names(extractors: Sequence[Extractor]) -> list[str]:
    """What the page calls the models: their names, with digests where two bear the same."""
    packages = [extractor.package for extractor in extractors]
    names = [package.name for package in packages]
    if len(set(names)) == len(names):
        return names
    return [f"{package.name} ({package.digest[:8]})" for package in packages]
