"""What `evaluate` and `score` share: options, the result as JSON has it, and its rendering for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.console import out, progress

if TYPE_CHECKING:
    from vestigo.benchmark import Benchmark

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
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar a stage; yields what `judge_model` and `judge_features` report to."""
    with ExitStack() as bars:
        updates: dict[str, Callable[[int, int | None], None]] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in updates:
                updates[stage] = bars.enter_context(progress(stage, total))
            updates[stage](done, total)

        yield advance


def judged(benchmark: Benchmark) -> dict[str, Any]:
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


def judged_attributes(benchmark: Benchmark) -> dict[str, Any]:
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


def judged_regions(benchmark: Benchmark) -> dict[str, Any]:
    """What `evaluate` and `train` report about regions: percent, the AUC a fraction; empty where none were judged."""
    found = benchmark.regions
    return {
        "regions": found.iou if found else {},
        "regions_mean": found.mean if found else None,
        "regions_two_class": found.two_class if found else {},
        "belongings_auc": benchmark.belongings_auc,
    }


def filtered(benchmark: Benchmark) -> dict[str, Any] | None:
    """What the filter kept, lost and cost; None without a filter. mAP and Rank-1 in percent, the rest in fractions."""
    found = benchmark.filter
    if found is None:
        return None
    cost = found.choice.cost
    return {
        "mode": found.choice.mode,
        "threshold": found.choice.threshold,
        "kept_fraction": found.kept_fraction,
        "true_matches_lost": found.true_matches_lost,
        "speed_up": found.speed_up,
        "mAP": benchmark.metrics.mAP,
        "rank1": benchmark.metrics.cmc[1],
        "mAP_without": found.without.mAP,
        "rank1_without": found.without.cmc[1],
        "expected_kept": cost.kept_fraction if cost else None,
        "expected_lost": cost.lost if cost else None,
        "guaranteed": found.choice.guaranteed,
        "sentence": found.choice.sentence(),
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
