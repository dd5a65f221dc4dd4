"""Connections to the catalogue: snapshots for reading and serialised transactions for writing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from sqlalchemy import URL, Connection, Row, Select, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Session

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BUSY_SECONDS = 60
KEYS_PER_QUERY = 500
"""Below the limit of bound parameters of SQLite."""


class Database:
    """The catalogue's database, safe to use from several threads."""

    def __init__(self, url: URL) -> None:
        if url.get_backend_name() == "sqlite":
            self._engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._reader = self._engine.execution_options(vestigo_write=False)
            self._writer = self._engine.execution_options(vestigo_write=True)
        else:
            self._engine = create_engine(url, pool_pre_ping=True)
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = self._engine.execution_options()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that reads one snapshot."""
        with Session(self._reader) as session:
            yield session

    def scalars(self, query: Select[T]) -> Sequence[T]:
        """Return the values of a query of one column or table."""
        with self.read() as session:
            return session.scalars(query).all()

    def rows(self, query: Select[*Ts]) -> Sequence[Row[*Ts]]:
        """Return the rows of a query."""
        with self.read() as session:
            return session.execute(query).all()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def exclusive(self, key: int) -> Iterator[Connection]:
        """Open a transaction that excludes others with the same `key`; SQLite admits a single writer anyway."""
        with self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def to_record(record: type[R], row: DeclarativeBase, **values: Any) -> R:
    """Return a dataclass with the columns of `row` of the same names, and with `values` for its other fields."""
    names = {field.name for field in fields(record)} - values.keys()  # type: ignore[arg-type]
    return record(**{name: getattr(row, name) for name in names}, **values)


def upsert(session: Session, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that supports `on_conflict_do_update` and `on_conflict_do_nothing`."""
    from sqlalchemy.dialects import postgresql, sqlite

    sqlite_in_use = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if sqlite_in_use else postgresql.insert(table)


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield keys in chunks of the size of one query."""
    return (keys[start : start + KEYS_PER_QUERY] for start in range(0, len(keys), KEYS_PER_QUERY))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The implicit BEGIN of the driver is too late for a snapshot or the write lock.
    connection.isolation_level = None
    _enter_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _enter_wal(connection: Any) -> None:
    # SQLite waits for every lock except the one that sets this mode on a new file.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for the write lock, so writers take it at the start.
    write = connection.get_execution_options().get("vestigo_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
