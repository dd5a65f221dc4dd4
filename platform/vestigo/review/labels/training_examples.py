"""Training examples of a label set: identities, their crops and their labels."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.promotion.splits import identity_key, is_test
from vestigo.review.estimates.annotator_error import consensus_error
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.open import Store
from vestigo_models.schemas.attributes import AttributeSchema

CROPS_PER_TASK = 8  # the best crops of a task; more of them add little


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingExample:
    """The crops and labels of one task."""

    identity: str  # as `vestigo.promotion.splits.identity_key` returns it
    camera: str
    source: str
    pid: int | None  # identity of a dataset, if known
    crops: tuple[str, ...]  # ids, best first
    labels: NDArray[np.int64]  # (n,) int64, -1 where there is no label or "cannot tell"
    noise: float  # probability that a label is wrong


def read_training_examples(
    rows: Iterable[Mapping[str, Any]], schema: AttributeSchema, error_rate: float
) -> list[TrainingExample]:
    """Group label rows (columns of `store.parquet.schemas.LABELS`) by task; one annotator errs with `error_rate`."""
    examples: dict[tuple[str, str], TrainingExample] = {}
    for row in rows:
        key = (row["project"], row["task"])
        if key not in examples:
            # A label of two annotators is wrong only if both make the same mistake.
            margin = np.array([min(2, max(1, len(row["reviewers"])))])
            examples[key] = TrainingExample(
                identity=identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crops"][0]),
                camera=row["camera"],
                source=row["source"],
                pid=row["pid"],
                crops=tuple(row["crops"][:CROPS_PER_TASK]),
                labels=np.full(len(schema), -1, dtype=np.int64),
                noise=float(consensus_error(error_rate, margin, 2)[0]),
            )
        if row["value"] != CANNOT_TELL:
            name = row["attribute"]
            examples[key].labels[schema.index(name)] = schema[name].values.index(row["value"])
    return [example for example in examples.values() if (example.labels >= 0).any()]


def select_replay(store: Store, model: str, examples: Iterable[TrainingExample], count: int) -> list[tuple[str, str]]:
    """Select `count` crops for replay, (crop id, identity), of identities without examples and not in the test split.

    A hash of the crop id selects them, so that the result is always the same; memory is that of the result.
    """
    known = {example.identity for example in examples}

    def hashed_crops() -> Iterator[tuple[str, str, str]]:
        for batch in store.crops.scan(("crop_id", "pid", "tracklet"), model=model):
            for row in batch.to_pylist():
                crop = row["crop_id"]
                identity = identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=crop)
                if not is_test(identity) and identity not in known:
                    yield hashlib.sha256(f"replay {crop}".encode()).hexdigest()[:12], crop, identity

    return [(crop, identity) for _, crop, identity in nsmallest(count, hashed_crops())]
