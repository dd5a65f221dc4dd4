"""The page of `vestigo evaluate`: metrics, curves, exclusions, and images of rankings and regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestigo.evaluation.compare import ModelComparison
from vestigo.evaluation.evaluate import CMC_RANKS, Evaluation
from vestigo.reports.attributes import attribute_cards, attribute_rows, reliability
from vestigo.reports.charts import Axis, Chart, Point, percent_axis
from vestigo.reports.filter_chart import filter_chart
from vestigo.reports.page import render
from vestigo.reports.ranking_strips import groups
from vestigo.reports.region_pictures import RegionPicture, picture_cards
from vestigo_models.schemas.regions import REGIONS


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedModel:
    """Another model on the same dataset, and how much better the model of the page is."""

    name: str
    benchmark: Evaluation
    comparison: ModelComparison


def evaluation_page(
    benchmark: Evaluation,
    facts: Mapping[str, str],
    protocol: str,
    *,
    model: str = "this model",
    other: ComparedModel | None = None,
    pictures: Sequence[RegionPicture] = (),
) -> str:
    """Return the page.

    Args:
        benchmark: Evaluation of the model.
        facts: Name -> value: dataset, model and settings.
        protocol: Name of the protocol.
        model: Name of the model where `other` is shown too.
        other: A second model.
        pictures: Images with their regions.
    """
    metrics = benchmark.metrics
    cameras = benchmark.by_camera()
    judged = [(model, benchmark), *([(other.name, other.benchmark)] if other else [])]
    return render(
        "evaluation.html",
        {
            "facts": facts,
            "metrics": metrics,
            "evaluated": metrics.queries - sum(metrics.excluded.values()),
            "gallery": len(benchmark.gallery),
            "gallery_unreadable": benchmark.gallery_unreadable,
            "notes": benchmark.notes,
            "protocol": protocol,
            "curve": _curve(metrics.cmc),
            "cameras": [{"number": camera + 1, "metrics": metrics} for camera, metrics in cameras.items()],
            "groups": groups(judged),
            "compared": _compared(benchmark, model, other),
            "attributes": _attributes(benchmark),
            "regions": _regions(benchmark),
            "pictures": picture_cards(pictures),
            "key": [
                {"name": region.name, "colour": "#{:02x}{:02x}{:02x}".format(*region.colour_rgb)}
                for region in REGIONS.regions[1:]
            ],
            "filter": benchmark.filter,
            "filter_chart": filter_chart(benchmark),
        },
    )


def _curve(cmc: Mapping[int, float | None]) -> Chart | None:
    """Return the CMC curve; its axis starts at the multiple of ten below the first value."""
    points = [
        Point(x=rank, y=value, text=f"Rank-{rank}: {value:.1f} %") for rank, value in cmc.items() if value is not None
    ]
    if not points:
        return None
    return Chart(
        description="Percent of scored queries with a true match at this rank or better.",
        x=Axis(low=1, high=CMC_RANKS[-1], marks=[(rank, str(rank)) for rank in (1, 5, 10, 15, 20)]),
        y=percent_axis(low=min(90.0, 10.0 * (points[0].y // 10.0))),
        points=points,
    )


def _attributes(benchmark: Evaluation) -> dict[str, Any] | None:
    judged = benchmark.attributes
    if judged is None:
        return None
    return {
        "metrics": judged.metrics,
        "rows": attribute_rows(judged),
        "cards": attribute_cards(judged, benchmark.gallery_paths, benchmark.gallery.pids.tolist()),
        "reliability": reliability(judged),
    }


def _regions(benchmark: Evaluation) -> dict[str, Any] | None:
    judged = benchmark.regions
    if judged is None:
        return None
    names = ["foreground", *judged.iou]
    return {
        "mean": judged.mean,
        "images": judged.images,
        "auc": benchmark.belongings_auc,
        "rows": [
            {"name": name, "iou": judged.iou.get(name), "two_class": judged.two_class.get(name)} for name in names
        ],
    }


def _compared(benchmark: Evaluation, model: str, other: ComparedModel | None) -> dict[str, Any] | None:
    """Return table rows: the figures of both models, and the difference with its interval."""
    if other is None:
        return None
    ours, theirs, found = benchmark.metrics, other.benchmark.metrics, other.comparison
    rows = [
        {"title": "mAP", "ours": ours.mAP, "theirs": theirs.mAP, "difference": found.mAP},
        {"title": "Rank-1", "ours": ours.cmc[1], "theirs": theirs.cmc[1], "difference": None},
    ]
    if benchmark.attributes is not None and other.benchmark.attributes is not None:
        mine, others = (side.metrics.official for side in (benchmark.attributes, other.benchmark.attributes))
        rows += [
            {
                "title": attribute.title,
                "ours": mine[attribute.name],
                "theirs": others[attribute.name],
                "difference": found.attributes[attribute.name],
            }
            for attribute in benchmark.attributes.schema.attributes
        ]
    return {"model": model, "other": other.name, "rows": rows}
