"""Read the gallery of a search from a store: features, attribute probabilities and identities, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from vestigo.ranking.camera_bias import CameraBias
from vestigo.resolve import ModelRegistry, require_attributes
from vestigo.sightings.camera_sums import read_camera_sums
from vestigo.sightings.database import IndexFile, index_path
from vestigo.store.crops.repository import CropRepository
from vestigo.store.models.records import Model
from vestigo.store.parquet.descriptors import descriptors_of, matrix, unpacked
from vestigo_models.arrays import Float32Array
from vestigo_models.errors import StoreError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages

DESCRIPTOR_COLUMNS = ("embedding", "visible", "camera")


class SearchableStore(ModelRegistry, Protocol):
    """The part of `vestigo.store.open.Store` that search reads."""

    ref: str

    @property
    def crops(self) -> CropRepository:
        """The visible crops."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which crops are searched; None and "" are no restriction.

    Attributes:
        cameras: Names of cameras, which must exist.
        since, until: Recording time, `since` <= time < `until`.
        where: Attribute conditions such as `gender=female,backpack=yes`; each value must be the predicted one.
    """

    cameras: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    where: str = ""


EVERYWHERE = Scope()


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The crops of one model in a store; their descriptors are without the bias of their cameras."""

    store: SearchableStore
    model: Model
    bias: CameraBias

    @classmethod
    def of(cls, store: SearchableStore, model: Model, progress: OpenProgress = ignore_stages) -> Gallery:
        """Measure the bias of the cameras; files of crops that no search has read yet are read for it.

        Raises:
            StoreError: If a file cannot be read, or the browse index cannot be written.
        """
        index = IndexFile(index_path(store.ref))
        try:
            sums = read_camera_sums(store.crops, index, model, progress("cameras"))
        finally:
            index.close()
        return cls(store=store, model=model, bias=CameraBias.of(sums, model.facts.blocks))

    def features(self, ids: Sequence[str]) -> CropFeatures:
        """Return the features of n >= 1 stored crops.

        Raises:
            StoreError: If the store has no such crop of the model.
        """
        facts = self.model.facts
        rows = self.store.crops.get(ids, [*DESCRIPTOR_COLUMNS, "attributes"], model=self.model.digest)
        descriptors = Descriptors(
            vectors=np.array([row["embedding"] for row in rows], dtype=np.float32),
            visible=unpacked(np.array([row["visible"] for row in rows], dtype=np.int32), facts.parts),
            always=facts.always,
        )
        descriptors = self.bias.remove(descriptors, pa.array([row["camera"] for row in rows], pa.string()))
        attributes = np.array([row["attributes"] for row in rows], dtype=np.float32)
        return _features(descriptors, attributes.reshape(len(rows), -1))

    def batch_features(self, batch: pa.RecordBatch, *, attributes: bool) -> CropFeatures:
        """Return the features of n crops from `DESCRIPTOR_COLUMNS` and, with `attributes`, the column of that name."""
        probabilities = _probabilities(batch, self.model) if attributes else np.empty((batch.num_rows, 0), np.float32)
        descriptors = descriptors_of(batch.column("embedding"), batch.column("visible"), self.model.facts)
        return _features(self.bias.remove(descriptors, batch.column("camera")), probabilities)


def scan_gallery(
    store: SearchableStore,
    model: Model,
    scope: Scope,
    columns: Sequence[str],
    stage: str,
    progress: OpenProgress = ignore_stages,
) -> Iterator[pa.RecordBatch]:
    """Yield columns of the crops in scope that a model made, and `attributes` if the scope has conditions.

    Raises:
        UsageError: If `scope` has conditions and the model predicts no attributes.
    """
    where = None
    if scope.where:
        schema = require_attributes(model)
        # Attributes as slices of the columns, with the class that must be the first of the most probable ones.
        conditions = schema.parse(scope.where)
        where = [(schema.slice(name), schema[name].values.index(value)) for name, value in conditions.items()]
        columns = tuple(dict.fromkeys((*columns, "attributes")))
    batches = store.crops.scan(columns, model=model.digest, cameras=scope.cameras, since=scope.since, until=scope.until)
    report = progress(stage)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        # Before the batch is used: the callback may cancel the scan.
        report(rows, None)
        if where is not None:
            probabilities = _probabilities(batch, model)
            meets = [probabilities[:, part].argmax(axis=1) == value for part, value in where]
            batch = batch.filter(pa.array(np.all(meets, axis=0)))
        if batch.num_rows:
            yield batch


def probability_batches(
    store: SearchableStore, model: Model, scope: Scope, *, progress: OpenProgress = ignore_stages
) -> Iterator[tuple[pa.Array, Float32Array]]:
    """Yield ids and (n, M) attribute probabilities of the crops in scope that a model made; descriptors are not read.

    Raises:
        UsageError: If the model predicts no attributes.
    """
    for batch in scan_gallery(store, model, scope, ("crop_id", "attributes"), "attributes", progress):
        yield batch.column("crop_id"), _probabilities(batch, model)


def count_without_time(store: SearchableStore, model: Model, scope: Scope) -> int:
    """Return the number of crops of a model that the time range of a scope leaves out because they have no time."""
    if scope.since is None and scope.until is None:
        return 0
    batches = store.crops.scan(("time",), model=model.digest, cameras=scope.cameras)
    return sum(batch.column("time").null_count for batch in batches)


def without_time_note(count: int, what: str = "crop") -> str:
    """Return the sentence that names what a time range leaves out, "" for nothing."""
    if not count:
        return ""
    have, were = (f"{what}s have", "were") if count > 1 else (f"{what} has", "was")
    return f"{count:,} {have} no time and {were} left out; give --start when indexing"


def empty_features(model: Model) -> CropFeatures:
    """Return the features of no crop."""
    facts = model.facts
    vectors, visible = np.empty((0, sum(facts.blocks)), np.float32), np.empty((0, facts.parts), np.bool_)
    classes = 0 if facts.attributes is None else facts.attributes.classes
    descriptors = Descriptors(vectors=vectors, visible=visible, always=facts.always)
    return _features(descriptors, np.empty((0, classes), np.float32))


def _features(descriptors: Descriptors, probabilities: Float32Array) -> CropFeatures:
    return CropFeatures(
        descriptors=descriptors, probabilities=probabilities, areas=np.empty((len(descriptors), 0), np.float32)
    )


def _probabilities(batch: pa.RecordBatch, model: Model) -> Float32Array:
    schema = require_attributes(model)
    probabilities = matrix(batch.column("attributes"))
    if probabilities.shape[1] != schema.classes:
        raise StoreError(
            f"crops of model {model.name} have {probabilities.shape[1]} attribute classes, its schema {schema.name} "
            f"has {schema.classes}: run `vestigo store check`, or index again"
        )
    return probabilities
