"""The store as the registry of models: which there are, where they came from, how good they are, which one serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from vestigo.store.audit import log as audit_log
from vestigo.store.crops import visible
from vestigo.store.faults import fault_point
from vestigo.store.models import registry
from vestigo.store.runs.records import Model, Promotion, Run
from vestigo.store.runs.repository import DrivingStore
from vestigo_models.errors import StoreError


class RegistryStore(DrivingStore):
    """Models are named by digest; every method that changes something is one transaction. `models` and
    `register_model` are those of `DrivingStore`."""

    def find_model(self, ref: str) -> Model | None:
        """Return the model of a name, a digest, or at least 6 digits that one digest begins with; None without one.

        Raises StoreError, listing the digests, where several models fit.
        """
        with self._db.read() as session:
            return registry.find_model(session, ref)

    def record_training(self, digest: str, parent: str | None, origin: dict[str, Any]) -> None:
        """Write down what a model was trained from and how (JSON). Raises StoreError for an unknown model."""
        with self._db.write() as session:
            registry.record_training(session, digest, parent, origin)

    def record_scores(self, digest: str, scores: dict[str, Any]) -> None:
        """Add JSON to how a model was judged, key by key; see `vestigo.promotion.judge`.

        Raises StoreError for an unknown model.
        """
        with self._db.write() as session:
            registry.record_scores(session, digest, scores)

    def serving(self) -> str | None:
        """Return the digest of the model that serves, None while no promotion is in force."""
        with self._db.read() as session:
            return registry.serving(session)

    def promote(
        self,
        digest: str,
        *,
        by: str,
        reasons: Sequence[str],
        expected_before: str | None,
        account: str | None = None,
        case: str | None = None,
        authority: str | None = None,
    ) -> Promotion:
        """Let a model serve in the place of `expected_before`, what `serving` gave when it was judged.

        `by` decides; the audit log, which gets its entry with it, names `account`, the same by default.

        Raises StoreError for an unknown model, one that serves already, or where another one was promoted meanwhile.
        """
        fault_point("promotion.before")
        with self._db.write() as session:
            made = registry.promote(session, digest, by, reasons, expected_before)
            _add_entry(session, made, account or by, case, authority)
        fault_point("promotion.after")
        return made

    def rollback(
        self,
        *,
        by: str,
        reasons: Sequence[str],
        expected: str | None = None,
        account: str | None = None,
        case: str | None = None,
        authority: str | None = None,
    ) -> Promotion:
        """Take back the last promotion in force; what served before it serves again. Who is named: see `promote`.

        Raises StoreError where there is none, or where another model than `expected` serves meanwhile.
        """
        fault_point("rollback.before")
        with self._db.write() as session:
            made = registry.rollback(session, by, reasons, expected)
            _add_entry(session, made, account or by, case, authority)
        fault_point("rollback.after")
        return made

    def promotions(self) -> list[Promotion]:
        """Return all promotions and rollbacks, oldest first."""
        with self._db.read() as session:
            return registry.promotions(session)

    def models_with_crops(self) -> list[Model]:
        """Return the models that have visible crops: the one that serves first, then the newest.

        Raises StoreError where there is none.
        """
        counts, serving = self.crop_counts(), self.serving()
        found = [model for model in self.models() if model.digest in counts]
        if not found:
            raise StoreError(f"store {self.ref} holds no crops yet: index an archive first (`vestigo index`)")
        return sorted(found, key=lambda model: model.digest != serving)

    def crop_counts(self) -> dict[str, int]:
        """Return how many crops of each model are visible, by digest; models without any are left out."""
        with self._db.read() as session:
            return registry.crop_counts(session)

    def stale_runs(self, model: str) -> list[Run]:
        """Return the runs that left crops of other models than `model` which nothing has replaced, oldest first."""
        with self._db.read() as session:
            return registry.stale_runs(session, model)


def _add_entry(session: Session, made: Promotion, account: str, case: str | None, authority: str | None) -> None:
    audit_log.append(
        session,
        user=account,
        action="promote" if made.kind == "promotion" else "rollback",
        snapshot=visible.snapshot(session),
        case=case,
        authority=authority,
        details={"model": made.model, "before": made.before, "by": made.by, "reasons": list(made.reasons)},
    )
