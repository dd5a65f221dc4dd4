"""The gallery of a search: features, attribute probabilities and identities of a store's crops, pack by pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from vestigo.resolve import ModelRegistry, require_attributes
from vestigo.store.crops.reader import in_order
from vestigo.store.crops.repository import CropRepository
from vestigo.store.crops.visible import CropFilter
from vestigo.store.models.records import Model
from vestigo.vectors.index import Selection, VectorIndex, require_predictions
from vestigo_models.arrays import Float32Array
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """The crops of one model in a store; their descriptors are without the bias of their cameras."""

    store: SearchableStore
    model: Model
    index: VectorIndex

    @classmethod
    def of(cls, store: SearchableStore, model: Model, progress: OpenProgress = ignore_stages) -> Gallery:
        """Open the vector index; files of crops that no search has read yet are read for it.

        Raises:
            StoreError: If a file cannot be read, or the index cannot be written.
        """
        return cls(store=store, model=model, index=VectorIndex.open(store.ref, store.crops, model, progress("index")))

    def features(self, ids: Sequence[str]) -> CropFeatures:
        """Return the features of n >= 1 stored crops.

        Raises:
            StoreError: If the store has no such crop of the model.
        """
        return as_features(self.index.descriptors(ids), self.index.probabilities(ids))

    def select(
        self, scope: Scope, stage: str, progress: OpenProgress = ignore_stages, *, predictions: bool = False
    ) -> Iterator[Selection]:
        """Yield the crops in scope, pack by pack, with progress in crops.

        Raises:
            UsageError: If `scope` has conditions and the model predicts no attributes.
            ConfigError: If its attributes have no such condition.
            StoreError: If a camera is unknown or, with `predictions`, crops lack attributes that the model predicts.
        """
        conditions = require_attributes(self.model).parse(scope.where) if scope.where else {}
        crop_filter = self._crop_filter(scope)
        report = progress(stage)
        done, total = 0, len(self.index)
        for selection in self.index.select(crop_filter, conditions):
            done += len(selection.pack)
            # Before the crops are used: the callback may cancel.
            report(done, total)
            if predictions:
                require_predictions(selection.pack, self.model)
            if len(selection):
                yield selection

    def rows(self, ids: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return columns of stored crops in the order of `ids`; only the row groups that hold them are read.

        Raises:
            StoreError: If the store has no such crop of the model, or no such column.
        """
        return in_order(ids, self.store.crops.get_at(self.index.positions(ids), columns))

    def count_without_time(self, scope: Scope) -> int:
        """Return the number of crops that the time range of a scope leaves out because they have no time."""
        if scope.since is None and scope.until is None:
            return 0
        return self.index.count_without_time(self._crop_filter(scope).cameras)

    def _crop_filter(self, scope: Scope) -> CropFilter:
        crop_filter = CropFilter(scope.cameras, scope.since, scope.until)
        return crop_filter if scope.cameras is None else self.store.crops.resolve(crop_filter)


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
    return as_features(descriptors, np.empty((0, classes), np.float32))


def as_features(descriptors: Descriptors, probabilities: Float32Array) -> CropFeatures:
    """Return features without areas."""
    return CropFeatures(
        descriptors=descriptors, probabilities=probabilities, areas=np.empty((len(descriptors), 0), np.float32)
    )
