"""The catalogue's tables of accountability: who did what and saw what, and what people decided about results.

audit ── audit_head      a chain of digests, and where it ends
verdict                  every decision that was ever made; the newest counts
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from vestigo.store.sql.tables import Base, RowId


class AuditRow(Base):
    """One entry of the audit log; `id` counts from 1 without a gap, `previous` is the `digest` of the entry before."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    user: Mapped[str] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(32))
    snapshot: Mapped[str] = mapped_column(String(64))
    case_number: Mapped[str | None] = mapped_column(index=True)
    authority: Mapped[str | None]
    details: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """How many entries the log has, and the digest of the last; the only row, made together with the table."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))


class VerdictRow(Base):
    """What somebody decided about a crop as an answer to `query`; a `verdict` of null takes the one before back."""

    __tablename__ = "verdict"
    __table_args__ = (Index("ix_verdict_query_crop", "query", "crop"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[datetime]
    user: Mapped[str]
    case_number: Mapped[str | None]
    query: Mapped[str] = mapped_column(String(64))
    crop: Mapped[str]
    verdict: Mapped[str | None] = mapped_column(String(16))
    note: Mapped[str | None]
