"""Models in the store: registered, scored, promoted.

Promotions form a stack: each names the model that served before it, and a rollback takes the last one in force off the
stack. The newest row, promotion or rollback, names the serving model. Rows are never deleted: they are the history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Unpack

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from vestigo.store.audit.log import AuditContext, append_entry
from vestigo.store.audit.records import AuditAction
from vestigo.store.faults import fault_point
from vestigo.store.models.records import Model, ModelFacts, Promotion, promotions_in_force
from vestigo.store.runs.rows import visible_files
from vestigo.store.sql.database import Database, to_record, upsert
from vestigo.store.sql.tables import DataFileRow, InputRow, ModelRow, PromotionRow, RunRow
from vestigo_models.errors import StoreError

SHORT = 12
"""Shown digits of a digest."""
SHORTEST_PREFIX = 6
HEX = frozenset("0123456789abcdef")
NEWEST_FIRST = (ModelRow.registered.desc(), ModelRow.digest)


@dataclass(frozen=True)
class ModelRepository:
    """The models of a store, named by digest; an unknown digest raises `StoreError`.

    Every method that changes something is one transaction.
    """

    database: Database

    def register(self, digest: str, *, name: str, location: str, facts: ModelFacts | None = None) -> None:
        """Register a model; a registered one takes the new name and location, and new facts if they are given."""
        latest: dict[str, Any] = {"name": name, "location": location}
        if facts is not None:
            latest["facts"] = facts.to_dict()
        new = {"digest": digest, "registered": datetime.now(UTC), "facts": {}, "origin": {}, "scores": {}}

        def put(session: Session) -> None:
            row = upsert(session, ModelRow).values(new | latest)
            session.execute(row.on_conflict_do_update(index_elements=["digest"], set_=latest))

        self.database.change(put)

    def list(self) -> Sequence[Model]:
        """Return the models, newest first."""
        return [_to_model(row) for row in self.database.scalars(select(ModelRow).order_by(*NEWEST_FIRST))]

    def with_crops(self) -> Sequence[Model]:
        """Return the models that have visible crops: the serving model first, then the newest.

        Raises:
            StoreError: If the store holds no crops.
        """
        counts, serving = self.crop_counts(), self.serving()
        models = [model for model in self.list() if model.digest in counts]
        if not models:
            raise StoreError("the store holds no crops yet: index an archive first (`vestigo index`)")
        return sorted(models, key=lambda model: model.digest != serving)

    def find(self, ref: str) -> Model | None:
        """Return the model with a name, a digest, or the first 6 or more digits of one; None if there is none.

        Raises:
            StoreError: If several models match; the message lists their digests.
        """
        models = select(ModelRow).order_by(*NEWEST_FIRST)
        rows = self.database.scalars(models.where(ModelRow.name == ref))
        if not rows and SHORTEST_PREFIX <= len(ref) <= 64 and HEX.issuperset(ref):
            rows = self.database.scalars(models.where(ModelRow.digest.startswith(ref)))
        if len(rows) > 1:
            listed = ", ".join(f"{row.digest[:SHORT]} of {row.registered:%Y-%m-%d %H:%M}" for row in rows)
            raise StoreError(f"{len(rows)} models of the registry are called {ref}: name one by its digest ({listed})")
        return _to_model(rows[0]) if rows else None

    def record_training(self, digest: str, parent: str | None, origin: dict[str, Any]) -> None:
        """Record the parent of a model and, as JSON, how it was trained."""

        def change(session: Session) -> None:
            row = _model_row(session, digest, lock=True)
            row.parent, row.origin = parent, dict(origin)

        self.database.change(change)

    def record_scores(self, digest: str, scores: dict[str, Any]) -> None:
        """Add scores to a model, as JSON by key (see `vestigo.promotion.judge`); an existing key is replaced."""

        def change(session: Session) -> None:
            row = _model_row(session, digest, lock=True)
            row.scores = {**row.scores, **scores}

        self.database.change(change)

    def crop_counts(self) -> dict[str, int]:
        """Return the number of visible crops of each model, by digest; without models that have none."""
        rows = visible_files("crops", RunRow.model, func.sum(DataFileRow.rows)).group_by(RunRow.model)
        # A file that holds rows of other inputs too keeps the rows of replaced inputs.
        shard = visible_files("crops", DataFileRow.shard_id, RunRow.model).distinct().subquery()
        replaced = (
            select(shard.c.model, func.sum(InputRow.rows))
            .join(shard, shard.c.shard_id == InputRow.shard_id)
            .where(InputRow.retired)
            .group_by(shard.c.model)
        )

        def count(session: Session) -> dict[str, int]:
            counts = {model: int(count) for model, count in session.execute(rows)}
            for model, hidden in session.execute(replaced):
                counts[model] -= int(hidden)
            return {model: count for model, count in counts.items() if count > 0}

        return self.database.fetch(count)

    def serving(self) -> str | None:
        """Return the digest of the serving model, None while no promotion is in force."""
        return self.database.fetch(_serving)

    def promotions(self) -> Sequence[Promotion]:
        """Return all promotions and rollbacks, oldest first."""
        return self.database.fetch(_promotions)

    def promote(
        self,
        digest: str,
        *,
        by: str,
        reasons: Sequence[str],
        expected_before: str | None,
        account: str | None = None,
        **context: Unpack[AuditContext],
    ) -> Promotion:
        """Make a model the serving model, and add the audit entry in the same transaction.

        The audit entry names `account`, by default `by`, the person who decides. `expected_before` is the digest of the
        model that served when the model was judged, None for no promoted model.

        Raises:
            StoreError: If the model is not registered or serves already, or another one than `expected_before` serves.
        """

        def decide(session: Session) -> Promotion:
            row = _model_row(session, digest)
            before = _serving(session)
            if before == digest:
                raise StoreError(f"model {row.name} ({digest[:SHORT]}) serves already")
            if before != expected_before:
                raise StoreError(
                    f"{_named(session, before)} serves by now, not {_named(session, expected_before)} that "
                    f"{row.name} ({digest[:SHORT]}) was to follow: compare with that one first"
                )
            return Promotion("promotion", digest, before, datetime.now(UTC), by, tuple(reasons))

        return self._change("promotion", decide, account or by, context)

    def rollback(
        self,
        *,
        by: str,
        reasons: Sequence[str],
        expected: str | None = None,
        account: str | None = None,
        **context: Unpack[AuditContext],
    ) -> Promotion:
        """Undo the last promotion in force, and add the audit entry in the same transaction.

        Raises:
            StoreError: If no promotion is in force, or another model than `expected` (by default any) serves.
        """

        def decide(session: Session) -> Promotion:
            in_force = promotions_in_force(_promotions(session))
            if not in_force:
                raise StoreError("there is nothing to roll back: no promotion is in force (see `vestigo models list`)")
            last = in_force[-1]
            if expected not in (None, last.model):
                raise StoreError(
                    f"{_named(session, last.model)} serves by now, not {_named(session, expected)}: look again before "
                    "you roll back"
                )
            return Promotion("rollback", last.before, last.model, datetime.now(UTC), by, tuple(reasons))

        return self._change("rollback", decide, account or by, context)

    def _change(
        self, kind: str, decide: Callable[[Session], Promotion], account: str, context: AuditContext
    ) -> Promotion:
        """Record the change of the serving model that `decide` returns, and its audit entry, in one transaction."""
        fault_point(f"{kind}.before")

        def record(session: Session) -> Promotion:
            # SQLite admits a single writer anyway.
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text(f"LOCK TABLE {PromotionRow.__tablename__} IN EXCLUSIVE MODE"))
            change = decide(session)
            session.add(PromotionRow(**vars(change)))
            session.flush()
            fault_point(f"{kind}.inside")
            action: AuditAction = "promote" if kind == "promotion" else "rollback"
            details = {"model": change.model, "before": change.before, "by": change.by, "reasons": change.reasons}
            append_entry(session, user=account, action=action, details=details, **context)
            return change

        promotion = self.database.change(record)
        fault_point(f"{kind}.after")
        return promotion


def _model_row(session: Session, digest: str, *, lock: bool = False) -> ModelRow:
    row = session.get(ModelRow, digest, with_for_update=lock)
    if row is None:
        raise StoreError(f"model {digest[:SHORT]} is not in the registry: `vestigo models list` names those that are")
    return row


def _serving(session: Session) -> str | None:
    return session.scalar(select(PromotionRow.model).order_by(PromotionRow.id.desc()).limit(1))


def _promotions(session: Session) -> list[Promotion]:
    return [to_record(Promotion, row) for row in session.scalars(select(PromotionRow).order_by(PromotionRow.id))]


def _named(session: Session, digest: str | None) -> str:
    row = None if digest is None else session.get(ModelRow, digest)
    return "no promoted model" if row is None else f"{row.name} ({row.digest[:SHORT]})"


def _to_model(row: ModelRow) -> Model:
    return to_record(Model, row, facts=ModelFacts.from_dict(row.facts, row.name))
