"""The registry of models in the catalogue: where each came from, how it was judged, and which one serves.

Promotions form a stack: each names what served before it, a rollback takes the last one in force off again, and the
newest row of both kinds says what serves now. Nothing is ever deleted: the rows are the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.runs.queries import NEWEST_FIRST, to_model, to_run
from vestigo.store.runs.records import Model, Promotion, Run
from vestigo.store.sql.review_tables import PromotionRow
from vestigo.store.sql.tables import DataFileRow, InputRow, ModelRow, RunRow, ShardRow
from vestigo_models.errors import StoreError

SHORT = 12
"""Digits of a digest that are shown to people."""
SHORTEST_PREFIX = 6
HEX = frozenset("0123456789abcdef")


def model_row(session: Session, digest: str, *, lock: bool = False) -> ModelRow:
    """Return a model's row; with `lock` no other transaction changes it meanwhile. Raises StoreError."""
    row = session.get(ModelRow, digest, with_for_update=lock)
    if row is None:
        raise StoreError(f"model {digest[:SHORT]} is not in the registry: `vestigo models list` names those that are")
    return row


def find_model(session: Session, ref: str) -> Model | None:
    """Return the model of a name, a digest, or the beginning of one digest; None where there is none.

    Raises StoreError, listing the digests, for a name or a beginning that several models share.
    """
    found = session.scalars(select(ModelRow).where(ModelRow.name == ref).order_by(*NEWEST_FIRST)).all()
    if not found and SHORTEST_PREFIX <= len(ref) <= 64 and HEX.issuperset(ref):
        beginning = ModelRow.digest.startswith(ref)
        found = session.scalars(select(ModelRow).where(beginning).order_by(*NEWEST_FIRST)).all()
    if len(found) > 1:
        listed = ", ".join(f"{row.digest[:SHORT]} of {row.registered:%Y-%m-%d %H:%M}" for row in found)
        raise StoreError(f"{len(found)} models of the registry are called {ref}: name one by its digest ({listed})")
    return to_model(found[0]) if found else None


def record_training(session: Session, digest: str, parent: str | None, origin: dict[str, Any]) -> None:
    """Write down what a model was trained from and how. Raises StoreError for an unknown model."""
    row = model_row(session, digest, lock=True)
    row.parent, row.origin = parent, dict(origin)


def record_scores(session: Session, digest: str, scores: dict[str, Any]) -> None:
    """Add to how a model was judged; a key that is there gets its new value. Raises StoreError for an unknown model."""
    row = model_row(session, digest, lock=True)
    row.scores = {**row.scores, **scores}


def serving(session: Session) -> str | None:
    """Return the digest of the model that serves, None while no promotion is in force."""
    return session.scalar(select(PromotionRow.model_digest).order_by(PromotionRow.id.desc()).limit(1))


def promote(session: Session, digest: str, by: str, reasons: Sequence[str], expected_before: str | None) -> Promotion:
    """Let a model serve, in the place of `expected_before`.

    Raises StoreError for an unknown model, one that serves already, or where another one serves meanwhile.
    """
    _wait_for_turn(session)
    row = model_row(session, digest)
    before = serving(session)
    if before == digest:
        raise StoreError(f"model {row.name} ({digest[:SHORT]}) serves already")
    if before != expected_before:
        raise StoreError(
            f"{_named(session, before)} serves by now, not {_named(session, expected_before)} that "
            f"{row.name} ({digest[:SHORT]}) was to follow: compare with that one first"
        )
    return _add(session, "promotion", digest, before, by, reasons)


def rollback(session: Session, by: str, reasons: Sequence[str], expected: str | None = None) -> Promotion:
    """Take back the last promotion in force: what served before it serves again.

    Raises StoreError where no promotion is in force, or it is of another model than `expected`.
    """
    _wait_for_turn(session)
    in_force: list[PromotionRow] = []
    for row in session.scalars(select(PromotionRow).order_by(PromotionRow.id)):
        if row.kind == "promotion":
            in_force.append(row)
        else:
            in_force.pop()
    if not in_force:
        raise StoreError("there is nothing to roll back: no promotion is in force (see `vestigo models list`)")
    last = in_force[-1]
    if expected not in (None, last.model_digest):
        raise StoreError(
            f"{_named(session, last.model_digest)} serves by now, not {_named(session, expected)}: look again before "
            "you roll back"
        )
    return _add(session, "rollback", last.before_digest, last.model_digest, by, reasons)


def promotions(session: Session) -> list[Promotion]:
    """Return all promotions and rollbacks, oldest first."""
    return [_to_promotion(row) for row in session.scalars(select(PromotionRow).order_by(PromotionRow.id))]


def crop_counts(session: Session) -> dict[str, int]:
    """Return how many crops of each model are visible, by digest; models without any are left out."""
    shown = DataFileRow.kind == "crops", DataFileRow.state == "visible"
    files = select(RunRow.model_digest, func.sum(DataFileRow.rows)).join(RunRow, RunRow.id == DataFileRow.run_id)
    counts = {model: int(rows) for model, rows in session.execute(files.where(*shown).group_by(RunRow.model_digest))}
    # Files that are shared with inputs which stay still hold the rows of replaced ones.
    shared = select(DataFileRow.shard_id, RunRow.model_digest).join(RunRow, RunRow.id == DataFileRow.run_id)
    file = shared.where(*shown).distinct().subquery()
    replaced = (
        select(file.c.model_digest, func.sum(InputRow.rows))
        .join(file, file.c.shard_id == InputRow.shard_id)
        .where(InputRow.retired)
        .group_by(file.c.model_digest)
    )
    for model, rows in session.execute(replaced):
        counts[model] -= int(rows)
    return {model: rows for model, rows in counts.items() if rows > 0}


def stale_runs(session: Session, model: str) -> list[Run]:
    """Return the runs that left crops of other models than `model` which nothing has replaced, oldest first."""
    left = exists().where(
        ShardRow.run_id == RunRow.id,
        InputRow.shard_id == ShardRow.id,
        InputRow.state == "done",
        InputRow.rows > 0,
        ~InputRow.retired,
    )
    query = select(RunRow).where(RunRow.model_digest != model, left).order_by(RunRow.created, RunRow.id)
    return [run for run in map(to_run, session.scalars(query)) if run.kind == "index"]


def _wait_for_turn(session: Session) -> None:
    # SQLite admits a single writer anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"LOCK TABLE {PromotionRow.__tablename__} IN EXCLUSIVE MODE"))


def _add(
    session: Session, kind: str, model: str | None, before: str | None, by: str, reasons: Sequence[str]
) -> Promotion:
    now = datetime.now(UTC)
    row = PromotionRow(kind=kind, model_digest=model, before_digest=before, at=now, by=by, reasons=list(reasons))
    session.add(row)
    session.flush()
    fault_point(f"{kind}.inside")
    return _to_promotion(row)


def _named(session: Session, digest: str | None) -> str:
    row = None if digest is None else session.get(ModelRow, digest)
    return "no promoted model" if row is None else f"{row.name} ({row.digest[:SHORT]})"


def _to_promotion(row: PromotionRow) -> Promotion:
    return Promotion(row.kind, row.model_digest, row.before_digest, row.at, row.by, tuple(row.reasons))  # type: ignore[arg-type]
