"""The catalogue's tables of review: what reviewers were asked, what they answered, and which labels followed.

label_project ◄── label_batch ◄── label_task ◄── label_answer      the server's truth, as it was last seen
                      │
                      └── data_file (draw)                          how likely every task was drawn
label_set ── data_file (labels)                                    what was agreed on, kept for ever
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from vestigo.store.sql.tables import Base, RowId


class LabelProjectRow(Base):
    """A project of review; `schema` is JSON of the attribute schema, `server` and `remote_id` where Label Studio has
    it (null for labels that came from files)."""

    __tablename__ = "label_project"

    name: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    schema: Mapped[dict[str, Any]]
    server: Mapped[str | None]
    remote_id: Mapped[int | None] = mapped_column(BigInteger)


class LabelBatchRow(Base):
    """One draw; `population` tasks could be drawn, after thinning the archive to the share `thinned` of its tasks.

    `data_file_id` is null for what was imported: nobody drew it.
    """

    __tablename__ = "label_batch"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("label_project.name"), index=True)
    created: Mapped[datetime]
    model_digest: Mapped[str] = mapped_column(ForeignKey("model.digest"))
    strategy: Mapped[str]
    unit: Mapped[str] = mapped_column(String(16))
    budget: Mapped[int] = mapped_column(BigInteger)
    seed: Mapped[int] = mapped_column(BigInteger)
    population: Mapped[int] = mapped_column(BigInteger)
    thinned: Mapped[float]
    data_file_id: Mapped[int | None] = mapped_column(ForeignKey("data_file.id"))


class LabelTaskRow(Base):
    """What a reviewer is asked about: some crops of one person, and what a model said of them.

    State: `drawn` (not on the server yet), `pushed`, `deleted` (on the server, by somebody there), `imported`.
    """

    __tablename__ = "label_task"
    __table_args__ = (
        Index("uq_label_task_project_key", "project", "key", unique=True),
        Index("ix_label_task_batch_id_position", "batch_id", "position"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project: Mapped[str] = mapped_column(ForeignKey("label_project.name"))
    key: Mapped[str] = mapped_column(String(40))
    batch_id: Mapped[int] = mapped_column(ForeignKey("label_batch.id"))
    position: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str]
    tracklet: Mapped[str]
    camera: Mapped[str]
    time: Mapped[datetime | None]
    pid: Mapped[int | None]
    crops: Mapped[list[str]]
    prediction: Mapped[list[Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    remote_id: Mapped[int | None] = mapped_column(BigInteger)


class LabelAnswerRow(Base):
    """What one reviewer answered; `answers` is attribute to value or "cannot tell"."""

    __tablename__ = "label_answer"
    __table_args__ = (Index("uq_label_answer_task_id_remote_id", "task_id", "remote_id", unique=True),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("label_task.id"))
    remote_id: Mapped[int] = mapped_column(BigInteger)
    reviewer: Mapped[str]
    answered: Mapped[datetime]
    answers: Mapped[dict[str, Any]]


class LabelSetRow(Base):
    """A version of all agreed labels; `digest` is that of its rows."""

    __tablename__ = "label_set"

    version: Mapped[int] = mapped_column(RowId, primary_key=True)
    created: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    labels: Mapped[int] = mapped_column(BigInteger)
    tasks: Mapped[int] = mapped_column(BigInteger)
    projects: Mapped[list[str]]
    data_file_id: Mapped[int] = mapped_column(ForeignKey("data_file.id"))


class PromotionRow(Base):
    """A change of the model that serves; by `kind` it is a `promotion`, or a `rollback` of the last one in force."""

    __tablename__ = "promotion"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    model_digest: Mapped[str | None] = mapped_column(ForeignKey("model.digest"))
    before_digest: Mapped[str | None] = mapped_column(ForeignKey("model.digest"))
    at: Mapped[datetime]
    by: Mapped[str]
    reasons: Mapped[list[str]]
