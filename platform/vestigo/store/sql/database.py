"""Connections to the catalogue: snapshots for reading, serialised transactions for writing, on both databases."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

BUSY_SECONDS = 60
KEYS_PER_QUERY = 500
"""Below the limit of bound parameters that every SQLite has."""


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
        """Everything read inside is one snapshot."""
        with Session(self._reader) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back where the block raises."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def exclusive(self, key: int) -> Iterator[Connection]:
        """One transaction that no other holder of the same `key` shares (SQLite admits a single writer anyway)."""
        with self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def upsert(session: Session, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """Begin an insert that can say what happens where the row is there already, also by a writer at the same time."""
    sqlite_in_use = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if sqlite_in_use else postgresql.insert(table)


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield keys, as many at a time as one query asks for."""
    return (keys[start : start + KEYS_PER_QUERY] for start in range(0, len(keys), KEYS_PER_QUERY))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver's own implicit BEGIN comes too late to make a snapshot or to take the write lock.
    connection.isolation_level = None
    _enter_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _enter_wal(connection: Any) -> None:
    # SQLite waits its turn for every lock but the one that takes a new file into this mode.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait its turn, so writers say so from the start.
    write = connection.get_execution_options().get("vestigo_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
