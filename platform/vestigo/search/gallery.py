"""What retrieval needs of a store: a few methods, so that it can be tested without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.store.parquet.descriptors import descriptors_of, matrix, unpacked
from vestigo.store.runs.records import Model
from vestigo_models.errors import StoreError, UsageError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.schemas.attributes import AttributeSchema

if TYPE_CHECKING:
    from vestigo_models.inference.extractor import Outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """N crops of one model: `descriptors`, and `probabilities` (N, M) float32, calibrated; M = 0 for a model without
    attributes, and where nobody asks for them."""

    descriptors: Descriptors
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Appearance:
        return Appearance(descriptors=self.descriptors[rows], probabilities=self.probabilities[rows])

    @classmethod
    def of(cls, outputs: Outputs) -> Appearance:
        """The same of what a model just said."""
        return cls(descriptors=outputs.descriptors, probabilities=outputs.probabilities)

    @classmethod
    def joined(cls, parts: Sequence[Appearance]) -> Appearance:
        """Crops of one model, one lot after the other; at least one lot."""
        return cls(
            descriptors=Descriptors.joined([part.descriptors for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
        )


class Archive(Protocol):
    """The part of `vestigo.store.Store` that retrieval reads."""

    def scan_crops(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = 16384,
    ) -> Iterator[pa.RecordBatch]:
        """Visible crops, batch by batch."""
        ...

    def crops(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Rows of crops in the order asked; without `model`, each of the newest model that saw the crop."""
        ...

    def models(self) -> list[Model]:
        """Models whose crops there may be, newest first."""
        ...

    def find_model(self, ref: str) -> Model | None:
        """The model of a name, a digest, or the beginning of one."""
        ...

    def serving(self) -> str | None:
        """The digest of the model that was promoted, None without one."""
        ...

    def crop_counts(self) -> dict[str, int]:
        """How many crops of each model there are, by digest; models without any are left out."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which crops are searched: some cameras, `since` <= time < `until`, and those that a model says are as `where`
    has it (`gender=female,backpack=yes`: of each of these attributes that value is the likeliest); None and "" are no
    restriction."""

    cameras: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    where: str = ""


EVERYWHERE = Scope()
Advance = Callable[[str, int], None]
"""Hears of a pass over the archive: what it looks at, `"attributes"` or `"crops"`, and how many rows it has read."""
LOOKS = ("embedding", "visible")
"""Columns that a descriptor is read from."""


def descriptor_batches(
    archive: Archive,
    model: Model,
    scope: Scope = EVERYWHERE,
    *,
    attributes: bool = False,
    advance: Advance | None = None,
) -> Iterator[tuple[pa.Array, Appearance]]:
    """Yield crop ids with what they look like, of one model only; probabilities only where `attributes` asks for them.

    Raises:
        UsageError: `scope` has conditions, or attributes are asked for, and the model predicts none.
    """
    columns = ("crop_id", *LOOKS, *(("attributes",) if attributes else ()))
    for batch in _scanned(archive, model, scope, columns, advance and partial(advance, "crops")):
        yield batch.column("crop_id"), looks_of(batch, model, attributes=attributes)


def looks_of(batch: pa.RecordBatch, model: Model, *, attributes: bool) -> Appearance:
    """What crops look like, from their columns `LOOKS` and, where they are asked for, `attributes`."""
    probabilities = _probabilities(batch, model) if attributes else np.empty((batch.num_rows, 0), np.float32)
    descriptors = descriptors_of(batch.column("embedding"), batch.column("visible"), model.facts)
    return Appearance(descriptors=descriptors, probabilities=probabilities)


def probability_batches(
    archive: Archive, model: Model, scope: Scope = EVERYWHERE, *, advance: Advance | None = None
) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
    """Yield crop ids with their (n, M) attribute probabilities, of one model only; descriptors are not read.

    Raises:
        UsageError: the model predicts no attributes.
    """
    for batch in _scanned(archive, model, scope, ("crop_id", "attributes"), advance and partial(advance, "attributes")):
        yield batch.column("crop_id"), _probabilities(batch, model)


def label_batches(archive: Archive, model: Model, scope: Scope = EVERYWHERE) -> Iterator[pa.RecordBatch]:
    """Yield `crop_id`, `pid` (null where nobody knows) and `camera` of the crops in scope, of one model only.

    Raises:
        UsageError: as `descriptor_batches`.
    """
    return _scanned(archive, model, scope, ("crop_id", "pid", "camera"), None)


def stored_appearance(archive: Archive, ids: Sequence[str], model: str | None = None) -> tuple[Model, Appearance]:
    """The model and the looks of stored crops; `model` is a digest, without it that of `current_model`.

    Raises:
        StoreError: a crop is not in the store under that model, or as `current_model`.
    """
    found = current_model(archive) if model is None else require_model(archive, model)
    rows = archive.crops(ids, ["embedding", "visible", "attributes"], model=found.digest)
    return found, appearance_of(rows, found)


def appearance_of(rows: Sequence[dict[str, Any]], model: Model) -> Appearance:
    """What crops look like, from their rows with `embedding`, `visible` and `attributes`; at least one."""
    masks = np.array([row["visible"] for row in rows], dtype=np.int32)
    descriptors = Descriptors(
        vectors=np.array([row["embedding"] for row in rows], dtype=np.float32),
        visible=unpacked(masks, model.facts.parts),
        always=model.facts.always,
    )
    probabilities = np.array([row["attributes"] for row in rows], dtype=np.float32).reshape(len(rows), -1)
    return Appearance(descriptors=descriptors, probabilities=probabilities)


def nobody(model: Model) -> Appearance:
    """No crop at all of a model."""
    facts = model.facts
    descriptors = Descriptors(
        vectors=np.empty((0, sum(facts.blocks)), np.float32),
        visible=np.empty((0, facts.parts), np.bool_),
        always=facts.always,
    )
    classes = 0 if facts.attributes is None else facts.attributes.classes
    return Appearance(descriptors=descriptors, probabilities=np.empty((0, classes), np.float32))


def require_attributes(model: Model) -> AttributeSchema:
    """The attributes that a model predicts.

    Raises:
        UsageError: it predicts none.
    """
    if model.facts.attributes is None:
        raise UsageError(
            f"model {model.name} ({model.digest[:12]}) of the store predicts no attributes, which --where and --filter "
            "go by; leave them out, or index with a model that was trained with attributes"
        )
    return model.facts.attributes


def _scanned(
    archive: Archive,
    model: Model,
    scope: Scope,
    columns: Sequence[str],
    advance: Callable[[int], None] | None,
) -> Iterator[pa.RecordBatch]:
    conditions: dict[str, str] = {}
    if scope.where:
        conditions = require_attributes(model).parse(scope.where)
        columns = tuple(dict.fromkeys((*columns, "attributes")))
    batches = archive.scan_crops(
        columns, model=model.digest, cameras=scope.cameras, since=scope.since, until=scope.until
    )
    read = 0
    for batch in batches:
        # Before the batch is worked on: whoever hears it may end the pass.
        read += batch.num_rows
        if advance is not None:
            advance(read)
        kept = batch.filter(pa.array(_meets(_probabilities(batch, model), conditions, model))) if conditions else batch
        if kept.num_rows:
            yield kept


def _meets(probabilities: NDArray[np.float32], conditions: dict[str, str], model: Model) -> NDArray[np.bool_]:
    """(n,) bool: of each attribute the value asked for is the likeliest, the first of equally likely ones."""
    schema = require_attributes(model)
    meets = np.ones(len(probabilities), dtype=np.bool_)
    for name, value in conditions.items():
        meets &= probabilities[:, schema.slice(name)].argmax(axis=1) == schema[name].values.index(value)
    return meets


def _probabilities(batch: pa.RecordBatch, model: Model) -> NDArray[np.float32]:
    schema = require_attributes(model)
    probabilities = matrix(batch.column("attributes"))
    if probabilities.shape[1] != schema.classes:
        raise StoreError(
            f"crops of model {model.name} have {probabilities.shape[1]} attribute classes, its schema {schema.name} "
            f"has {schema.classes}: run `vestigo store check`, or index again"
        )
    return probabilities


def current_model(archive: Archive) -> Model:
    """The model that a search means which names none: the one that serves, without promotions the newest with crops.

    Raises:
        StoreError: nothing is indexed, or the store holds crops of other models: an answer from one of them alone would
            look like one from the whole archive.
    """
    serving, counts, models = archive.serving(), archive.crop_counts(), archive.models()
    if not models:
        raise StoreError("the store is empty; fill it with: vestigo index SOURCE --store STORE")
    seen = [model for model in models if model.digest in counts]
    current = next((model for model in models if model.digest == serving), (seen or models)[0])
    others = [model for model in seen if model.digest != current.digest]
    if others:
        held = ", ".join(f"{counts[model.digest]} of {named(model)}" for model in others)
        which = "which serves" if current.digest == serving else "the newest"
        raise StoreError(
            f"the store holds {counts.get(current.digest, 0)} crops of {named(current)}, {which}, and {held}; crops of "
            "different models are never compared: index the others again (vestigo index --reindex-stale --store "
            "STORE), or search one version with --model"
        )
    return current


def require_model(archive: Archive, digest: str) -> Model:
    """A model that the store holds crops of.

    Raises:
        StoreError: it does not; embeddings of different models are never compared.
    """
    counts = archive.crop_counts()
    known = [model for model in archive.models() if model.digest in counts]
    found = next((model for model in known if model.digest == digest), None)
    if found is None:
        holds = ", ".join(map(named, known)) or "nothing yet"
        raise StoreError(
            f"the store has no crop of model {digest[:12]}; it holds {holds}: choose one of them with --model, or "
            "index the archive with this one"
        )
    return found


def named(model: Model) -> str:
    """A model in words."""
    return f"{model.name} ({model.digest[:12]})"
