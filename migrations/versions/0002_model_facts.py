"""Store facts of a model with the model: blocks of its descriptors, schemas, calibration."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Existing models made one embedding per crop and nothing else; {} stands for that.
    facts = sa.Column("facts", sa.JSON(), nullable=False, server_default=sa.text("'{}'"))
    op.add_column("model", facts)


def downgrade() -> None:
    op.drop_column("model", "facts")
