"""Calibrate a model on a dataset: temperatures, the attribute filter's curve and the weight of the soft filter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.attributes import attribute_mismatch
from vestigo.evaluation.images import Embedder, ImageFeatures, LocalEmbedder, embed_split, without_camera_bias
from vestigo.evaluation.metrics.ranking import QueryScores, score_queries
from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.record import Calibration, SoftRecord, record_filter
from vestigo_models.attribute_filter.rule import conflict_penalty
from vestigo_models.attribute_filter.temperature import apply_temperatures, calibration_error, fit_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.distance import part_visible_distance
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.schemas.attributes import AttributeSchema

FITTED_SHARE = 1 / 3
"""Share of the identities that temperatures are fitted on; a miss rate of 1 % needs some hundreds of the others."""
WEIGHTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
THRESHOLDS = (0.5, 0.7, 0.9)
"""Grid of the soft filter; distances are 0 to 2, and the penalty of a conflict is 1 to 2."""
SOFT_QUERIES = 500
"""Random queries that the soft filter is selected on; each is ranked with every weight and threshold."""
PAIRS_AT_ONCE = 2_000_000

CalibrationSplit = Literal["test", "train"]
"""`test` compares the query with the gallery, `train` the training images with themselves."""


@dataclass(frozen=True, kw_only=True)
class ModelCalibration:
    """A calibration and what it was measured on."""

    calibration: Calibration
    images: int
    identities: int  # Identities with a query
    fitted: int  # Identities that the temperatures were fitted on; filter and errors were measured on the others
    # Attribute -> expected calibration error (fraction) without and with its temperature, identities weighted equally;
    # None if nothing is labelled
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
    progress: OpenProgress = ignore_stages,
    embedder: Embedder | None = None,
) -> ModelCalibration:
    """Calibrate a model on identities that it was not trained on; a calibration that it has is ignored.

    Unreadable images are skipped. `measured_on` describes the data, by default by split and folder. `embedder` is one
    of the model without its calibration, by default that of this process on `device`.

    Raises:
        ConfigError: If the model predicts no attributes, or no identity is seen by two cameras.
    """
    schema = package.schema
    if schema is None:
        raise ConfigError(
            f"model {package.name} predicts no attributes, so there is nothing to calibrate; take one that was trained"
            " with attributes"
        )
    if embedder is None:
        embedder = LocalEmbedder(Extractor(package.with_calibration(None), device=device))
    if embedder.package.calibration is not None:
        raise ValueError("the embedder's model has a calibration")
    note = attribute_mismatch(dataset, schema)
    splits = {"images": dataset.train} if split == "train" else {"query": dataset.query, "gallery": dataset.gallery}
    sides = [embed_split(images, embedder, progress(stage))[0] for stage, images in splits.items()]
    if note:
        sides = [replace(side, labels=np.full((len(side), len(schema)), -1)) for side in sides]
    query, gallery = without_camera_bias(sides[0], sides[-1], package.blocks)
    calibration = calibrate(
        query, gallery, schema, measured_on or f"the {split} split of {dataset.source_name}", seed=seed
    )
    fitted = fitted_identities(query, gallery, seed=seed)
    before, after = _calibration_errors(sides, schema, calibration, fitted)
    return ModelCalibration(
        calibration=calibration,
        images=sum(map(len, sides)),
        identities=int((np.unique(query.images.pids) > 0).sum()),
        fitted=len(fitted),
        error_before=before,
        error_after=after,
        notes=(note,) if note else (),
    )


def calibrate(
    query: ImageFeatures, gallery: ImageFeatures, schema: AttributeSchema, measured_on: str, *, seed: int = 0
) -> Calibration:
    """Measure what the filter modes `auto` and `soft` need, on identities that the model was not trained on.

    Query and gallery have uncalibrated probabilities and may be the same images. The filter compares all attributes and
    keeps crops without conflict.

    Raises:
        ConfigError: If no query has a true match on another camera, or the gallery has no other identity.
    """
    fitted = fitted_identities(query, gallery, seed=seed)
    parts = [side[np.flatnonzero(np.isin(side.images.pids, fitted))] for side in (query, gallery)]
    probabilities = np.concatenate([part.features.probabilities for part in parts])
    temperatures = fit_temperatures(
        np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)),
        np.concatenate([part.labels for part in parts]),
        schema,
        identities=np.concatenate([part.images.pids for part in parts]),
    )
    query_probabilities, gallery_probabilities = (
        apply_temperatures(side.features.probabilities, temperatures, schema) for side in (query, gallery)
    )
    query_crops = _without_identities(query, query_probabilities, fitted)
    gallery_crops = _without_identities(gallery, gallery_probabilities, fitted)
    calibrated = (query_probabilities, gallery_probabilities)
    return Calibration(
        temperatures=temperatures,
        filter=record_filter(measure_curve(query_crops, gallery_crops, schema, seed=seed)),
        soft=fit_soft_filter(query, gallery, calibrated, schema, seed=seed),
        measured_on=measured_on,
    )


def fitted_identities(query: ImageFeatures, gallery: ImageFeatures, *, seed: int = 0) -> Int64Array:
    """Return the labelled identities, ascending, that `calibrate` fits the temperatures on."""
    labelled = [side.images.pids[(side.labels >= 0).any(axis=1)] for side in (query, gallery)]
    pids = np.unique(np.concatenate(labelled))
    pids = pids[pids > 0]
    return np.sort(np.random.default_rng(seed).permutation(pids)[: int(FITTED_SHARE * len(pids))])


def fit_soft_filter(
    query: ImageFeatures,
    gallery: ImageFeatures,
    calibrated: tuple[Float32Array, Float32Array],
    schema: AttributeSchema,
    *,
    seed: int = 0,
) -> SoftRecord | None:
    """Select the weight and threshold of the best mAP; weight 0 is among them. None if no query can be scored.

    `calibrated` are the calibrated probabilities of query and gallery.
    """
    rng = np.random.default_rng(seed)
    sampled = np.sort(rng.permutation(len(query))[:SOFT_QUERIES])
    settings = [(0.0, 1.0), *((weight, threshold) for threshold in THRESHOLDS for weight in WEIGHTS)]
    parts: list[list[QueryScores]] = [[] for _ in settings]
    for rows in np.array_split(sampled, max(1, len(sampled) * len(gallery) // PAIRS_AT_ONCE)):
        distances = part_visible_distance(query.features.descriptors[rows], gallery.features.descriptors)
        penalties = {
            threshold: conflict_penalty(calibrated[0][rows], calibrated[1], schema, threshold)
            for threshold in (1.0, *THRESHOLDS)
        }
        for (weight, threshold), scores in zip(settings, parts, strict=True):
            changed = distances + np.float32(weight) * penalties[threshold]
            scores.append(score_queries(changed, query.images[rows], gallery.images))
    by_setting = [QueryScores.merge(scores).summary().mAP for scores in parts]
    without = by_setting[0]
    if without is None:
        return None
    values = [value or 0.0 for value in by_setting]
    best = int(np.argmax(values))
    weight, threshold = settings[best]
    return SoftRecord(weight=weight, threshold=threshold, mAP=values[best], mAP_without=without)


def _without_identities(side: ImageFeatures, probabilities: Float32Array, pids: Int64Array) -> IdentifiedCrops:
    rows = ~np.isin(side.images.pids, pids)
    return IdentifiedCrops(
        pids=side.images.pids[rows], camids=side.images.camids[rows], probabilities=probabilities[rows]
    )


def _calibration_errors(
    sides: Sequence[ImageFeatures], schema: AttributeSchema, calibration: Calibration, fitted: Int64Array
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return the calibration errors before and after, on identities that nothing was fitted on."""
    pids = np.concatenate([side.images.pids for side in sides])
    rows = ~np.isin(pids, fitted)
    labels = np.concatenate([side.labels for side in sides])[rows]
    plain = np.concatenate([side.features.probabilities for side in sides])[rows]
    calibrated = apply_temperatures(plain, calibration.temperatures, schema)
    before, after = (
        calibration_error(probabilities, labels, schema, identities=pids[rows]) for probabilities in (plain, calibrated)
    )
    return before, after
