"""The rule of the attribute filter: confident attributes that differ discard a crop (docs/method.md, section "Rule").

With M <= 64 classes the reliable predictions of a crop fit one 64-bit word, and conflicts are counted with one AND.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt8Array, UInt64Array
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

STRICT, QUALITY = 0.7, 0.95
"""The paper's threshold, and one that loses few true matches."""
LEAST_KEPT, LEAST_SHARE = 50, 0.01
"""Smallest number of crops and smallest share of the gallery that the filter keeps."""


def encode_predictions(
    probabilities: Float32Array, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()
) -> UInt64Array:
    """Encode reliable predictions, with calibrated probabilities (N, M), as words G of docs/method.md, section "Rule".

    A word has one bit for each predicted class. A prediction is reliable if its confidence is at least `threshold`;
    above 1 none is. They are compared in float32, so that 0.7 means the same wherever it is read from. Of equally
    probable classes the first is predicted. `names` are the attributes that count, none named = all.

    Raises:
        ConfigError: If the schema has more than 64 classes, or no attribute of such a name.
    """
    if schema.classes > 64:
        raise ConfigError(f"{schema.name} has {schema.classes} classes; the filter takes at most 64")
    highest = confidences(probabilities, schema)
    used = np.zeros(len(schema), dtype=np.bool_)
    used[[schema.index(name) for name in names] or slice(None)] = True
    reliable = used & (highest >= np.float32(threshold))
    least = np.where(reliable, highest, np.float32(np.inf))
    bits = np.uint64(1) << np.arange(schema.classes, dtype=np.uint64)
    predicted = np.where(probabilities >= np.repeat(least, schema.sizes, axis=1), bits, np.uint64(0))
    words: UInt64Array = np.bitwise_or.reduce(predicted, axis=1)
    tied = np.flatnonzero(np.bitwise_count(words) > reliable.sum(axis=1))
    if len(tied):
        # The lowest bit of each attribute: x & -x.
        groups = words[tied, None] & _class_masks(schema)
        words[tied] = np.bitwise_or.reduce(groups & (~groups + np.uint64(1)), axis=1)
    return words


def predicted_words(probabilities: Float32Array, schema: AttributeSchema) -> UInt64Array:
    """Encode all predictions, reliable or not, of calibrated probabilities (N, M) as `encode_predictions` does."""
    return encode_predictions(probabilities, schema, 0.0)


def reliable_words(
    words: UInt64Array, confidences: Float32Array, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()
) -> UInt64Array:
    """Return the words that `encode_predictions` makes at a threshold, from those of all predictions.

    Args:
        words: Words of `predicted_words`, (N,).
        confidences: Probability of each attribute's predicted class, (N, attributes) float32.
        schema: The attributes.
        threshold: Least confidence of a reliable prediction.
        names: Attributes that count, none named = all.
    """
    used = np.zeros(len(schema), dtype=np.bool_)
    used[[schema.index(name) for name in names] or slice(None)] = True
    masks = np.where(used, _class_masks(schema), np.uint64(0))
    # A byte holds the reliability of eight attributes; a table has the classes that it lets through.
    reliable = np.packbits(confidences >= np.float32(threshold), axis=1, bitorder="little")
    kept = np.zeros(len(words), dtype=np.uint64)
    for position in range(reliable.shape[1]):
        group = masks[8 * position : 8 * position + 8]
        bits = (np.arange(256)[:, None] >> np.arange(len(group))) & 1
        kept |= np.bitwise_or.reduce(np.where(bits == 1, group, np.uint64(0)), axis=1)[reliable[:, position]]
    return words & kept


def confidences(probabilities: Float32Array, schema: AttributeSchema) -> Float32Array:
    """Return the probability of each attribute's predicted class, (N, attributes), from probabilities (N, M)."""
    return np.asarray(np.maximum.reduceat(probabilities, schema.offsets, axis=1))


def class_bits(conditions: Mapping[str, str], schema: AttributeSchema) -> np.uint64:
    """Return the bits that the words of crops with some predicted values have, from values by attribute."""
    bits = [schema.slice(name).start + schema[name].values.index(value) for name, value in conditions.items()]
    return np.uint64(sum(1 << bit for bit in bits))


def count_conflicts(query: UInt64Array, gallery: UInt64Array, schema: AttributeSchema) -> UInt8Array:
    """Count the attributes that are reliable in both crops and differ: words (Q,) and (G,) to counts (Q, G)."""
    return np.asarray(np.bitwise_count(_other_classes(query, schema)[:, None] & gallery[None, :]), dtype=np.uint8)


def without_conflict(query: UInt64Array, gallery: UInt64Array, schema: AttributeSchema) -> BoolArray:
    """Return where `count_conflicts` is 0, which is faster than counting."""
    return np.asarray((_other_classes(query, schema)[:, None] & gallery[None, :]) == 0)


def survivors(
    conflicts: UInt8Array, penalty: Callable[[int, Int64Array], Float32Array] | None = None, *, max_conflicts: int = 0
) -> BoolArray:
    """Return which gallery crops each query keeps, (Q, G), from the numbers of conflicts, (Q, G).

    Implements docs/method.md, sections "Rule" and "Never empty": kept crops have at most `max_conflicts`, but a query
    that would keep fewer than `least_kept` crops gets crops back in the order of conflicts, penalty and position.
    `penalty` is a function of a query's row and k gallery rows that returns their `conflict_penalty`, (k,).
    """
    kept: BoolArray = conflicts <= max_conflicts
    least = least_kept(conflicts.shape[1])
    for row in np.flatnonzero(kept.sum(axis=1) < least):
        # Penalties matter only among crops with the largest number of conflicts that returns.
        level = np.partition(conflicts[row], least - 1)[least - 1]
        kept[row] = conflicts[row] < level
        columns = np.flatnonzero(conflicts[row] == level)
        missing = least - int(kept[row].sum())
        if penalty is not None:
            columns = columns[np.argsort(penalty(int(row), columns), kind="stable")]
        kept[row, columns[:missing]] = True
    return kept


def conflict_penalty(
    query: Float32Array, gallery: Float32Array, schema: AttributeSchema, threshold: float, names: Sequence[str] = ()
) -> Float32Array:
    """Sum the confidences of both crops over their conflicting attributes.

    The soft filter adds it to the distance; `survivors` orders returning crops by it. Calibrated probabilities (Q, M)
    and (G, M) give penalties (Q, G), 0 without conflict. A prediction is reliable from the confidence `threshold` on;
    `names` are the attributes that count, none named = all.
    """
    total = np.zeros((len(query), len(gallery)), dtype=np.float32)
    # In the schema's order, so that the sum does not depend on the order of `names`.
    for name in sorted(names, key=schema.index) or schema.names:
        ours, theirs = query[:, schema.slice(name)], gallery[:, schema.slice(name)]
        p, q = ours.max(axis=1), theirs.max(axis=1)
        differ = ours.argmax(axis=1)[:, None] != theirs.argmax(axis=1)[None, :]
        reliable = (p >= np.float32(threshold))[:, None] & (q >= np.float32(threshold))[None, :]
        total += np.where(differ & reliable, p[:, None] + q[None, :], np.float32(0))
    return total


def penalty_of_words(
    query: Float32Array,
    words: UInt64Array,
    confidences: Float32Array,
    schema: AttributeSchema,
    threshold: float,
    names: Sequence[str] = (),
) -> Float32Array:
    """Return `conflict_penalty` of queries (Q, M) and N crops, (Q, N), from `predicted_words` and `confidences`."""
    total = np.zeros((len(query), len(words)), dtype=np.float32)
    for name in sorted(names, key=schema.index) or schema.names:
        part, theirs = schema.slice(name), confidences[:, schema.index(name)]
        is_reliable = theirs >= np.float32(threshold)
        for row, ours in zip(total, query[:, part], strict=True):
            if ours.max() >= np.float32(threshold):
                predicted = np.uint64(1) << np.uint64(part.start + int(ours.argmax()))
                differ = is_reliable & ((words & predicted) == 0)
                row += np.where(differ, ours.max() + theirs, np.float32(0))
    return total


def least_kept(gallery: int) -> int:
    """Return the smallest number of crops that the filter keeps of a gallery of this size."""
    return min(gallery, max(LEAST_KEPT, int(np.ceil(LEAST_SHARE * gallery))))


def _other_classes(words: UInt64Array, schema: AttributeSchema) -> UInt64Array:
    """Return Q-bar of words (Q,): all classes of a reliable attribute but the predicted one, (Q,)."""
    masks = _class_masks(schema)
    predicted = words[:, None] & masks
    others: UInt64Array = np.bitwise_or.reduce(np.where(predicted != 0, masks & ~predicted, np.uint64(0)), axis=1)
    return others


def _class_masks(schema: AttributeSchema) -> UInt64Array:
    pairs = zip(schema.sizes, schema.offsets, strict=True)
    return np.array([((1 << size) - 1) << start for size, start in pairs], dtype=np.uint64)
