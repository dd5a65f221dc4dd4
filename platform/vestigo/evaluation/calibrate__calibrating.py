"""The calibration of a model package, measured on validation people: temperatures, the filter's curve, the soft weight.

Temperatures are fitted on some identities and the curve is measured on others, because a bound holds only for people
like those it was measured on, and people that the temperatures were fitted to are not like strangers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import ImageSet, QueryScores, score_queries
from vestigo_models.attribute_filter.curve import People, measure_curve
from vestigo_models.attribute_filter.record import Calibration, SoftRecord, record_filter
from vestigo_models.attribute_filter.rule import conflict_penalty
from vestigo_models.attribute_filter.temperature import apply_temperatures, fit_temperatures
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.schemas.attributes import AttributeSchema

FITTED_SHARE = 1 / 3
"""Of the identities, for the temperatures; a bound of 1 % needs some hundreds of the others."""
WEIGHTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
THRESHOLDS = (0.5, 0.7, 0.9)
"""What is tried for the soft filter; descriptors are 0 to 2 apart and a conflict weighs 1 to 2."""
SOFT_QUERIES = 500
"""Queries that the soft filter is chosen on, drawn at random; each is ranked with every weight and threshold."""
CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """N crops: `images` (who and where), `labels` (N, n) int64 with -1 = missing, and what the model says of them:
    `probabilities` (N, M) as they come from the network, and `descriptors`."""

    images: ImageSet
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    descriptors: Descriptors


def calibrate(
    query: Sample,
    gallery: Sample,
    schema: AttributeSchema,
    measured_on: str,
    *,
    names: Sequence[str] = (),
    max_conflicts: int = 0,
    seed: int = 0,
) -> Calibration:
    """Measure everything that `auto` and `soft` need, on people that the model was not trained on.

    Query and gallery may be the same crops. `names` and `max_conflicts` are the filter's; `measured_on` says in words
    what the data are.

    Raises:
        ConfigError: no query has a true match on another camera, or nobody else is in the gallery.
    """
    fitted = fitted_people(query, gallery, seed=seed)
    spent = [np.isin(side.images.pids, fitted) for side in (query, gallery)]
    labels = np.concatenate([query.labels[spent[0]], gallery.labels[spent[1]]])
    pids = np.concatenate([query.images.pids[spent[0]], gallery.images.pids[spent[1]]])
    probabilities = np.concatenate([query.probabilities[spent[0]], gallery.probabilities[spent[1]]])
    scores = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    temperatures = fit_temperatures(scores, labels, schema, identities=pids)
    ours, theirs = (apply_temperatures(side.probabilities, temperatures, schema) for side in (query, gallery))
    curve = measure_curve(
        _others(query.images, ours, fitted),
        _others(gallery.images, theirs, fitted),
        schema,
        names=names,
        max_conflicts=max_conflicts,
        seed=seed,
    )
    return Calibration(
        temperatures=temperatures,
        filter=record_filter(curve, names, max_conflicts),
        soft=choose_soft(query, gallery, (ours, theirs), schema, names=names, seed=seed),
        measured_on=measured_on,
    )


def fitted_people(query: Sample, gallery: Sample, *, seed: int = 0) -> NDArray[np.int64]:
    """Identities, ascending, that `calibrate` fits the temperatures on: none where nothing is labelled, so that nobody
    is spent on them."""
    sides = (query, gallery)
    labelled = np.concatenate([side.images.pids[(side.labels >= 0).any(axis=1)] for side in sides])
    pids = np.unique(labelled[labelled > 0])
    return np.sort(np.random.default_rng(seed).permutation(pids)[: int(FITTED_SHARE * len(pids))])


def choose_soft(
    query: Sample,
    gallery: Sample,
    calibrated: tuple[NDArray[np.float32], NDArray[np.float32]],
    schema: AttributeSchema,
    *,
    names: Sequence[str] = (),
    seed: int = 0,
) -> SoftRecord | None:
    """Choose the weight and threshold of the best mAP, 0 among the weights; `calibrated` are the probabilities of query
    and gallery. None where no query can be scored."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(query.images))[:SOFT_QUERIES])
    settings = [(0.0, 1.0), *((weight, threshold) for threshold in THRESHOLDS for weight in WEIGHTS)]
    parts: list[list[QueryScores]] = [[] for _ in settings]
    for some in np.array_split(rows, max(1, len(rows) * len(gallery.images) // CELLS_AT_ONCE)):
        distances = part_visible_distance(query.descriptors[some], gallery.descriptors)
        penalties = {
            threshold: conflict_penalty(calibrated[0][some], calibrated[1], schema, threshold, names)
            for threshold in (1.0, *THRESHOLDS)
        }
        for (weight, threshold), found in zip(settings, parts, strict=True):
            changed = distances + np.float32(weight) * penalties[threshold]
            found.append(score_queries(changed, query.images[some], gallery.images))
    scores = [QueryScores.merge(found).summary().mAP for found in parts]
    without = scores[0]
    if without is None:
        return None
    reached = [score or 0.0 for score in scores]
    best = int(np.argmax(reached))
    weight, threshold = settings[best]
    return SoftRecord(weight=weight, threshold=threshold, mAP=reached[best], mAP_without=without)


def _others(images: ImageSet, probabilities: NDArray[np.float32], fitted: NDArray[np.int64]) -> People:
    rows = ~np.isin(images.pids, fitted)
    return People(pids=images.pids[rows], camids=images.camids[rows], probabilities=probabilities[rows])
