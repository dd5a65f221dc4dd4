"""What the attribute filter loses and keeps at every threshold, measured on identities whose true matches are known.

A pair of crops meets the filter at one number: an attribute on which both differ discards the pair as long as the
smaller of the two confidences reaches the threshold, so the pair is discarded up to the threshold t = the largest of
these smaller confidences (with `max_conflicts` = c the (c + 1)-th largest), and every curve is a count of such t.

The loss of an identity is the mean, over its queries, of the share of their true matches that are discarded. It falls
with the threshold, as conformal risk control needs it to: a pair that a threshold spares is spared by all higher
ones. Crops that come back because a filter leaves `least_kept` crops are counted as lost here. They depend on the
gallery that happens to be searched, and only lower the loss, so the bound holds for the real filter too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

OFF = 1.01
"""No confidence reaches this threshold: the filter is off."""
_COARSE = np.arange(0.01, 0.9, 0.01)
_FINE = 1.0 - np.geomspace(0.1, 1e-4, 61)
TAUS: Doubles = np.round(np.concatenate([_COARSE, _FINE, [1.0, OFF]]), 5)
"""The thresholds of a curve, ascending: finer where calibrated confidences crowd, `OFF` last."""
SAMPLED = 200_000
"""Pairs of different people that the kept fraction is measured on."""
PAIRS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """N crops: `pids` and `camids` (N,) int64 (pid 0 a distractor, -1 junk), calibrated `probabilities` (N, M)."""

    pids: Rows
    camids: Rows
    probabilities: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterCurve:
    """Loss and kept share at T thresholds.

    Attributes:
        taus: (T,) float64 thresholds, ascending, the last of them `OFF`.
        losses: (I, T) float64, loss of each identity, falling along a row to 0.
        pids: (I,) int64, whose they are.
        kept: (T,) float64, share of other people's crops that the filter leaves.
    """

    taus: Doubles
    losses: Doubles
    pids: Rows
    kept: Doubles


def measure_curve(
    query: People,
    gallery: People,
    schema: AttributeSchema,
    *,
    names: Sequence[str] = (),
    max_conflicts: int = 0,
    taus: Doubles = TAUS,
    seed: int = 0,
) -> FilterCurve:
    """Measure the filter on queries and a gallery; they may be the same crops.

    Memory is O(true pairs + identities x T).

    Raises:
        ConfigError: no query has a true match on another camera, or nobody else is in the gallery.
    """
    rows, matches = true_pairs(query, gallery)
    if not len(rows):
        raise ConfigError("a filter cannot be calibrated: no query has a true match on another camera")
    limits = pair_limits(query, gallery, rows, matches, schema, names=names, max_conflicts=max_conflicts)
    pids, losses = _identity_losses(limits, rows, query.pids, taus)
    left, right = _strangers(query, gallery, seed)
    between = pair_limits(query, gallery, left, right, schema, names=names, max_conflicts=max_conflicts)
    kept = np.searchsorted(np.sort(between), taus.astype(np.float32), side="left") / len(between)
    return FilterCurve(taus=taus, losses=losses, pids=pids, kept=kept)


def pair_limits(
    query: People,
    gallery: People,
    rows: Rows,
    columns: Rows,
    schema: AttributeSchema,
    *,
    names: Sequence[str] = (),
    max_conflicts: int = 0,
) -> Floats:
    """(P,) float32: up to which threshold the filter discards each pair of a query row and a gallery row; 0 for pairs
    that it never discards."""
    names = names or schema.names
    limits = np.zeros(len(rows), dtype=np.float32)
    if max_conflicts >= len(names):
        return limits
    said = [[_said(people.probabilities[:, schema.slice(name)]) for name in names] for people in (query, gallery)]
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        smaller = [
            np.where(ours[rows[some]] != theirs[columns[some]], np.minimum(p[rows[some]], q[columns[some]]), 0)
            for (ours, p), (theirs, q) in zip(*said, strict=True)
        ]
        place = len(names) - 1 - max_conflicts
        limits[some] = np.partition(np.stack(smaller), place, axis=0)[place]
    return limits


def true_pairs(query: People, gallery: People) -> tuple[Rows, Rows]:
    """Rows of the queries and of the gallery crops that show the same person on another camera; no distractors."""
    order = np.argsort(gallery.pids, kind="stable")
    ranked = gallery.pids[order]
    first, last = (np.searchsorted(ranked, query.pids, side=side) for side in ("left", "right"))
    counts = np.where(query.pids > 0, last - first, 0)
    rows = np.repeat(np.arange(len(query.pids)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    matches = order[first[rows] + within]
    elsewhere = query.camids[rows] != gallery.camids[matches]
    return rows[elsewhere], matches[elsewhere]


def _said(group: Floats) -> tuple[Rows, Floats]:
    return group.argmax(axis=1), group.max(axis=1)


def _identity_losses(limits: Floats, rows: Rows, query_pids: Rows, taus: Doubles) -> tuple[Rows, Doubles]:
    """Identities (I,) and their losses (I, T) from each true pair's limit and query row."""
    pids, whose = np.unique(query_pids[rows], return_inverse=True)
    matches = np.bincount(rows)
    queries = np.bincount(np.searchsorted(pids, query_pids[np.unique(rows)]), minlength=len(pids))
    weights = 1.0 / (matches[rows] * queries[whose])
    # A pair is discarded at the first `discarded` thresholds; summed from the right, a row can only fall.
    discarded = np.searchsorted(taus.astype(np.float32), limits, side="right")
    width = len(taus) + 1
    mass = np.bincount(whose * width + discarded, weights=weights, minlength=len(pids) * width)
    sums = np.cumsum(mass.reshape(len(pids), width)[:, :0:-1], axis=1)[:, ::-1]
    return pids, np.minimum(sums, 1.0)


def _strangers(query: People, gallery: People, seed: int) -> tuple[Rows, Rows]:
    """Random pairs of different people: distractors are somebody, junk is nobody."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, len(people.pids), SAMPLED) for people in (query, gallery))
    ours, theirs = query.pids[rows], gallery.pids[columns]
    apart = (ours != theirs) & (ours > 0) & (theirs >= 0)
    if not apart.any():
        raise ConfigError("a filter cannot be calibrated on one person: nobody else is in the gallery")
    return rows[apart], columns[apart]
