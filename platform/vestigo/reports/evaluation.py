"""The page of `vestigo evaluate`: metrics, curves, exclusions, and images of rankings and regions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.evaluation.attributes import AttributeEvaluation
from vestigo.evaluation.evaluate import ModelComparison
from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.result import Evaluation
from vestigo.reports.charts import cmc_chart, filter_chart, reliability_chart
from vestigo.reports.page import render
from vestigo.reports.region_examples import RegionExample
from vestigo_models.arrays import Int64Array
from vestigo_models.schemas.regions import REGIONS

IMAGES_SHOWN = 12
GROUP_SIZE, PAIR_GROUP_SIZE = 8, 5
"""Queries in a group of one model, and of two."""


def evaluation_page(
    evaluations: Mapping[str, Evaluation],
    facts: Mapping[str, str],
    protocol: str,
    *,
    comparison: ModelComparison | None = None,
    region_examples: Sequence[RegionExample] = (),
) -> str:
    """Return the page.

    Args:
        evaluations: Name -> evaluation of the model, and of a second one on the same dataset.
        facts: Name -> value: dataset, model and settings.
        protocol: Name of the protocol.
        comparison: Advantage of the first model over the second one, which is not shown without it.
        region_examples: Images with their regions.
    """
    models = list(evaluations.items())[: 1 if comparison is None else 2]
    evaluation = models[0][1]
    metrics, attributes = evaluation.metrics, evaluation.attributes
    return render(
        "evaluation.html",
        models=models,
        evaluation=evaluation,
        facts=facts,
        metrics=metrics,
        evaluated=metrics.queries - sum(metrics.excluded.values()),
        protocol=protocol,
        cmc_chart=cmc_chart(metrics.cmc),
        groups=group_queries(models),
        compared=None if comparison is None else _compare_metrics(models, comparison),
        attributes=attributes,
        cards=[] if attributes is None else attribute_cards(attributes, evaluation.gallery_paths),
        reliability_chart=None if attributes is None else reliability_chart(attributes),
        filter_chart=filter_chart(evaluation),
        region_examples=region_examples,
        region_schema=REGIONS.regions[1:],
    )


def attribute_cards(attributes: AttributeEvaluation, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return predictions, confidences and labels of up to `IMAGES_SHOWN` images, evenly spaced in the gallery."""
    if not len(attributes.images):
        return []
    places = np.unique(np.linspace(0, len(attributes.images) - 1, IMAGES_SHOWN).round().astype(np.int64))
    cards = []
    for place in places.tolist():
        lines = []
        for column, attribute in enumerate(attributes.schema.attributes):
            label = int(attributes.labels[place, column])
            line = {
                "title": attribute.title,
                "predicted": attribute.values[int(attributes.predictions[place, column])],
                "confidence": 100 * float(attributes.confidences[place, column]),
                "mark": "unknown" if label < 0 else "right" if attributes.correct[place, column] else "wrong",
                "truth": "not annotated" if label < 0 else attribute.values[label],
            }
            lines.append(line)
        row = int(attributes.images[place])
        cards.append({"row": row, "path": paths[row], "lines": lines})
    return cards


def group_queries(models: Sequence[tuple[str, Evaluation]]) -> list[tuple[str, Int64Array]]:
    """Return titles and rows of groups of queries, by average precision of the first model.

    For two models, on the same images, these are the queries that differ most, and the hardest ones of the first model.
    """
    name, evaluation = models[0]
    hardest, middle, easiest = _thirds(evaluation)
    if len(models) == 1:
        groups = [("Hardest queries", hardest), ("In the middle", middle), ("Easiest queries", easiest)]
    else:
        other_name, other = models[1]
        gains = evaluation.scores.ap - other.scores.ap
        order = np.flatnonzero((evaluation.scores.status == SCORED) & (other.scores.status == SCORED))
        order = order[np.argsort(gains[order], kind="stable")]
        groups = [
            (f"Where {name} gains most on {other_name}", order[gains[order] > 0][::-1][:PAIR_GROUP_SIZE]),
            (f"Where {other_name} is better by most", order[gains[order] < 0][:PAIR_GROUP_SIZE]),
            (f"Hardest queries of {name}", hardest[:PAIR_GROUP_SIZE]),
        ]
    return [(title, rows) for title, rows in groups if len(rows)]


def _thirds(evaluation: Evaluation) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the hardest queries, those in the middle and the easiest."""
    scored = np.flatnonzero(evaluation.scores.status == SCORED)
    order = scored[np.argsort(evaluation.scores.ap[scored], kind="stable")]
    size = min(GROUP_SIZE, -(-len(order) // 3))
    worst, rest = order[:size], order[size:]
    best = rest[len(rest) - min(size, len(rest)) :]
    between = rest[: len(rest) - len(best)]
    return worst, between[max(0, (len(between) - size) // 2) :][:size], best


def _compare_metrics(models: Sequence[tuple[str, Evaluation]], comparison: ModelComparison) -> list[tuple[Any, ...]]:
    """Return rows: title, the metric of each model, and the difference with its interval."""
    first, second = (evaluation for _, evaluation in models)
    rows: list[tuple[Any, ...]] = [
        ("mAP", first.metrics.mAP, second.metrics.mAP, comparison.mAP),
        ("Rank-1", first.metrics.cmc[1], second.metrics.cmc[1], None),
    ]
    if first.attributes is not None and second.attributes is not None:
        accuracies = [attributes.metrics.official for attributes in (first.attributes, second.attributes)]
        rows += [
            (attribute.title, *(side[attribute.name] for side in accuracies), comparison.attributes[attribute.name])
            for attribute in first.attributes.schema.attributes
        ]
    return rows
