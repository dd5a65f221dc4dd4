"""The attribute filter (specification, section 11): confident attributes that differ discard a crop before ranking.

With M <= 64 classes a crop's reliable predictions fit one word, and the rule is one AND a crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError
from vestigo_models.schemas import AttributeSchema

Words = NDArray[np.uint64]
Floats = NDArray[np.float32]

STRICT, QUALITY = 0.7, 0.95
"""The paper's threshold, and the one that loses few true matches."""
LEAST_KEPT, LEAST_SHARE = 50, 0.01
"""A filter leaves at least so many crops, and at least this share of the gallery."""


def encode(probabilities: Floats, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()) -> Words:
    """Words G with one bit for each reliably predicted class: N x M probabilities to N words.

    A prediction is reliable from a confidence of `threshold` on, compared in float32 as the probabilities are, so that
    0.7 means the same wherever it is read from; `names` restricts the filter to some attributes.

    Raises:
        ConfigError: the schema has more than 64 classes, or no attribute of such a name.
    """
    if schema.classes > 64:
        raise ConfigError(f"{schema.name} has {schema.classes} classes; the filter takes at most 64")
    words: Words = np.zeros(len(probabilities), dtype=np.uint64)
    for name in names or schema.names:
        place = schema.slice(name)
        group = probabilities[:, place]
        best = group.argmax(axis=1)
        reliable = group[np.arange(len(group)), best] >= np.float32(threshold)
        bits = np.uint64(1) << (best + place.start).astype(np.uint64)
        words |= np.where(reliable, bits, np.uint64(0))
    return words


def opposed(words: Words, schema: AttributeSchema) -> Words:
    """The query's words: for each attribute that a word says reliably, all classes except the one it says."""
    refused: Words = np.zeros_like(words)
    for name in schema.names:
        place = schema.slice(name)
        group = np.uint64(((1 << (place.stop - place.start)) - 1) << place.start)
        said = words & group
        refused |= np.where(said != 0, group & ~said, np.uint64(0))
    return refused


def conflicts(query: Words, gallery: Words, schema: AttributeSchema) -> NDArray[np.uint8]:
    """How many attributes are reliable on both sides and differ: Q x G."""
    return np.asarray(np.bitwise_count(opposed(query, schema)[:, None] & gallery[None, :]), dtype=np.uint8)


def survivors(
    query: Words,
    gallery: Words,
    schema: AttributeSchema,
    penalty: NDArray[np.floating] | None = None,
    *,
    max_conflicts: int = 0,
) -> NDArray[np.bool_]:
    """Which crops stay for each query (Q x G): those of at most `max_conflicts`, and never fewer than `least_kept`.

    Where too few would stay, crops come back by number of conflicts, then by `penalty` (Q x G, the conflicting
    confidences), then by their place in the gallery.
    """
    counts = conflicts(query, gallery, schema)
    kept: NDArray[np.bool_] = counts <= max_conflicts
    least = least_kept(len(gallery))
    for row in np.flatnonzero(kept.sum(axis=1) < least):
        ties = np.zeros(len(gallery)) if penalty is None else penalty[row]
        kept[row, np.lexsort((np.arange(len(gallery)), ties, counts[row]))[:least]] = True
    return kept


def conflict_penalty(
    query: Floats, gallery: Floats, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Sum over conflicting attributes of both sides' confidences, Q x M and G x M to Q x G; the soft filter adds it."""
    total = np.zeros((len(query), len(gallery)), dtype=np.float32)
    for name in names or schema.names:
        place = schema.slice(name)
        ours, theirs = query[:, place], gallery[:, place]
        p, q = ours.max(axis=1), theirs.max(axis=1)
        differ = ours.argmax(axis=1)[:, None] != theirs.argmax(axis=1)[None, :]
        both = (p >= np.float32(threshold))[:, None] & (q >= np.float32(threshold))[None, :]
        total += np.where(differ & both, p[:, None] + q[None, :], np.float32(0))
    return total


def least_kept(gallery: int) -> int:
    """How many crops a filter leaves of a gallery of that size: 50 or 1 %, or all where there are fewer."""
    return min(gallery, max(LEAST_KEPT, int(np.ceil(LEAST_SHARE * gallery))))
