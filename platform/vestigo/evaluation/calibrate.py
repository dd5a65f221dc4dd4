"""A model calibrated on a dataset: what it says of known people becomes temperatures, the filter's curve and the soft
weight, and how much closer confidence and accuracy come by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.attributes import why_not
from vestigo.evaluation.calibrate__calibrating import Sample, calibrate, fitted_people
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.options import Advance
from vestigo.ingest.embedding import embed_files
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.temperature import apply_temperatures, calibration_error
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.attributes import AttributeSchema

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
    extractor = Extractor(package.calibrated(None), device=device)
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
