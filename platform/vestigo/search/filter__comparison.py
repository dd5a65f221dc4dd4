"""What is compared with what: queries of one model, the crops in scope, and a filter between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vestigo.ranking.top_k import Batch
from vestigo.search.filter import ArchiveFilter, SoftFilter, decide
from vestigo.search.gallery import Advance, Archive, Scope, descriptor_batches, probability_batches, require_attributes
from vestigo.search.gallery__appearance import Appearance
from vestigo.store.runs.records import Model
from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration

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
