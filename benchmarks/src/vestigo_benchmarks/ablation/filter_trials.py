"""Compare the modes of the attribute filter on identities that their thresholds were not selected on.

Half of the test identities calibrate (`auto` by conformal risk control, the weight of `soft` by mAP), and the queries
of the other half are ranked among the whole gallery. Results are means over several random halves. Probabilities are
those of the package, so nothing else was fitted to the identities that calibrate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.calibrate import fit_soft_filter
from vestigo.evaluation.filter import FilterEvaluator
from vestigo.evaluation.images import ImageFeatures, embed_split
from vestigo.evaluation.metrics.attributes import mean_of_known
from vestigo.evaluation.metrics.filter import FilterCost
from vestigo.evaluation.ranking import FILTER_OFF, EvaluationOptions, evaluation_distances
from vestigo_models.arrays import Int64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.record import BOUNDS, record_filter
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.attribute_filter.threshold import choose_threshold
from vestigo_models.inference.extractor import Extractor
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema

HALVES = 5


@dataclass(frozen=True, kw_only=True)
class FilterTrial:
    """Results of a mode, means over the halves: fractions, and percent for the metrics; None if there is no value.

    Attributes:
        mode: `off`, `strict`, `quality`, `auto 1 %` and so on, `soft`.
        thresholds: One for each half; above 1 the filter was off.
        identity_loss: The same as `auto` bounds it, a mean over identities.
        speed_up: Of matching all queries with the first half's threshold; None if nothing is discarded.
        reason: Why `auto` was off in the first half, or "".
    """

    mode: str
    thresholds: tuple[float, ...]
    kept_fraction: float | None
    true_matches_lost: float | None
    identity_loss: float | None
    mAP: float | None
    rank1: float | None
    speed_up: float | None
    reason: str


def try_filters(
    dataset: ReidDataset,
    extractor: Extractor,
    *,
    halves: int = HALVES,
    seed: int = 0,
    progress: ProgressCallback = ignore_progress,
) -> list[FilterTrial]:
    """Try every mode on a dataset's query and gallery, with a model that predicts attributes.

    Raises:
        ConfigError: If too few identities are seen by two cameras.
    """
    schema = extractor.package.schema
    assert schema is not None
    query, gallery = (embed_split(split, extractor)[0] for split in (dataset.query, dataset.gallery))
    identities = np.unique(query.images.pids[query.images.pids > 0])
    rng = np.random.default_rng(seed)
    costs: dict[str, list[FilterCost]] = defaultdict(list)
    thresholds: dict[str, list[float]] = defaultdict(list)
    first: tuple[dict[str, FilterChoice], dict[str, str]] | None = None
    for half in range(halves):
        calibrating = np.sort(rng.permutation(identities)[: len(identities) // 2])
        choices, reasons = _choose_filters(query, gallery, calibrating, schema, seed)
        first = first or (choices, reasons)
        tested = query[np.flatnonzero(~np.isin(query.images.pids, calibrating))]
        for mode, cost in _measure_costs(choices, tested, gallery, schema).items():
            costs[mode].append(cost)
            thresholds[mode].append(choices[mode].threshold)
        progress(half + 1, halves)
    assert first is not None
    return [
        FilterTrial(
            mode=mode,
            thresholds=tuple(thresholds[mode]),
            kept_fraction=mean_of_known([cost.kept_fraction for cost in by_half]),
            true_matches_lost=mean_of_known([cost.true_matches_lost for cost in by_half]),
            identity_loss=mean_of_known([cost.identity_loss for cost in by_half]),
            mAP=mean_of_known([cost.with_filter.mAP for cost in by_half]),
            rank1=mean_of_known([cost.with_filter.cmc[1] for cost in by_half]),
            speed_up=FilterEvaluator(first[0][mode], schema, query, gallery).result().speed_up,
            reason=first[1].get(mode, ""),
        )
        for mode, by_half in costs.items()
    ]


def _choose_filters(
    query: ImageFeatures, gallery: ImageFeatures, calibrating: Int64Array, schema: AttributeSchema, seed: int
) -> tuple[dict[str, FilterChoice], dict[str, str]]:
    """Return the filter of each mode as selected on some identities, and why `auto` is off."""
    query = query[np.flatnonzero(np.isin(query.images.pids, calibrating))]
    # Distractors belong to the gallery of either half.
    gallery = gallery[np.flatnonzero(np.isin(gallery.images.pids, [0, *calibrating]))]
    choices = {
        "off": FILTER_OFF,
        "strict": FilterChoice(mode="strict", threshold=STRICT),
        "quality": FilterChoice(mode="quality", threshold=QUALITY),
    }
    reasons = {}
    record = record_filter(measure_curve(_identified(query), _identified(gallery), schema, seed=seed))
    for bound in BOUNDS:
        mode = f"auto {100 * bound:g} %"
        choices[mode] = choose_threshold(record, bound)
        reasons[mode] = choices[mode].reason
    probabilities = query.features.probabilities, gallery.features.probabilities
    soft = fit_soft_filter(query, gallery, probabilities, schema, seed=seed)
    assert soft is not None  # Without a true match the curve cannot be measured either.
    choices["soft"] = FilterChoice(mode="soft", threshold=soft.threshold, weight=soft.weight)
    return choices, reasons


def _measure_costs(
    choices: dict[str, FilterChoice], query: ImageFeatures, gallery: ImageFeatures, schema: AttributeSchema
) -> dict[str, FilterCost]:
    evaluators = {mode: FilterEvaluator(choice, schema, query, gallery) for mode, choice in choices.items()}
    chunks = evaluation_distances(query.features.descriptors, gallery.features.descriptors, EvaluationOptions())
    start = 0
    for distances in chunks:
        for evaluator in evaluators.values():
            evaluator.apply(distances, slice(start, start + len(distances)))
        start += len(distances)
    return {mode: evaluator.cost() for mode, evaluator in evaluators.items()}


def _identified(side: ImageFeatures) -> IdentifiedCrops:
    images = side.images
    return IdentifiedCrops(pids=images.pids, camids=images.camids, probabilities=side.features.probabilities)
