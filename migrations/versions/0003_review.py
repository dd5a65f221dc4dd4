"""Review and the registry: projects, samples, tasks, annotations, label sets; model origins and promotions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("model", sa.Column("parent", sa.String(length=64), nullable=True))
    for name in ("origin", "scores"):
        op.add_column("model", sa.Column(name, sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    op.create_table(
        "label_project",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", INSTANT, nullable=False),
        sa.Column("schema", sa.JSON(), nullable=False),
        sa.Column("server", sa.String(), nullable=True),
        sa.Column("remote_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_label_project"),
    )
    op.create_table(
        "label_batch",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("created", INSTANT, nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("budget", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("population", sa.BigInteger(), nullable=False),
        sa.Column("thinned", sa.Double(), nullable=False),
        sa.Column("data_file_id", ROW_ID, nullable=True),
        sa.ForeignKeyConstraint(["project"], ["label_project.name"], name="fk_label_batch_project_label_project"),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name="fk_label_batch_model_digest_model"),
        sa.ForeignKeyConstraint(["data_file_id"], ["data_file.id"], name="fk_label_batch_data_file_id_data_file"),
        sa.PrimaryKeyConstraint("id", name="pk_label_batch"),
    )
    op.create_index("ix_label_batch_project", "label_batch", ["project"])
    op.create_table(
        "label_task",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("batch_id", ROW_ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("tracklet", sa.String(), nullable=False),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("time", INSTANT, nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("crops", sa.JSON(), nullable=False),
        sa.Column("prediction", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("remote_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project"], ["label_project.name"], name="fk_label_task_project_label_project"),
        sa.ForeignKeyConstraint(["batch_id"], ["label_batch.id"], name="fk_label_task_batch_id_label_batch"),
        sa.PrimaryKeyConstraint("id", name="pk_label_task"),
    )
    op.create_index("uq_label_task_project_key", "label_task", ["project", "key"], unique=True)
    op.create_index("ix_label_task_batch_id_position", "label_task", ["batch_id", "position"])
    op.create_table(
        "label_answer",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("task_id", ROW_ID, nullable=False),
        sa.Column("remote_id", sa.BigInteger(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("answered", INSTANT, nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["label_task.id"], name="fk_label_answer_task_id_label_task"),
        sa.PrimaryKeyConstraint("id", name="pk_label_answer"),
    )
    op.create_index("uq_label_answer_task_id_remote_id", "label_answer", ["task_id", "remote_id"], unique=True)
    op.create_table(
        "label_set",
        sa.Column("version", ROW_ID, nullable=False),
        sa.Column("created", INSTANT, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.BigInteger(), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.Column("projects", sa.JSON(), nullable=False),
        sa.Column("data_file_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["data_file_id"], ["data_file.id"], name="fk_label_set_data_file_id_data_file"),
        sa.PrimaryKeyConstraint("version", name="pk_label_set"),
    )
    op.create_table(
        "promotion",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=True),
        sa.Column("before_digest", sa.String(length=64), nullable=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name="fk_promotion_model_digest_model"),
        sa.ForeignKeyConstraint(["before_digest"], ["model.digest"], name="fk_promotion_before_digest_model"),
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
    )


def downgrade() -> None:
    for name in ("promotion", "label_set", "label_answer", "label_task", "label_batch", "label_project"):
        op.drop_table(name)
    with op.batch_alter_table("model") as model:
        for name in ("scores", "origin", "parent"):
            model.drop_column(name)
