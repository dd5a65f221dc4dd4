"""Rankings keep their queries and settings."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Existing rankings have no queries of their own, and their settings are unknown.
    with op.batch_alter_table("ranking") as ranking:
        ranking.add_column(sa.Column("settings", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
        ranking.add_column(sa.Column("queries_file_id", ROW_ID, nullable=True))
        ranking.create_foreign_key("fk_ranking_queries_file_id_data_file", "data_file", ["queries_file_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("ranking") as ranking:
        ranking.drop_constraint("fk_ranking_queries_file_id_data_file", type_="foreignkey")
        ranking.drop_column("queries_file_id")
        ranking.drop_column("settings")
