"""What retrieval needs of a store: three methods, so that it can be tested without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.store import Model
from vestigo_models.errors import StoreError


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


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which crops are searched: some cameras, `since` <= time < `until`; None is no restriction."""

    cameras: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYWHERE = Scope()


def embedding_batches(
    archive: Archive, model: str, scope: Scope = EVERYWHERE
) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
    """Yield crop ids with their (n, D) embeddings, of one model digest only."""
    columns = ("crop_id", "embedding")
    for batch in archive.scan_crops(columns, model=model, cameras=scope.cameras, since=scope.since, until=scope.until):
        yield batch.column("crop_id"), matrix(batch.column("embedding"))


def matrix(embeddings: pa.Array) -> NDArray[np.float32]:
    """(n, D) float32 view of a column of fixed-size lists."""
    flat = embeddings.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(embeddings), -1)


def stored_embeddings(
    archive: Archive, ids: Sequence[str], model: str | None = None
) -> tuple[str, NDArray[np.float32]]:
    """The model digest and the (n, D) embeddings of stored crops; `model` chooses among several that saw them.

    Raises:
        StoreError: a crop is not in the store, or their newest models differ.
    """
    rows = archive.crops(ids, ["embedding"], model=model)
    models = sorted({row["model"] for row in rows})
    if len(models) > 1:
        raise StoreError(
            f"the crops are of {len(models)} models ({', '.join(digest[:12] for digest in models)}), which cannot be "
            "compared; choose crops of one, or the model with --model"
        )
    return models[0], np.array([row["embedding"] for row in rows], dtype=np.float32)


def newest_model(archive: Archive) -> Model:
    """The model that the store saw last.

    Raises:
        StoreError: nothing is indexed.
    """
    models = archive.models()
    if not models:
        raise StoreError("the store is empty; fill it with: vestigo index SOURCE --store STORE")
    return models[0]


def require_model(archive: Archive, digest: str) -> None:
    """Insist that the store knows a model.

    Raises:
        StoreError: it does not; embeddings of different models are never compared.
    """
    known = archive.models()
    if digest not in {model.digest for model in known}:
        holds = ", ".join(f"{model.name} ({model.digest[:12]})" for model in known) or "nothing yet"
        raise StoreError(
            f"the store has no crop of model {digest[:12]}; it holds {holds}: choose one of them with --model, or "
            "index the archive with this one"
        )
