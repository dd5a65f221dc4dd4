"""The catalogue: models, runs, shards, inputs, files, failures, cameras, rankings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def where(sqlite: str, postgresql: str) -> dict[str, sa.TextClause]:
    # SQLite uses a partial index only for a condition that is spelled as in the query.
    return {"sqlite_where": sa.text(sqlite), "postgresql_where": sa.text(postgresql)}


def upgrade() -> None:
    op.create_table(
        "camera",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("clock_offset_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_camera"),
    )
    op.create_table(
        "model",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("registered", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_model"),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("created", INSTANT, nullable=False),
        sa.Column("finished", INSTANT, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("replaces", sa.Boolean(), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("planned_inputs", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("host", sa.String(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("heartbeat", INSTANT, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name="fk_run_model_digest_model"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_index("ix_run_fingerprint", "run", ["fingerprint"])

    op.create_table(
        "shard",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_shard_run_id_run"),
        sa.PrimaryKeyConstraint("id", name="pk_shard"),
    )
    op.create_index("ix_shard_run_after", "shard", ["run_id", "after"])
    op.create_index("ix_shard_run_state_position", "shard", ["run_id", "state", "position"])
    op.create_index(
        "uq_shard_assembly",
        "shard",
        ["run_id", "after"],
        unique=True,
        **where("kind = 'assembly'", "kind = 'assembly'"),
    )

    op.create_table(
        "data_file",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("shard_id", ROW_ID, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("cameras", sa.JSON(), nullable=False),
        sa.Column("first_time", INSTANT, nullable=True),
        sa.Column("last_time", INSTANT, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("retired", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_data_file_run_id_run"),
        sa.ForeignKeyConstraint(["shard_id"], ["shard.id"], name="fk_data_file_shard_id_shard"),
        sa.PrimaryKeyConstraint("id", name="pk_data_file"),
        sa.UniqueConstraint("path", name="uq_data_file_path"),
    )
    op.create_index("ix_data_file_kind_state", "data_file", ["kind", "state"])
    op.create_index("ix_data_file_run_id", "data_file", ["run_id"])
    op.create_index("ix_data_file_shard_id", "data_file", ["shard_id"])

    op.create_table(
        "frame_failure",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("shard_id", ROW_ID, nullable=False),
        sa.Column("input", sa.String(), nullable=False),
        sa.Column("frame", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_frame_failure_run_id_run"),
        sa.ForeignKeyConstraint(["shard_id"], ["shard.id"], name="fk_frame_failure_shard_id_shard"),
        sa.PrimaryKeyConstraint("id", name="pk_frame_failure"),
    )
    op.create_index("ix_frame_failure_run_id", "frame_failure", ["run_id"])

    op.create_table(
        "input",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("shard_id", ROW_ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["shard_id"], ["shard.id"], name="fk_input_shard_id_shard"),
        sa.PrimaryKeyConstraint("id", name="pk_input"),
    )
    op.create_index("ix_input_shard_position", "input", ["shard_id", "position"])
    op.create_index(
        "uq_input_key_fingerprint", "input", ["key", "fingerprint"], unique=True, **where("retired = 0", "NOT retired")
    )
    op.create_index("ix_input_retired", "input", ["shard_id"], **where("retired = 1", "retired"))

    op.create_table(
        "ranking",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", INSTANT, nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("queries", sa.BigInteger(), nullable=False),
        sa.Column("data_file_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["data_file_id"], ["data_file.id"], name="fk_ranking_data_file_id_data_file"),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name="fk_ranking_model_digest_model"),
        sa.PrimaryKeyConstraint("name", name="pk_ranking"),
    )


def downgrade() -> None:
    for table in ("ranking", "camera", "data_file", "frame_failure", "input", "shard", "run", "model"):
        op.drop_table(table)
