"""Apply the attribute filter to a gallery that is never held in memory, as in docs/method.md, "Attribute filter".

Which crops are kept for a query depends on the whole gallery: if too few crops would be kept, the best of the others
are restored. The predictions are therefore read first, in a pass that reads nothing else, and the result is one cut
for each query: a crop is kept if (conflicts, penalty, crop id) does not come after it. Packs are then ranked behind
that cut, and their boundaries change nothing.

Symbols: Q queries, n crops of a batch, M classes, G crops of the gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vestigo.ranking.top_k import GalleryPart, Ranking, rank
from vestigo.resolve import require_attributes
from vestigo.retrieval.gallery import Gallery, Scope
from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt64Array
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import (
    count_conflicts,
    encode_predictions,
    least_kept,
    penalty_of_words,
    without_conflict,
)
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.schemas.attributes import AttributeSchema


class PredictedCrops(Protocol):
    """n crops as a filter reads them; `vestigo.vectors.index.Selection` is one."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> NDArray[np.bytes_]:
        """Ids, (n,)."""

    def reliable_words(self, _schema: AttributeSchema, _threshold: float, _names: Sequence[str]) -> UInt64Array:
        """Return the words of `encode_predictions`, (n,)."""

    def predictions(self, chosen: Int64Array | slice = slice(None)) -> tuple[UInt64Array, Float32Array]:
        """Return words of `predicted_words` and confidences of some of the crops."""


CropScan = Callable[[], Iterable[PredictedCrops]]
"""Begins a pass over the gallery."""

PenaltyList = tuple[Float32Array, NDArray[np.bytes_]]
"""Penalties and ids of some crops."""

NO_FILTER = FilterConfig()
FEW_QUERIES = 8
"""For more queries than this, equal words are counted once."""
RESTORED_AT_ONCE = 1 << 23
"""Restored crops are selected in several passes if the queries need more of them than this at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryRule:
    """The rule by which a filter compares crops with Q queries."""

    choice: FilterChoice
    schema: AttributeSchema
    probabilities: Float32Array  # (Q, M) float32 of the queries

    @cached_property
    def query_words(self) -> UInt64Array:
        """Reliable predictions of the queries as words (Q,)."""
        return encode_predictions(self.probabilities, self.schema, self.choice.threshold, self.choice.names)

    def words(self, crops: PredictedCrops) -> UInt64Array:
        """Return the reliable predictions of n crops as words (n,)."""
        return crops.reliable_words(self.schema, self.choice.threshold, self.choice.names)

    def penalties_of(
        self, queries: slice | Int64Array, crops: PredictedCrops, chosen: slice | Int64Array = slice(None)
    ) -> Float32Array:
        """Return the penalties (q, n) of the conflicts of some queries and some crops."""
        words, confidences = crops.predictions(chosen)
        ours = self.probabilities[queries]
        return penalty_of_words(ours, words, confidences, self.schema, self.choice.threshold, self.choice.names)


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
        cls, choice: FilterChoice, schema: AttributeSchema, probabilities: Float32Array, scan: CropScan
    ) -> GalleryFilter:
        """Decide for (Q, M) queries in one pass over the gallery, and in further ones if crops are restored.

        Memory is O(Q x attributes + batch), and 1 % of the gallery for each query that would keep less.
        """
        rule = QueryRule(choice=choice, schema=schema, probabilities=probabilities)
        kept, compared = _count_kept(rule, scan())
        least = least_kept(compared)
        below = np.full(len(probabilities), choice.max_conflicts + 1)
        penalties = np.full(len(probabilities), -np.inf, dtype=np.float32)
        ids = np.zeros(len(probabilities), dtype="S1")
        few = np.flatnonzero(kept < least)
        size = max(1, RESTORED_AT_ONCE // max(1, least))
        for start in range(0, len(few), size):
            rows = few[start : start + size]
            reach = np.cumsum(_conflict_counts(rule, rows, scan()), axis=1)
            below[rows] = level = (reach < least).sum(axis=1)
            missing = least - np.where(level > 0, reach[np.arange(len(rows)), np.maximum(level - 1, 0)], 0)
            cuts = _cuts(rule, rows, level, missing, scan())
            ids = ids.astype(np.promote_types(ids.dtype, cuts[1].dtype))
            penalties[rows], ids[rows] = cuts
        kept[few] = least
        return cls(
            choice=choice,
            schema=schema,
            probabilities=probabilities,
            below=below,
            penalties=penalties,
            ids=ids,
            kept=kept,
            compared=compared,
        )

    @property
    def kept_fraction(self) -> float:
        """Share of the gallery that is kept, mean over the queries; 1 without queries or crops."""
        return float(self.kept.mean() / self.compared) if self.compared and len(self.kept) else 1.0

    def keeps(self, crops: PredictedCrops, queries: slice) -> BoolArray:
        """Return which crops some queries keep, (q, n)."""
        words = self.words(crops)
        below, restoring = self.below[queries], np.flatnonzero(self.penalties[queries] > -np.inf)
        if not len(restoring) and (below == 1).all():
            return without_conflict(self.query_words[queries], words, self.schema)
        counts = count_conflicts(self.query_words[queries], words, self.schema)
        is_kept: BoolArray = counts < below[:, None]
        for query in restoring:
            at_level = np.flatnonzero(counts[query] == below[query])
            position = (queries.start or 0) + query
            penalties = self.penalties_of(np.array([position]), crops, at_level)[0]
            cut, last = self.penalties[position], self.ids[position]
            before = (penalties < cut) | ((penalties == cut) & (crops.ids[at_level] <= last))
            is_kept[query, at_level[before]] = True
        return is_kept


class SoftFilter(QueryRule):
    """The filter that discards nothing: conflicts add to the distance."""

    kept_fraction = 1.0

    def added_distances(self, crops: PredictedCrops, queries: slice) -> Float64Array:
        """Return what the distances of crops from some queries increase by, (q, n): the weighted penalty."""
        return self.choice.weight * self.penalties_of(queries, crops).astype(np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilteredScan:
    """Reads a gallery for `rank`, behind an attribute filter; it can be read repeatedly."""

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
            scan = partial(gallery.select, scope, "attributes", progress, predictions=True)
            attribute_filter = GalleryFilter.of(choice, schema, queries.probabilities, scan)
        return cls(gallery=gallery, scope=scope, choice=choice, filter=attribute_filter, progress=progress)

    @property
    def kept_fraction(self) -> float:
        """Share of the gallery that is kept, mean over the queries."""
        return 1.0 if self.filter is None else self.filter.kept_fraction

    def parts(self) -> Iterator[GalleryPart]:
        """Yield the gallery."""
        selections = self.gallery.select(self.scope, "crops", self.progress, predictions=self.filter is not None)
        for crops in selections:
            yield GalleryPart(
                ids=crops.pack.ids,
                crops=crops.pack.crops,
                rows=crops.rows,
                keeps=partial(self.filter.keeps, crops) if isinstance(self.filter, GalleryFilter) else None,
                added=partial(self.filter.added_distances, crops) if isinstance(self.filter, SoftFilter) else None,
                release=partial(self.gallery.index.release, crops.pack),
            )

    def rank(self, queries: Descriptors, k: int) -> Ranking:
        """Rank the gallery for queries without the bias of their cameras."""
        return rank(queries, self.parts(), k, bias=self.gallery.index.bias)


def _count_kept(rule: QueryRule, crops: Iterable[PredictedCrops]) -> tuple[Int64Array, int]:
    """Return how many crops have few enough conflicts with each query, (Q,), and the number of crops."""
    kept = np.zeros(len(rule.probabilities), dtype=np.int64)
    query_words, most = rule.query_words, rule.choice.max_conflicts
    compared = 0
    for selection in crops:
        words = rule.words(selection)
        for query, word in enumerate(query_words[:, None]):
            if most:
                kept[query] += np.count_nonzero(count_conflicts(word, words, rule.schema) <= most)
            else:
                kept[query] += np.count_nonzero(without_conflict(word, words, rule.schema))
        compared += len(selection)
    return kept, compared


def _conflict_counts(rule: QueryRule, rows: Int64Array, crops: Iterable[PredictedCrops]) -> Int64Array:
    """Return how many crops have 0, 1, ... conflicts with each of the q queries `rows`, (q, attributes + 1)."""
    width = len(rule.schema) + 1
    counts = np.zeros((len(rows), width), dtype=np.int64)
    query_words = rule.query_words[rows]
    for selection in crops:
        words, weights = rule.words(selection), None
        if len(rows) > FEW_QUERIES:
            # Crops with the same word have the same conflicts.
            words, weights = np.unique(words, return_counts=True)
        for query, word in enumerate(query_words[:, None]):
            of_query = count_conflicts(word, words, rule.schema)[0]
            counts[query] += np.bincount(of_query, weights, width).astype(np.int64)
    return counts


def _cuts(
    rule: QueryRule, rows: Int64Array, level: Int64Array, missing: Int64Array, crops: Iterable[PredictedCrops]
) -> PenaltyList:
    """Return penalty and id of the last crop that is restored for each of the q queries `rows`.

    Restored are the first `missing` crops, by penalty and id, with `level` conflicts.
    """
    first: list[PenaltyList] = [(np.empty(0, np.float32), np.empty(0, "S1")) for _ in rows]
    query_words = rule.query_words[rows]
    for selection in crops:
        counts = count_conflicts(query_words, rule.words(selection), rule.schema)
        for position, at_level in enumerate(counts == level[:, None]):
            places = np.flatnonzero(at_level)
            if len(places):
                penalties = rule.penalties_of(rows[[position]], selection, places)[0]
                first[position] = _first(first[position], (penalties, selection.ids[places]), int(missing[position]))
    last = [(penalties[-1], names[-1]) for penalties, names in first]
    return np.array([pair[0] for pair in last], np.float32), np.array([pair[1] for pair in last], "S")


def _first(held: PenaltyList, more: PenaltyList, count: int) -> PenaltyList:
    """Return the first `count` of both, by penalty and then by id."""
    penalties, names = np.concatenate([held[0], more[0]]), np.concatenate([held[1], more[1]])
    if len(penalties) > count:
        near = penalties <= np.partition(penalties, count - 1)[count - 1]
        penalties, names = penalties[near], names[near]
    order = np.lexsort((names, penalties))[:count]
    return penalties[order], names[order]
