"""Runs record the error that ended them; an index finds their quarantined inputs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

QUARANTINED = sa.text("state = 'quarantined'")


def upgrade() -> None:
    op.add_column("run", sa.Column("error", sa.String(), nullable=True))
    op.create_index(
        "ix_input_quarantined", "input", ["shard_id"], sqlite_where=QUARANTINED, postgresql_where=QUARANTINED
    )


def downgrade() -> None:
    op.drop_index("ix_input_quarantined", "input")
    op.drop_column("run", "error")
