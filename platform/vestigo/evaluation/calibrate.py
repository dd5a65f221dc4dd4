"""A model calibrated on a dataset: what it says of known people becomes temperatures, the filter's curve and the soft
weight, and how much closer confidence and accuracy come by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.attributes import why_not
from vestigo.evaluation.metrics.ranking import ImageSet, QueryScores, score_queries
from vestigo.evaluation.options import Advance
from vestigo.ingest.embedding import embed_files
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.record import Calibration, SoftRecord, record_filter
from vestigo_models.attribute_filter.rule import conflict_penalty
from vestigo_models.attribute_filter.temperature import apply_temperatures, calibration_error, fit_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
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


def _others(images: ImageSet, probabilities: NDArray[np.float32], fitted: NDArray[np.int64]) -> IdentifiedCrops:
    rows = ~np.isin(images.pids, fitted)
    return IdentifiedCrops(pids=images.pids[rows], camids=images.camids[rows], probabilities=probabilities[rows])


CalibrationSplit = Literal["test", "train"]
"""`test` is the query against the gallery, `train` the training images against themselves."""


@dataclass(frozen=True, kw_only=True)
class ModelCalibration:
    """What was measured.

    Attributes:
        identities: people with a query, the same as in the calibration's words.
        fitted: how many of them the temperatures were fitted on; the filter and the errors were measured on others.
        error_before, error_after: attribute -> expected calibration error (fraction) without and with its temperature,
            every identity weighing the same; None where nothing is labelled.
        notes: why something was not calibrated.
    """

    calibration: Calibration
    images: int
    identities: int
    fitted: int
    error_before: dict[str, float | None]
    error_after: dict[str, float | None]
    notes: tuple[str, ...] = ()


def calibrate_model(
    package: ModelPackage,
    dataset: ReidDataset,
    *,
    split: CalibrationSplit = "test",
    measured_on: str = "",
    device: str = "cpu",
    seed: int = 0,
    advance: Advance = lambda *_: None,
) -> ModelCalibration:
    """Calibrate a model on people that it was not trained on; a calibration that it has is not looked at.

    Images that cannot be read are left out. `measured_on` says in words what the data are; without, the names of the
    split and of the dataset's folder do.

    Raises:
        ConfigError: the model predicts no attributes, or nobody is seen by two cameras.
    """
    schema = package.schema
    if schema is None:
        raise ConfigError(
            f"model {package.name} predicts no attributes, so there is nothing to calibrate; take one that was trained"
            " with attributes"
        )
    extractor = Extractor(package.with_calibration(None), device=device)
    note = why_not(dataset, schema)

    def sample(stage: str, images: Split) -> Sample:
        found = embed_files(images.paths, extractor, lambda done: advance(stage, done, len(images)))
        labels = np.full((len(found.rows), len(schema)), -1) if note else images.labels[found.rows]
        return Sample(
            images=ImageSet(pids=images.pids[found.rows], camids=images.camids[found.rows], ids=found.ids),
            labels=labels.astype(np.int64),
            probabilities=found.outputs.probabilities,
            descriptors=found.outputs.descriptors,
        )

    if split == "train":
        query = gallery = sample("images", dataset.train)
    else:
        query, gallery = sample("query", dataset.query), sample("gallery", dataset.gallery)
    words = measured_on or f"the {split} split of {dataset.root.resolve().name}"
    calibration = calibrate(query, gallery, schema, words, seed=seed)
    fitted = fitted_people(query, gallery, seed=seed)
    before, after = _errors(query, gallery, schema, calibration, fitted)
    people = np.unique(query.images.pids)
    return ModelCalibration(
        calibration=calibration,
        images=len(query.images) if split == "train" else len(query.images) + len(gallery.images),
        identities=int((people > 0).sum()),
        fitted=len(fitted),
        error_before=before,
        error_after=after,
        notes=(note,) if note else (),
    )


def _errors(
    query: Sample, gallery: Sample, schema: AttributeSchema, calibration: Calibration, fitted: NDArray[np.int64]
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Calibration errors before and after, on the people that nothing was fitted on."""
    sides = (query,) if gallery is query else (query, gallery)
    pids = np.concatenate([side.images.pids for side in sides])
    others = ~np.isin(pids, fitted)
    labels = np.concatenate([side.labels for side in sides])[others]
    plain = np.concatenate([side.probabilities for side in sides])[others]
    better = apply_temperatures(plain, calibration.temperatures, schema)
    before, after = (calibration_error(found, labels, schema, identities=pids[others]) for found in (plain, better))
    return before, after
