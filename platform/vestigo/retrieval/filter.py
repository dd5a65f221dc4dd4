"""Apply the attribute filter to a gallery that is never held in memory, as in docs/method.md, "Attribute filter".

Which crops are kept for a query depends on the whole gallery: if too few crops would be kept, the best of the others
are restored. The attributes are therefore scanned first, in a pass that reads nothing else, and the result is one cut
for each query: a crop is kept if (conflicts, penalty, crop id) does not come after it. Batches are then ranked behind
that cut, and their boundaries change nothing.

Symbols: Q queries, n crops of a batch, M classes, G crops of the gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ranking.top_k import QUERIES_AT_ONCE, AddedDistances, GalleryBatch, encode_ids
from vestigo.resolve import require_attributes
from vestigo.retrieval.gallery import DESCRIPTOR_COLUMNS, Gallery, Scope, probability_batches, scan_gallery
from vestigo_models.arrays import Float32Array, Float64Array, Int64Array, UInt64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import conflict_penalty, count_conflicts, encode_predictions, least_kept
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.schemas.attributes import AttributeSchema

ProbabilityScan = Callable[[], Iterable[tuple[pa.Array, Float32Array]]]
"""Begins a pass over the gallery: crop ids with their (n, M) calibrated probabilities."""

PenaltyList = tuple[Float32Array, NDArray[np.bytes_]]
"""Penalties and ids of some crops."""

NO_FILTER = FilterConfig()
RESTORED_AT_ONCE = 1 << 23
"""Restored crops are selected in several passes if the queries need more of them than this at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryRule:
    """The rule by which a filter compares crops with Q queries."""

    choice: FilterChoice
    schema: AttributeSchema
    probabilities: Float32Array  # (Q, M) float32 of the queries

    def encode(self, probabilities: Float32Array) -> UInt64Array:
        """Return the reliable predictions of n crops, or queries, as words (n,)."""
        return encode_predictions(probabilities, self.schema, self.choice.threshold, self.choice.names)

    def penalize(self, queries: Float32Array, crops: Float32Array) -> Float32Array:
        """Return the penalties (q, n) of the conflicts of q queries and n crops."""
        return conflict_penalty(queries, crops, self.schema, self.choice.threshold, self.choice.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryFilter(QueryRule):
    """Which crops of one gallery a discarding filter keeps for Q queries."""

    below: Int64Array  # (Q,) int64; crops with fewer conflicts are kept
    # (Q,) of the crops with exactly `below` conflicts those are kept whose penalty and id do not come after these;
    # minus infinity and b"" to keep none
    penalties: Float32Array
    ids: NDArray[np.bytes_]
    kept: Int64Array  # (Q,) int64, number of kept crops
    compared: int  # G

    @classmethod
    def of(
        cls, choice: FilterChoice, schema: AttributeSchema, probabilities: Float32Array, scan: ProbabilityScan
    ) -> GalleryFilter:
        """Decide for (Q, M) queries in one pass over the gallery, and in further ones if crops are restored.

        Memory is O(Q x attributes + batch), and 1 % of the gallery for each query that would keep less.
        """
        rule = QueryRule(choice=choice, schema=schema, probabilities=probabilities)
        counts, compared = _conflict_counts(rule, scan())
        reach = np.cumsum(counts, axis=1)
        kept = reach[:, min(choice.max_conflicts, len(schema))]
        least = least_kept(compared)
        below = np.full(len(probabilities), choice.max_conflicts + 1)
        penalties = np.full(len(probabilities), -np.inf, dtype=np.float32)
        ids = np.zeros(len(probabilities), dtype="S1")
        few = np.flatnonzero(kept < least)
        below[few] = (reach[few] < least).sum(axis=1)
        missing = least - np.where(below > 0, reach[np.arange(len(reach)), np.maximum(below - 1, 0)], 0)
        size = max(1, RESTORED_AT_ONCE // max(1, least))
        for start in range(0, len(few), size):
            rows = few[start : start + size]
            cuts = _cuts(rule, rows, below[rows], missing[rows], scan())
            ids = ids.astype(np.promote_types(ids.dtype, cuts[1].dtype))
            penalties[rows], ids[rows] = cuts
        kept[few] = least
        return cls(**vars(rule), below=below, penalties=penalties, ids=ids, kept=kept, compared=compared)

    @property
    def kept_fraction(self) -> float:
        """Share of the gallery that is kept, mean over the queries; 1 without queries or crops."""
        return float(self.kept.mean() / self.compared) if self.compared and len(self.kept) else 1.0

    def added_distances(self, ids: pa.Array, probabilities: Float32Array) -> AddedDistances:
        """Return what a batch's distances increase by: zero for kept crops, infinity for discarded ones."""
        names = encode_ids(ids)
        words = self.encode(probabilities)

        def added(rows: slice) -> Float64Array:
            counts = count_conflicts(self.encode(self.probabilities[rows]), words, self.schema)
            is_kept = counts < self.below[rows, None]
            restoring = np.flatnonzero(self.penalties[rows] > -np.inf)
            if len(restoring):
                cut, last = self.penalties[rows][restoring, None], self.ids[rows][restoring, None]
                penalties = self.penalize(self.probabilities[rows][restoring], probabilities)
                before = (penalties < cut) | ((penalties == cut) & (names <= last))
                is_kept[restoring] |= before & (counts[restoring] == self.below[rows][restoring, None])
            return np.where(is_kept, 0.0, np.inf)

        return added


class SoftFilter(QueryRule):
    """The filter that discards nothing: conflicts add to the distance."""

    kept_fraction = 1.0

    def added_distances(self, _ids: pa.Array, probabilities: Float32Array) -> AddedDistances:
        """Return what a batch's distances increase by: the weighted penalty."""

        def added(rows: slice) -> Float64Array:
            return self.choice.weight * self.penalize(self.probabilities[rows], probabilities).astype(np.float64)

        return added


@dataclass(frozen=True, kw_only=True, eq=False)
class FilteredScan:
    """Reads a gallery in batches for `rank`, behind an attribute filter; it can be read repeatedly."""

    gallery: Gallery
    scope: Scope
    choice: FilterChoice
    filter: GalleryFilter | SoftFilter | None
    progress: OpenProgress = ignore_stages

    @classmethod
    def of(
        cls,
        gallery: Gallery,
        queries: CropFeatures,
        scope: Scope,
        config: FilterConfig = NO_FILTER,
        progress: OpenProgress = ignore_stages,
    ) -> FilteredScan:
        """Decide what the filter does, which scans the gallery's attributes if it discards crops.

        Raises:
            UsageError: If the model predicts no attributes and a filter or condition is given.
            ConfigError: If the filter needs a calibration that the model does not have, or a condition is unknown.
        """
        model = gallery.model
        if scope.where:
            require_attributes(model).parse(scope.where)
        if config.filter.strip().lower() != "off":
            require_attributes(model)
        choice = choose_filter(config, Calibration.read(model.facts.calibration))
        attribute_filter: GalleryFilter | SoftFilter | None = None
        if choice.mode == "soft":
            schema = require_attributes(model)
            attribute_filter = SoftFilter(choice=choice, schema=schema, probabilities=queries.probabilities)
        elif choice.discards:
            schema = require_attributes(model)
            scan = partial(probability_batches, gallery.store, model, scope, progress=progress)
            attribute_filter = GalleryFilter.of(choice, schema, queries.probabilities, scan)
        return cls(gallery=gallery, scope=scope, choice=choice, filter=attribute_filter, progress=progress)

    @property
    def kept_fraction(self) -> float:
        """Share of the gallery that is kept, mean over the queries."""
        return 1.0 if self.filter is None else self.filter.kept_fraction

    def batches(self) -> Iterator[GalleryBatch]:
        """Yield the gallery."""
        columns = ("crop_id", *DESCRIPTOR_COLUMNS, *(("attributes",) if self.filter else ()))
        for batch in scan_gallery(self.gallery.store, self.gallery.model, self.scope, columns, "crops", self.progress):
            ids, features = batch.column("crop_id"), self.gallery.batch_features(batch, attributes=bool(self.filter))
            added = self.filter.added_distances(ids, features.probabilities) if self.filter else None
            yield GalleryBatch(ids=ids, descriptors=features.descriptors, added=added)


def _conflict_counts(rule: QueryRule, batches: Iterable[tuple[pa.Array, Float32Array]]) -> tuple[Int64Array, int]:
    """Return how many crops have 0, 1, ... conflicts with each query, (Q, attributes + 1), and the number of crops."""
    width = len(rule.schema) + 1
    counts = np.zeros((len(rule.probabilities), width), dtype=np.int64)
    query_words = rule.encode(rule.probabilities)
    compared = 0
    for _, probabilities in batches:
        # Crops with the same word have the same conflicts.
        words, crops = np.unique(rule.encode(probabilities), return_counts=True)
        for start in range(0, len(counts), QUERIES_AT_ONCE):
            part = count_conflicts(query_words[start : start + QUERIES_AT_ONCE], words, rule.schema)
            for number in range(width):
                counts[start : start + QUERIES_AT_ONCE, number] += (part == number) @ crops
        compared += len(probabilities)
    return counts, compared


def _cuts(
    rule: QueryRule,
    rows: Int64Array,
    level: Int64Array,
    missing: Int64Array,
    batches: Iterable[tuple[pa.Array, Float32Array]],
) -> PenaltyList:
    """Return penalty and id of the last crop that is restored for each of the q queries `rows`.

    Restored are the first `missing` crops, by penalty and id, with `level` conflicts.
    """
    first: list[PenaltyList] = [(np.empty(0, np.float32), np.empty(0, "S1")) for _ in rows]
    query_words = rule.encode(rule.probabilities[rows])
    for ids, probabilities in batches:
        names = encode_ids(ids)
        counts = count_conflicts(query_words, rule.encode(probabilities), rule.schema)
        for position, at_level in enumerate(counts == level[:, None]):
            places = np.flatnonzero(at_level)
            if len(places):
                penalties = rule.penalize(rule.probabilities[rows[[position]]], probabilities[places])[0]
                first[position] = _first(first[position], (penalties, names[places]), int(missing[position]))
    last = [(penalties[-1], names[-1]) for penalties, names in first]
    return np.array([pair[0] for pair in last], np.float32), np.array([pair[1] for pair in last], "S")


def _first(held: PenaltyList, more: PenaltyList, count: int) -> PenaltyList:
    """Return the first `count` of both, by penalty and then by id."""
    penalties, names = np.concatenate([held[0], more[0]]), np.concatenate([held[1], more[1]])
    order = np.lexsort((names, penalties))[:count]
    return penalties[order], names[order]
