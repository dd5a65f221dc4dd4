"""The tables of the catalogue.

model ◄── run ◄── shard ◄── input            inputs are planned once per fingerprint
  ▲         │       ▲  ▲
  │         │       │  └── frame_failure
  │         └── data_file                    a row of Parquet exists only through a row here
promotion                                    history of the serving model
camera, ranking
label_project ◄── label_batch ◄── label_task ◄── label_answer
                      └── data_file          inclusion probability of every task
label_set ── data_file                       versions of the labels
audit ── audit_head                          a chain of digests, and its end
verdict                                      every verdict; the newest counts
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, ForeignKey, Index, Integer, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

SCHEMA_REVISION = "0006"
"""The Alembic revision that these tables describe."""

# Partial indexes name their condition for SQLite only: migrations create them on both databases, and a condition for
# PostgreSQL would import its dialect in every command.

# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
RowId = BigInteger().with_variant(Integer, "sqlite")
Id = Annotated[int, mapped_column(RowId, primary_key=True)]
BigInt = Annotated[int, mapped_column(BigInteger)]
Choice = Annotated[str, mapped_column(String(16))]
Digest = Annotated[str, mapped_column(String(64))]


class Instant(TypeDecorator[datetime]):
    """A point in time, timezone-aware UTC in Python; SQLite by itself drops the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the time in UTC; refuse times without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the time in UTC."""
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class JsonTuple(TypeDecorator[tuple[Any, ...]]):
    """A tuple that is stored as a JSON list."""

    impl = JSON
    cache_ok = True

    def process_result_value(self, value: list[Any] | None, _dialect: Dialect) -> tuple[Any, ...] | None:
        """Return the tuple."""
        return None if value is None else tuple(value)


class Base(DeclarativeBase):
    """Base of the tables: `ModelRow` is a row of the table `model`; every constraint is named for the migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: Instant(),
        dict[str, Any]: JSON(),
        tuple[str, ...]: JsonTuple(),
        tuple[float, ...]: JsonTuple(),
        float: Double(),
    }

    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805  (a class method of SQLAlchemy)
        return re.sub("(?<!^)([A-Z])", r"_\1", cls.__name__.removesuffix("Row")).lower()


class ModelRow(Base):
    """A model version; see `vestigo.store.models.records.Model` for the JSON columns."""

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    location: Mapped[str]
    registered: Mapped[datetime]
    facts: Mapped[dict[str, Any]]
    parent: Mapped[Digest | None]
    origin: Mapped[dict[str, Any]]
    scores: Mapped[dict[str, Any]]


class PromotionRow(Base):
    """A change of the serving model; `kind` is `promotion` or `rollback`."""

    id: Mapped[Id]
    kind: Mapped[Choice]
    model: Mapped[str | None] = mapped_column("model_digest", ForeignKey("model.digest"))
    before: Mapped[str | None] = mapped_column("before_digest", ForeignKey("model.digest"))
    at: Mapped[datetime]
    by: Mapped[str]
    reasons: Mapped[tuple[str, ...]]


class RunRow(Base):
    """A run; `config` holds everything that `fingerprint` is a digest of."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created: Mapped[datetime]
    finished: Mapped[datetime | None]
    status: Mapped[Choice]
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    config: Mapped[dict[str, Any]]
    model: Mapped[str] = mapped_column("model_digest", ForeignKey("model.digest"))
    command: Mapped[str]
    replaces: Mapped[bool]
    planned: Mapped[bool]
    planned_inputs: Mapped[BigInt]
    cancel_requested: Mapped[bool]
    host: Mapped[str | None]
    pid: Mapped[int | None]
    heartbeat: Mapped[datetime | None]
    seconds: Mapped[float]
    error: Mapped[str | None]


class ShardRow(Base):
    """The unit of work, of retry and of commit."""

    __table_args__ = (
        Index("ix_shard_run_state_position", "run_id", "state", "position"),
        Index("ix_shard_run_after", "run_id", "after"),
        # An assembly has no input whose key prevents planning it twice.
        Index("uq_shard_assembly", "run_id", "after", unique=True, sqlite_where=text("kind = 'assembly'")),
    )

    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"))
    position: Mapped[BigInt]
    kind: Mapped[Choice]
    source: Mapped[str]
    after: Mapped[str | None]
    spec: Mapped[dict[str, Any]]
    state: Mapped[Choice]
    attempts: Mapped[int]


class InputRow(Base):
    """An image file, archive member or video slice, and its outcome.

    A `retired` input was replaced by a run under another fingerprint. Its rows are hidden, also in a file that other
    inputs share.
    """

    __table_args__ = (
        Index("ix_input_shard_position", "shard_id", "position"),
        # SQLite uses a partial index only for a condition that is spelled as in the query.
        Index("uq_input_key_fingerprint", "key", "fingerprint", unique=True, sqlite_where=text("retired = 0")),
        # Few inputs are retired, and readers select all of them.
        Index("ix_input_retired", "shard_id", sqlite_where=text("retired = 1")),
        Index("ix_input_quarantined", "shard_id", sqlite_where=text("state = 'quarantined'")),
    )

    id: Mapped[Id]
    shard_id: Mapped[int] = mapped_column(ForeignKey("shard.id"))
    position: Mapped[int]
    name: Mapped[str]
    key: Mapped[str]
    fingerprint: Mapped[Digest]
    state: Mapped[Choice]
    rows: Mapped[BigInt]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    retired: Mapped[bool]


class FrameFailureRow(Base):
    """A frame that failed in an input that did not."""

    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    shard_id: Mapped[int] = mapped_column(ForeignKey("shard.id"))
    input: Mapped[str]
    frame: Mapped[BigInt]
    reason: Mapped[str]
    detail: Mapped[str]


class DataFileRow(Base):
    """An immutable Parquet file; readers use `cameras` and times to skip it without opening it.

    State: `staged` (its run replaces others and has not finished), `visible`, `retired` (replaced, still on disk),
    `removed`. Files of rankings, samples and label sets have no run.
    """

    __table_args__ = (Index("ix_data_file_kind_state", "kind", "state"),)

    id: Mapped[Id]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id"), index=True)
    shard_id: Mapped[int | None] = mapped_column(ForeignKey("shard.id"), index=True)
    kind: Mapped[Choice]
    path: Mapped[str] = mapped_column(unique=True)
    rows: Mapped[BigInt]
    bytes: Mapped[BigInt]
    checksum: Mapped[Digest]
    schema_version: Mapped[int]
    cameras: Mapped[tuple[str, ...]]
    first_time: Mapped[datetime | None]
    last_time: Mapped[datetime | None]
    state: Mapped[Choice]
    retired: Mapped[datetime | None]


class CameraRow(Base):
    """A camera, and the seconds that are added to the times that it recorded."""

    name: Mapped[str] = mapped_column(primary_key=True)
    clock_offset_s: Mapped[float]


class RankingRow(Base):
    """A saved ranking; rankings of older stores have no `settings` ({}) and no `queries_file_id`."""

    name: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    model: Mapped[str] = mapped_column("model_digest", ForeignKey("model.digest"))
    queries: Mapped[BigInt]
    settings: Mapped[dict[str, Any]]
    data_file_id: Mapped[int] = mapped_column(ForeignKey("data_file.id"))
    queries_file_id: Mapped[int | None] = mapped_column(ForeignKey("data_file.id"))


class LabelProjectRow(Base):
    """A review project; `schema` is JSON of the attribute schema, `server` and `remote_id` name it in Label Studio."""

    name: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    schema: Mapped[dict[str, Any]]
    server: Mapped[str | None]
    remote_id: Mapped[BigInt | None]


class LabelBatchRow(Base):
    """A sample; see `vestigo.store.review.records.SamplingDesign`. `data_file_id` is null for imported tasks."""

    id: Mapped[Id]
    project: Mapped[str] = mapped_column(ForeignKey("label_project.name"), index=True)
    created: Mapped[datetime]
    model: Mapped[str] = mapped_column("model_digest", ForeignKey("model.digest"))
    strategy: Mapped[str]
    unit: Mapped[Choice]
    budget: Mapped[BigInt]
    seed: Mapped[BigInt]
    population: Mapped[BigInt]
    thinned: Mapped[float]
    data_file_id: Mapped[int | None] = mapped_column(ForeignKey("data_file.id"))


class LabelTaskRow(Base):
    """A task: some crops of one person and a model's prediction.

    State: `drawn` (not on the server yet), `pushed`, `deleted` (on the server), `imported`.
    """

    __table_args__ = (
        Index("uq_label_task_project_key", "project", "key", unique=True),
        Index("ix_label_task_batch_id_position", "batch_id", "position"),
    )

    id: Mapped[Id]
    project: Mapped[str] = mapped_column(ForeignKey("label_project.name"))
    key: Mapped[str] = mapped_column(String(40))
    sample: Mapped[int] = mapped_column("batch_id", ForeignKey("label_batch.id"))
    position: Mapped[BigInt]
    source: Mapped[str]
    tracklet: Mapped[str]
    camera: Mapped[str]
    time: Mapped[datetime | None]
    pid: Mapped[int | None]
    crops: Mapped[tuple[str, ...]]
    prediction: Mapped[tuple[float, ...]]
    state: Mapped[Choice]
    remote_id: Mapped[BigInt | None]


class LabelAnswerRow(Base):
    """An annotation; `answers` is JSON of the value, or "cannot tell", by attribute."""

    __table_args__ = (Index("uq_label_answer_task_id_remote_id", "task_id", "remote_id", unique=True),)

    id: Mapped[Id]
    task_id: Mapped[int] = mapped_column(ForeignKey("label_task.id"))
    remote_id: Mapped[BigInt]
    annotator: Mapped[str] = mapped_column("reviewer")
    answered: Mapped[datetime]
    answers: Mapped[dict[str, Any]]


class LabelSetRow(Base):
    """A version of all labels; `digest` is that of its rows."""

    version: Mapped[Id]
    created: Mapped[datetime]
    digest: Mapped[Digest]
    labels: Mapped[BigInt]
    tasks: Mapped[BigInt]
    projects: Mapped[tuple[str, ...]]
    data_file_id: Mapped[int] = mapped_column(ForeignKey("data_file.id"))


class AuditRow(Base):
    """An audit entry; `id` counts from 1 without a gap, `previous` is the `digest` of the entry before."""

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    user: Mapped[str] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(32))
    snapshot: Mapped[Digest]
    case: Mapped[str | None] = mapped_column("case_number", index=True)
    authority: Mapped[str | None]
    details: Mapped[dict[str, Any]]
    previous: Mapped[Digest]
    digest: Mapped[Digest]


class AuditHeadRow(Base):
    """Number of entries and digest of the last one; the only row, created with the table."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[BigInt]
    digest: Mapped[Digest]


class VerdictRow(Base):
    """A verdict on a crop as a result of `query`; null withdraws the verdict before."""

    __table_args__ = (Index("ix_verdict_query_crop", "query", "crop"),)

    id: Mapped[Id]
    at: Mapped[datetime]
    user: Mapped[str]
    case: Mapped[str | None] = mapped_column("case_number")
    query: Mapped[Digest]
    crop: Mapped[str]
    verdict: Mapped[Choice | None]
    note: Mapped[str | None]
