"""The attribute filter over an archive that is never held in memory (specification, section 11).

What stays for a query is decided by the whole archive in scope: where too few crops would stay, the best of the others
come back. So the attributes are looked at first, in a pass of their own that reads nothing else, and what they decide
is kept as one cut a query: a crop stays if (conflicts, penalty, crop id) does not come after it. Batches are then
ranked behind that cut, and their boundaries change nothing.

Symbols: Q queries, n crops of a batch, M classes, G crops in scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ranking.top_k import QUERIES_AT_ONCE, Batch, Extra
from vestigo.search.gallery import (
    Advance,
    Appearance,
    Archive,
    Scope,
    descriptor_batches,
    probability_batches,
    require_attributes,
)
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import conflict_penalty, count_conflicts, encode_predictions, least_kept
from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float32]
Attributes = Callable[[], Iterable[tuple[pa.Array, Floats]]]
"""Begins a pass over the archive: crop ids with their (n, M) calibrated probabilities."""

RETURNING_AT_ONCE = 1 << 23
"""Crops that come back are looked for in several passes where the queries would want more of them than this at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArchiveFilter:
    """A filter whose decisions about Q queries and one archive are made.

    Attributes:
        probabilities: (Q, M) of the queries.
        below: (Q,) int64; crops with fewer conflicts stay.
        penalties, ids: (Q,) float32 and bytes; of the crops with exactly `below` conflicts those stay whose penalty and
            id do not come after these. Minus infinity and b"" where none does.
        kept: (Q,) int64, crops that stay.
        compared: G.
    """

    choice: FilterChoice
    schema: AttributeSchema
    probabilities: Floats
    below: NDArray[np.int64]
    penalties: Floats
    ids: NDArray[np.bytes_]
    kept: NDArray[np.int64]
    compared: int

    @classmethod
    def of(
        cls, choice: FilterChoice, schema: AttributeSchema, probabilities: Floats, attributes: Attributes
    ) -> ArchiveFilter:
        """Decide about (Q, M) queries in one pass over the archive, and in further ones where crops come back.

        Memory is O(Q x attributes + batch), and beside that what comes back: 1 % of the archive for each query that
        would keep less.
        """
        counts, compared = _conflict_counts(choice, schema, probabilities, attributes())
        reach = np.cumsum(counts, axis=1)
        kept = reach[:, min(choice.max_conflicts, len(schema))]
        least = least_kept(compared)
        below = np.full(len(probabilities), choice.max_conflicts + 1)
        penalties = np.full(len(probabilities), -np.inf, dtype=np.float32)
        ids = np.zeros(len(probabilities), dtype="S1")
        few = np.flatnonzero(kept < least)
        below[few] = (reach[few] < least).sum(axis=1)
        missing = least - np.where(below > 0, reach[np.arange(len(reach)), np.maximum(below - 1, 0)], 0)
        lot = max(1, RETURNING_AT_ONCE // max(1, least))
        for start in range(0, len(few), lot):
            some = few[start : start + lot]
            cuts = _cuts(choice, schema, probabilities[some], below[some], missing[some], attributes())
            ids = ids.astype(np.promote_types(ids.dtype, cuts[1].dtype))
            penalties[some], ids[some] = cuts
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
        """Share of the archive that stays, mean over the queries; 1 without any query or crop."""
        return float(self.kept.mean() / self.compared) if self.compared and len(self.kept) else 1.0

    def extra(self, ids: pa.Array, probabilities: Floats) -> Extra:
        """What the ranking of a batch adds to its distances: nothing, or infinity for what does not stay."""
        names = _names(ids)
        words = encode_predictions(probabilities, self.schema, self.choice.threshold, self.choice.names)

        def of(some: slice) -> NDArray[np.float64]:
            asked = self.probabilities[some]
            ours = encode_predictions(asked, self.schema, self.choice.threshold, self.choice.names)
            counts = count_conflicts(ours, words, self.schema)
            stays = counts < self.below[some, None]
            returning = np.flatnonzero(self.penalties[some] > -np.inf)
            if len(returning):
                cut, last = self.penalties[some][returning, None], self.ids[some][returning, None]
                penalties = _penalties(self.choice, self.schema, asked[returning], probabilities)
                before = (penalties < cut) | ((penalties == cut) & (names <= last))
                stays[returning] |= before & (counts[returning] == self.below[some][returning, None])
            return np.where(stays, 0.0, np.inf)

        return of


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftFilter:
    """The filter that discards nothing: conflicts add to the distance. `probabilities` (Q, M) are the queries'."""

    choice: FilterChoice
    schema: AttributeSchema
    probabilities: Floats

    kept_fraction = 1.0

    def extra(self, ids: pa.Array, probabilities: Floats) -> Extra:
        """What the ranking of a batch adds to its distances: the weighted penalty."""

        def of(some: slice) -> NDArray[np.float64]:
            penalties = _penalties(self.choice, self.schema, self.probabilities[some], probabilities)
            return self.choice.weight * penalties.astype(np.float64)

        return of


def decide(
    choice: FilterChoice, schema: AttributeSchema, probabilities: Floats, attributes: Attributes
) -> ArchiveFilter | SoftFilter | None:
    """Make a filter's decisions about queries (Q, M) and an archive; None for one that is off."""
    if choice.mode == "soft":
        return SoftFilter(choice=choice, schema=schema, probabilities=probabilities)
    return ArchiveFilter.of(choice, schema, probabilities, attributes) if choice.discards else None


def _conflict_counts(
    choice: FilterChoice, schema: AttributeSchema, queries: Floats, batches: Iterable[tuple[pa.Array, Floats]]
) -> tuple[NDArray[np.int64], int]:
    """How many crops have 0, 1, ... conflicts with each query, (Q, attributes + 1), and how many crops there are."""
    width = len(schema) + 1
    counts = np.zeros((len(queries), width), dtype=np.int64)
    ours = encode_predictions(queries, schema, choice.threshold, choice.names)
    compared = 0
    for _, probabilities in batches:
        # Crops of one word are decided about together.
        words, crops = np.unique(
            encode_predictions(probabilities, schema, choice.threshold, choice.names), return_counts=True
        )
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            found = count_conflicts(ours[start : start + QUERIES_AT_ONCE], words, schema)
            for number in range(width):
                counts[start : start + QUERIES_AT_ONCE, number] += (found == number) @ crops
        compared += len(probabilities)
    return counts, compared


def _cuts(
    choice: FilterChoice,
    schema: AttributeSchema,
    queries: Floats,
    level: NDArray[np.int64],
    missing: NDArray[np.int64],
    batches: Iterable[tuple[pa.Array, Floats]],
) -> tuple[Floats, NDArray[np.bytes_]]:
    """Of each of q queries: penalty and id of the last of the `missing` first crops, by these two, with `level`
    conflicts."""
    found: list[tuple[Floats, NDArray[np.bytes_]]] = [(np.empty(0, np.float32), np.empty(0, "S1")) for _ in queries]
    ours = encode_predictions(queries, schema, choice.threshold, choice.names)
    for ids, probabilities in batches:
        names = _names(ids)
        counts = count_conflicts(
            ours, encode_predictions(probabilities, schema, choice.threshold, choice.names), schema
        )
        for row, at_level in enumerate(counts == level[:, None]):
            places = np.flatnonzero(at_level)
            if len(places):
                penalties = _penalties(choice, schema, queries[[row]], probabilities[places])[0]
                found[row] = _first(found[row], (penalties, names[places]), int(missing[row]))
    last = [(penalties[-1], names[-1]) for penalties, names in found]
    return np.array([pair[0] for pair in last], np.float32), np.array([pair[1] for pair in last], "S")


def _first(
    held: tuple[Floats, NDArray[np.bytes_]], more: tuple[Floats, NDArray[np.bytes_]], count: int
) -> tuple[Floats, NDArray[np.bytes_]]:
    """The first `count` of both, by penalty and then by id."""
    penalties, names = np.concatenate([held[0], more[0]]), np.concatenate([held[1], more[1]])
    order = np.lexsort((names, penalties))[:count]
    return penalties[order], names[order]


def _penalties(choice: FilterChoice, schema: AttributeSchema, queries: Floats, crops: Floats) -> Floats:
    return conflict_penalty(queries, crops, schema, choice.threshold, choice.names)


def _names(ids: pa.Array) -> NDArray[np.bytes_]:
    return np.asarray(ids.to_numpy(zero_copy_only=False).astype("S"))


NO_FILTER = FilterConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Queries and an archive, with the filter's decisions made; `batches` may be gone through again and again, and
    `advance` hears how far each pass is."""

    archive: Archive
    model: Model
    queries: Appearance
    scope: Scope
    choice: FilterChoice
    decided: ArchiveFilter | SoftFilter | None
    advance: Advance | None = None

    @classmethod
    def of(
        cls,
        archive: Archive,
        model: Model,
        queries: Appearance,
        scope: Scope,
        config: FilterConfig = NO_FILTER,
        advance: Advance | None = None,
    ) -> Comparison:
        """Decide what the filter does, which takes passes over the archive's attributes where it can discard.

        Raises:
            UsageError: a filter or a condition, and a model without attributes.
            ConfigError: the filter needs a calibration that the model does not have.
        """
        if config.filter.strip().lower() != "off":
            require_attributes(model)
        choice = choose_filter(config, Calibration.read(model.facts.calibration))
        decided: ArchiveFilter | SoftFilter | None = None
        if choice.mode != "off":
            schema = require_attributes(model)
            decided = decide(
                choice,
                schema,
                queries.probabilities,
                lambda: probability_batches(archive, model, scope, advance=advance),
            )
        return cls(
            archive=archive,
            model=model,
            queries=queries,
            scope=scope,
            choice=choice,
            decided=decided,
            advance=advance,
        )

    @property
    def kept_fraction(self) -> float:
        """Share of the crops in scope that stays, mean over the queries."""
        return 1.0 if self.decided is None else self.decided.kept_fraction

    def batches(self) -> Iterator[Batch]:
        """Go through the crops in scope."""
        decided = self.decided
        for ids, looks in descriptor_batches(
            self.archive, self.model, self.scope, attributes=decided is not None, advance=self.advance
        ):
            extra = None if decided is None else decided.extra(ids, looks.probabilities)
            yield Batch(ids=ids, crops=looks.descriptors, extra=extra)
