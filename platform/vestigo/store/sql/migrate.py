"""The schema of the catalogue: created on first use, migrated on request, refused if it is newer than this code."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from vestigo.store.location import Location
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import SCHEMA_REVISION
from vestigo_models.errors import StoreError

# The database may hold the Alembic table of another application.
VERSION_TABLE = "vestigo_schema"
_LOCK = 0x76657374


def migrations_folder() -> Path:
    """Return the folder of the Alembic scripts, in the installed package or at the root of a checkout."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parents[1] / "migrations"


def current_revision(connection: Connection) -> str | None:
    """Return the revision of a catalogue, None for a database without a catalogue."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def open_schema(database: Database, location: Location, check_new: Callable[[], None]) -> None:
    """Create the tables of a new catalogue, after `check_new`."""
    revision = database.fetch(lambda session: current_revision(session.connection()))
    if revision == SCHEMA_REVISION:
        return
    if revision is not None:
        _refuse_unknown(location, revision)
        raise StoreError(
            f"store {location.ref} has schema {revision}, this Vestigo needs {SCHEMA_REVISION}: "
            "run `vestigo store migrate`"
        )

    def create() -> None:
        with database.exclusive(_LOCK) as connection:
            if current_revision(connection) is None:
                check_new()
                _upgrade(connection)

    database.repeat(create)


def migrate(database: Database, location: Location) -> tuple[str | None, str]:
    """Migrate a catalogue to the schema of this version; return the revisions before and after."""

    def upgrade() -> str | None:
        with database.exclusive(_LOCK) as connection:
            before = current_revision(connection)
            if before is not None:
                _refuse_unknown(location, before)
            _upgrade(connection)
        return before

    return database.repeat(upgrade), SCHEMA_REVISION


def _refuse_unknown(location: Location, revision: str) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory(str(migrations_folder())).walk_revisions()}
    if revision not in known:
        raise StoreError(
            f"store {location.ref} has schema {revision}, which this Vestigo ({SCHEMA_REVISION}) does not know: "
            "it was made by a newer version, update Vestigo"
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
