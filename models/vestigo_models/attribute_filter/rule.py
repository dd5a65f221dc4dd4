"""The attribute filter (specification, section 11): confident attributes that differ discard a crop before ranking.

With M <= 64 classes a crop's reliable predictions fit one word, and the rule is one AND a crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

Words = NDArray[np.uint64]
Floats = NDArray[np.float32]

STRICT, QUALITY = 0.7, 0.95
"""The paper's threshold, and the one that loses few true matches."""
LEAST_KEPT, LEAST_SHARE = 50, 0.01
"""A filter leaves at least so many crops, and at least this share of the gallery."""


def encode(probabilities: Floats, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()) -> Words:
    """Words G with one bit for each reliably predicted class: N x M probabilities to N words.

    A prediction is reliable from a confidence of `threshold` on, compared in float32 as the probabilities are, so that
    0.7 means the same wherever it is read from; `names` restricts the filter to some attributes. Of equally likely
    classes the first is predicted.

    Raises:
        ConfigError: the schema has more than 64 classes, or no attribute of such a name.
    """
    if schema.classes > 64:
        raise ConfigError(f"{schema.name} has {schema.classes} classes; the filter takes at most 64")
    best = confidences(probabilities, schema)
    used = np.zeros(len(schema), dtype=np.bool_)
    used[[schema.index(name) for name in names] or slice(None)] = True
    reliable = used & (best >= np.float32(threshold))
    least = np.where(reliable, best, np.float32(np.inf))
    sizes = [len(attribute.values) for attribute in schema.attributes]
    bits = np.uint64(1) << np.arange(schema.classes, dtype=np.uint64)
    said = np.where(probabilities >= np.repeat(least, sizes, axis=1), bits, np.uint64(0))
    words: Words = np.bitwise_or.reduce(said, axis=1)
    tied = np.flatnonzero(np.bitwise_count(words) > reliable.sum(axis=1))
    if len(tied):
        groups = words[tied, None] & class_masks(schema)
        words[tied] = np.bitwise_or.reduce(groups & (~groups + np.uint64(1)), axis=1)
    return words


def opposed(words: Words, schema: AttributeSchema) -> Words:
    """The query's words: for each attribute that a word says reliably, all classes except the one it says."""
    masks = class_masks(schema)
    said = words[:, None] & masks
    refused: Words = np.bitwise_or.reduce(np.where(said != 0, masks & ~said, np.uint64(0)), axis=1)
    return refused


def confidences(probabilities: Floats, schema: AttributeSchema) -> Floats:
    """How sure each attribute's prediction is: N x M to N x n."""
    return np.asarray(np.maximum.reduceat(probabilities, schema.offsets, axis=1))


def class_masks(schema: AttributeSchema) -> Words:
    """The bits of each of the n attributes' classes."""
    return np.array(
        [
            ((1 << len(attribute.values)) - 1) << offset
            for attribute, offset in zip(schema.attributes, schema.offsets, strict=True)
        ],
        dtype=np.uint64,
    )


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
    # In the schema's order, so that the sum does not depend on the order of `names`.
    for name in sorted(names, key=schema.index) or schema.names:
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
