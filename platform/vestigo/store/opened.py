"""An open store: its catalogue and its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from vestigo.store.location import Location, locate, without_credentials
from vestigo.store.parquet.files import DataRoot
from vestigo.store.sql.database import Database
from vestigo.store.sql.migrate import migrate, open_schema
from vestigo_models.errors import StoreError


class OpenedStore:
    """Opens and closes a store; what can be asked of it is added by those who derive from it.

    Attributes:
        ref: absolute folder or TOML file, with which another process opens the same store.
        data: path or URI of the data root, all that `DataRoot` needs in an actor; may hold credentials.
    """

    def __init__(self, location: Location, database: Database) -> None:
        self.ref = location.ref
        self.data = location.data
        self._location = location
        self._db = database
        self._root = DataRoot(location.data)

    @classmethod
    def open(cls, ref: str | Path, *, create: bool = True) -> Self:
        """Open the store in a folder or behind a TOML file; with `create` a new one is made, tables and all.

        Raises StoreError for a place that is no store, a database that does not answer, an older or newer schema.
        """
        location = locate(ref, create=create)
        with _connected(location) as database:
            store = cls(location, database)
            open_schema(database, location, store._claim_data)
        return store

    @staticmethod
    def migrate(ref: str | Path) -> tuple[str | None, str]:
        """Bring a store's schema to this version; return the revisions before and after. Raises StoreError."""
        location = locate(ref, create=False)
        with _connected(location) as database:
            revisions = migrate(database, location)
        database.close()
        return revisions

    def describe(self) -> str:
        """Name database and data root, without credentials."""
        return self._location.describe()

    def close(self) -> None:
        """Give the database connections back."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _claim_data(self) -> None:
        # Two catalogues over one data root would take each other's files for strays.
        self._root.folder.make()
        if not self._root.folder.is_empty():
            where = without_credentials(self.data)
            raise StoreError(f"data {where} holds files already and the catalogue is new: name an empty place")


@contextmanager
def _connected(location: Location) -> Iterator[Database]:
    """Connect to the catalogue; the connections are given back where the block raises."""
    database = Database(location.database)
    try:
        yield database
    except DBAPIError as error:
        database.close()
        reason = str(error.orig).strip().splitlines()[0]
        raise StoreError(f"store {location.ref}: {location.describe()} does not answer: {reason}") from error
    except BaseException:
        database.close()
        raise
