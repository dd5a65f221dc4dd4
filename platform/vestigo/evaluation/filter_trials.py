"""Every mode of the attribute filter beside the others, on people whom its thresholds do not know.

Half of the held-out identities calibrate (`auto` by conformal risk control, the weight of `soft` by mAP), and the
queries of the other half are ranked among the whole gallery. Several random halves are tried, their figures averaged.
Probabilities are those of the package, so that nothing else was fitted to the people that calibrate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.calibrate import Sample, choose_soft
from vestigo.evaluation.filter import FilterRun, Side
from vestigo.evaluation.metrics.filter import FilterCost, FilterScores
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.options import NO_FILTER, Advance, Options
from vestigo.evaluation.ranking import distances
from vestigo.ingest.embedding import embed_files
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.modes import FilterChoice
from vestigo_models.attribute_filter.record import BOUNDS, record_filter
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.attribute_filter.threshold import choose_threshold
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.attributes import AttributeSchema

HALVES = 5
Choices = dict[str, FilterChoice]


@dataclass(frozen=True, kw_only=True)
class FilterTrial:
    """What a mode did, averaged over the halves; fractions, and percent for the metrics, None where there is nothing.

    Attributes:
        mode: `off`, `strict`, `quality`, `auto 1 %` and its like, `soft`.
        thresholds: one for each half; above 1 the filter was off.
        true_matches_lost: of all pairs of a query and a true match.
        identity_loss: the same as `auto` bounds it, a mean over identities.
        speed_up: of matching, all queries with the first half's threshold; None where nothing is discarded.
        reason: why `auto` was off in the first half, or "".
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
    advance: Advance = lambda *_: None,
) -> list[FilterTrial]:
    """Try every mode on a dataset's query and gallery, with a model that predicts attributes.

    Raises:
        ConfigError: too few people are seen by two cameras.
    """
    schema = extractor.package.schema
    assert schema is not None
    query, gallery = (_side(split, extractor) for split in (dataset.query, dataset.gallery))
    people = np.unique(query.images.pids[query.images.pids > 0])
    rng = np.random.default_rng(seed)
    costs: dict[str, list[FilterCost]] = defaultdict(list)
    chosen: list[tuple[Choices, dict[str, str]]] = []
    for half in range(halves):
        known = np.sort(rng.permutation(people)[: len(people) // 2])
        choices, reasons = _choices(query, gallery, known, schema, seed)
        chosen.append((choices, reasons))
        judged = _some(query, np.flatnonzero(~np.isin(query.images.pids, known)))
        for mode, cost in _costs(choices, judged, gallery, schema).items():
            costs[mode].append(cost)
        advance("filters", half + 1, halves)
    first, why = chosen[0]
    return [
        FilterTrial(
            mode=mode,
            thresholds=tuple(choices[mode].threshold for choices, _ in chosen),
            kept_fraction=_mean([cost.kept_fraction for cost in found]),
            true_matches_lost=_mean([cost.true_matches_lost for cost in found]),
            identity_loss=_mean([cost.identity_loss for cost in found]),
            mAP=_mean([cost.with_filter.mAP for cost in found]),
            rank1=_mean([cost.with_filter.cmc[1] for cost in found]),
            speed_up=FilterRun(first[mode], schema, query, gallery, Options()).judgement().speed_up,
            reason=why.get(mode, ""),
        )
        for mode, found in costs.items()
    ]


def _choices(
    query: Side, gallery: Side, known: NDArray[np.int64], schema: AttributeSchema, seed: int
) -> tuple[Choices, dict[str, str]]:
    """The filter of each mode as the people `known` choose it, and why `auto` is off where it is."""
    asked = _some(query, np.flatnonzero(np.isin(query.images.pids, known)))
    # Distractors are nobody's images: they stand beside the people of either half.
    held = _some(gallery, np.flatnonzero(np.isin(gallery.images.pids, [0, *known])))
    choices: Choices = {
        "off": NO_FILTER,
        "strict": FilterChoice(mode="strict", threshold=STRICT),
        "quality": FilterChoice(mode="quality", threshold=QUALITY),
    }
    reasons = {}
    record = record_filter(measure_curve(_people(asked), _people(held), schema, seed=seed))
    for lost in BOUNDS:
        mode = f"auto {100 * lost:g} %"
        found = choose_threshold(record, lost)
        choices[mode] = FilterChoice(mode="auto", threshold=found.threshold, max_lost=lost)
        reasons[mode] = found.reason
    said = asked.outputs.probabilities, held.outputs.probabilities
    soft = choose_soft(_sample(asked, schema), _sample(held, schema), said, schema, seed=seed)
    assert soft is not None  # Without a true match there would be no curve either.
    choices["soft"] = FilterChoice(mode="soft", threshold=soft.threshold, weight=soft.weight)
    return choices, reasons


def _costs(choices: Choices, query: Side, gallery: Side, schema: AttributeSchema) -> dict[str, FilterCost]:
    options = Options()
    runs = {mode: FilterRun(choice, schema, query, gallery, options) for mode, choice in choices.items()}
    parts: dict[str, list[FilterScores]] = {mode: [] for mode in runs}
    start = 0
    for chunk in distances(query.outputs.descriptors, gallery.outputs.descriptors, options):
        for mode, run in runs.items():
            parts[mode].append(run.apply(chunk, slice(start, start + len(chunk)))[0])
        start += len(chunk)
    return {mode: FilterScores.merge(found).summary() for mode, found in parts.items()}


def _side(split: Split, extractor: Extractor) -> Side:
    found = embed_files(split.paths, extractor)
    images = ImageSet(pids=split.pids[found.rows], camids=split.camids[found.rows], ids=found.ids)
    return Side(images=images, outputs=found.outputs)


def _some(side: Side, rows: NDArray[np.int64]) -> Side:
    outputs = side.outputs
    return Side(
        images=side.images[rows],
        outputs=CropFeatures(
            descriptors=outputs.descriptors[rows], probabilities=outputs.probabilities[rows], areas=outputs.areas[rows]
        ),
    )


def _people(side: Side) -> IdentifiedCrops:
    return IdentifiedCrops(pids=side.images.pids, camids=side.images.camids, probabilities=side.outputs.probabilities)


def _sample(side: Side, schema: AttributeSchema) -> Sample:
    unlabelled = np.full((len(side.images), len(schema)), -1, dtype=np.int64)
    outputs = side.outputs
    return Sample(
        images=side.images, labels=unlabelled, probabilities=outputs.probabilities, descriptors=outputs.descriptors
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
