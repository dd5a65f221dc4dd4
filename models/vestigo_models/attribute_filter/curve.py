"""The filter's miss rate and kept fraction at every threshold, measured on crops of known identities.

A pair of crops is discarded up to one threshold, its limit: an attribute in which the crops differ discards the pair
while the smaller of the two confidences reaches the threshold. With `max_conflicts` = c the limit is the (c + 1)-th
largest of these smaller confidences, and every curve counts limits.

Crops that return because a filter keeps at least `least_kept` crops count as lost here. They depend on the gallery and
only lower the miss rate, so the bound of conformal risk control holds for the real filter too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vestigo_models.arrays import Float32Array, Float64Array, Int64Array
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

OFF = 1.01
"""A threshold that no confidence reaches."""
_COARSE = np.arange(0.01, 0.9, 0.01)
_FINE = 1.0 - np.geomspace(0.1, 1e-4, 61)
THRESHOLDS: Float64Array = np.round(np.concatenate([_COARSE, _FINE, [1.0, OFF]]), 5)
"""The thresholds of a curve, ascending: finer where most calibrated confidences are, `OFF` last."""
SAMPLED_PAIRS = 200_000
"""Pairs of different people that the kept fraction is measured on."""
PAIRS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentifiedCrops:
    """N crops of known identities."""

    pids: Int64Array  # identities, (N,) int64; 0 is a distractor, -1 junk
    camids: Int64Array  # cameras, (N,) int64
    probabilities: Float32Array  # calibrated attribute probabilities, (N, M)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterCurve:
    """Miss rates and kept fractions at T thresholds."""

    thresholds: Float64Array  # ascending, the last is `OFF`, (T,)
    # L_i of docs/method.md, section "Conformal risk control", for I identities, (I, T): the mean over an identity's
    # queries of the share of their true matches that are discarded. Never rises along a row.
    miss_rates: Float64Array
    pids: Int64Array  # the identities, (I,) int64
    kept_fractions: Float64Array  # share of other people's crops that the filter keeps, (T,)


def measure_curve(
    query: IdentifiedCrops,
    gallery: IdentifiedCrops,
    schema: AttributeSchema,
    *,
    names: Sequence[str] = (),
    max_conflicts: int = 0,
    thresholds: Float64Array = THRESHOLDS,
    seed: int = 0,
) -> FilterCurve:
    """Measure the filter on Q queries and a gallery of G crops, which may be the same crops.

    Memory is O(true pairs + I x T). `names` are the attributes that count (none named = all), `max_conflicts` the
    conflicts that a kept crop may have. The T thresholds ascend; `seed` is that of sampled pairs of different people.

    Raises:
        ConfigError: If no query has a true match on another camera, or the gallery holds one person only.
    """
    limit = partial(pair_limits, query, gallery, schema=schema, names=names, max_conflicts=max_conflicts)
    rows, matches = true_pairs(query, gallery)
    if not len(rows):
        raise ConfigError("a filter cannot be calibrated: no query has a true match on another camera")
    pids, miss_rates = _identity_miss_rates(limit(rows, matches), rows, query.pids, thresholds)
    limits = np.sort(limit(*_sample_different_people(query, gallery, seed)))
    kept_fractions = np.searchsorted(limits, thresholds.astype(np.float32), side="left") / len(limits)
    return FilterCurve(thresholds=thresholds, miss_rates=miss_rates, pids=pids, kept_fractions=kept_fractions)


def pair_limits(
    query: IdentifiedCrops,
    gallery: IdentifiedCrops,
    rows: Int64Array,
    columns: Int64Array,
    schema: AttributeSchema,
    *,
    names: Sequence[str] = (),
    max_conflicts: int = 0,
) -> Float32Array:
    """Compute the largest threshold at which the filter discards each of P pairs, (P,); 0 for never.

    `rows` and `columns`, (P,), are positions in `query` and `gallery`; the other arguments are those of
    `measure_curve`.
    """
    names = names or schema.names
    limits = np.zeros(len(rows), dtype=np.float32)
    if max_conflicts >= len(names):
        return limits
    groups = [[side.probabilities[:, schema.slice(name)] for name in names] for side in (query, gallery)]
    predictions = [[(group.argmax(axis=1), group.max(axis=1)) for group in side] for side in groups]
    position = len(names) - 1 - max_conflicts
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        chunk = slice(start, start + PAIRS_AT_ONCE)
        q, g = rows[chunk], columns[chunk]
        smaller = [
            np.where(ours[q] != theirs[g], np.minimum(our_confidence[q], their_confidence[g]), 0)
            for (ours, our_confidence), (theirs, their_confidence) in zip(*predictions, strict=True)
        ]
        limits[chunk] = np.partition(np.stack(smaller), position, axis=0)[position]
    return limits


def true_pairs(query: IdentifiedCrops, gallery: IdentifiedCrops) -> tuple[Int64Array, Int64Array]:
    """Return the query rows and gallery rows of all true matches on another camera; distractors have none."""
    order = np.argsort(gallery.pids, kind="stable")
    ranked = gallery.pids[order]
    first, last = (np.searchsorted(ranked, query.pids, side=side) for side in ("left", "right"))
    counts = np.where(query.pids > 0, last - first, 0)
    rows = np.repeat(np.arange(len(query.pids)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    matches = order[first[rows] + within]
    elsewhere = query.camids[rows] != gallery.camids[matches]
    return rows[elsewhere], matches[elsewhere]


def _identity_miss_rates(
    limits: Float32Array, rows: Int64Array, query_pids: Int64Array, thresholds: Float64Array
) -> tuple[Int64Array, Float64Array]:
    """Return identities (I,) and their miss rates (I, T) from the limit and query row of each true pair."""
    pids, owners = np.unique(query_pids[rows], return_inverse=True)
    matches = np.bincount(rows)
    queries = np.bincount(np.searchsorted(pids, query_pids[np.unique(rows)]), minlength=len(pids))
    weights = 1.0 / (matches[rows] * queries[owners])
    # A pair is discarded at the first `discarded` thresholds; summed from the right, a row can only fall.
    discarded = np.searchsorted(thresholds.astype(np.float32), limits, side="right")
    width = len(thresholds) + 1
    mass = np.bincount(owners * width + discarded, weights=weights, minlength=len(pids) * width)
    sums = np.cumsum(mass.reshape(len(pids), width)[:, :0:-1], axis=1)[:, ::-1]
    return pids, np.minimum(sums, 1.0)


def _sample_different_people(
    query: IdentifiedCrops, gallery: IdentifiedCrops, seed: int
) -> tuple[Int64Array, Int64Array]:
    """Sample pairs of different people; a gallery crop may be a distractor, but not junk."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, len(side.pids), SAMPLED_PAIRS) for side in (query, gallery))
    ours, theirs = query.pids[rows], gallery.pids[columns]
    different = (ours != theirs) & (ours > 0) & (theirs >= 0)
    if not different.any():
        raise ConfigError("a filter cannot be calibrated: query and gallery show one person only")
    return rows[different], columns[different]
