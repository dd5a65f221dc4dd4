"""Runs the migrations on the connection that the store holds, inside its transaction."""

from alembic import context

from vestigo.store.sql.migrate import VERSION_TABLE
from vestigo.store.sql.tables import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run the migrations with `vestigo store migrate --store STORE`")
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # SQLite cannot alter most things in place.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
