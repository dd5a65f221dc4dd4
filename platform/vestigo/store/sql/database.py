"""Connections to the catalogue: snapshots for reading and serialised transactions for writing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Row, Select, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

from vestigo.store.location import without_secrets
from vestigo.store.patience import PATIENCE_S, repeat
from vestigo.store.sql.outages import find_outage

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BUSY_SECONDS = 60
FIRST_PATIENCE_S = 15.0
"""Seconds for which a server that never answered is tried: it may restart, or the address may be wrong."""
_SERVER_ARGUMENTS = {
    # Poolers that give each transaction another connection keep no prepared statements. A database of encoding
    # SQL_ASCII stores the bytes that it is sent.
    "prepare_threshold": None,
    "client_encoding": "utf8",
    # A server that vanished without a word is noticed after half a minute.
    "connect_timeout": 15,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
KEYS_PER_QUERY = 500
"""Below the limit of bound parameters of SQLite."""
NETWORK_FILE_SYSTEMS = frozenset({"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3"})
"""File systems on which processes of several machines share no memory, which SQLite's write-ahead log needs."""


class Database:
    """The catalogue's database, safe to use from several threads.

    A server that does not answer any more, for example while it restarts, is tried again for `patience` seconds, with
    one line in the log. Errors that only a person can end are raised as `StoreUnavailable`.

    Attributes:
        patience: Seconds.
    """

    def __init__(self, url: URL) -> None:
        self.patience = PATIENCE_S
        self._place = f"catalogue {without_secrets(url)}"
        self._answered = False
        if url.get_backend_name() == "sqlite":
            self._place = f"catalogue {url.database}"
            self._engine = _sqlite_engine(url)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._reader = self._engine.execution_options(vestigo_write=False)
            self._writer = self._engine.execution_options(vestigo_write=True)
        else:
            self._engine = create_engine(url, pool_pre_ping=True, connect_args=_SERVER_ARGUMENTS)
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = self._engine.execution_options()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that reads one snapshot."""
        with self._outages_named(), Session(self._reader) as session:
            self._connect(session)
            yield session

    def fetch(self, read: Callable[[Session], R]) -> R:
        """Return what `read` returns in a transaction of its own, which is repeated during short outages."""

        def read_once() -> R:
            with self.read() as session:
                return read(session)

        return self.repeat(read_once)

    def change(self, change: Callable[[Session], R]) -> R:
        """Return what `change` returns in a transaction of its own, which is repeated during short outages.

        It takes effect once: if the reply to a commit is lost, the server tells the state of the transaction.
        """
        attempts: list[tuple[int | None, R]] = []

        def change_once() -> R:
            if attempts and self._is_committed(attempts[-1][0]):
                return attempts[-1][1]
            with self.write() as session:
                result = change(session)
                session.flush()
                attempts.append((_transaction_id(session), result))
            return result

        return self.repeat(change_once)

    def scalars(self, query: Select[T]) -> Sequence[T]:
        """Return the values of a query of one column or table."""
        return self.fetch(lambda session: session.scalars(query).all())

    def records(self, record: type[R], query: Select[Any]) -> list[R]:
        """Return the rows of a query of one table as dataclasses; see `to_record`."""
        return [to_record(record, row) for row in self.scalars(query)]

    def rows(self, query: Select[*Ts]) -> Sequence[Row[*Ts]]:
        """Return the rows of a query."""
        return self.fetch(lambda session: session.execute(query).all())

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises."""
        with self._outages_named(), Session(self._writer, expire_on_commit=False) as session:
            self._connect(session)
            yield session
            session.commit()

    @contextmanager
    def exclusive(self, key: int) -> Iterator[Connection]:
        """Open a transaction that excludes others with the same `key`; SQLite admits a single writer anyway."""
        with self._outages_named(), self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))
            yield connection

    def repeat(self, request: Callable[[], R]) -> R:
        """Call `request`, and again during short outages; it must bear being carried out twice."""
        patience = self.patience if self._answered else min(self.patience, FIRST_PATIENCE_S)
        return repeat(request, self._short_outage, patience)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _short_outage(self, error: BaseException) -> str | None:
        outage = find_outage(error)
        return f"{self._place} {outage.problem} ({outage.reason})" if outage and outage.is_short else None

    def _connect(self, session: Session) -> None:
        """Open the connection of a transaction: nothing was done yet, so that this can always be repeated."""

        def connect() -> None:
            try:
                session.connection()
            except DBAPIError:
                session.rollback()
                raise

        self.repeat(connect)
        self._answered = True

    def _is_committed(self, transaction: int | None) -> bool:
        """Return whether a transaction is committed whose commit got no answer."""
        if transaction is None:
            return False
        with self.read() as session:
            while (status := session.scalar(select(func.txid_status(transaction)))) == "in progress":
                time.sleep(0.25)
            return status == "committed"

    @contextmanager
    def _outages_named(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if (outage := find_outage(error)) is None:
                raise
            raise outage.error(self._place) from error


def to_record(record: type[R], row: DeclarativeBase, **values: Any) -> R:
    """Return a dataclass with the columns of `row` of the same names, and with `values` for its other fields."""
    names = {field.name for field in fields(record)} - values.keys()  # type: ignore[arg-type]
    return record(**{name: getattr(row, name) for name in names}, **values)


def _transaction_id(session: Session) -> int | None:
    """Return the id of a transaction that has changed something on a server; SQLite always answers."""
    if session.get_bind().dialect.name == "sqlite":
        return None
    return session.scalar(select(func.txid_current_if_assigned()))


def upsert(session: Session, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that supports `on_conflict_do_update` and `on_conflict_do_nothing`."""
    from sqlalchemy.dialects import postgresql, sqlite

    sqlite_in_use = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if sqlite_in_use else postgresql.insert(table)


def chunks(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield keys in chunks of the size of one query."""
    return (keys[start : start + KEYS_PER_QUERY] for start in range(0, len(keys), KEYS_PER_QUERY))


def _sqlite_engine(url: URL) -> Engine:
    path = url.database or ""
    # The implicit BEGIN of the driver is too late for a snapshot or the write lock.
    arguments: dict[str, Any] = {"timeout": BUSY_SECONDS, "isolation_level": None}
    if os.path.exists(path) and not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)):
        # Without a log next to it, the file is complete, and is read without the lock file that cannot be made.
        mode = "mode=ro" if os.path.exists(f"{path}-wal") else "mode=ro&immutable=1"
        address = f"file:{quote(path)}?{mode}"
        return create_engine(
            url, creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False, **arguments)
        )
    mode = "DELETE" if file_system(path) in NETWORK_FILE_SYSTEMS else "WAL"

    def set_up(connection: Any, _record: object) -> None:
        _set_journal_mode(connection, mode)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    engine = create_engine(url, connect_args=arguments)
    event.listen(engine, "connect", set_up)
    return engine


def file_system(path: str) -> str:
    """Return the type of the file system that holds a path, such as `nfs4`; empty where the system does not tell."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            types = {fields[1].replace("\\040", " "): fields[2] for fields in map(str.split, mounts)}
    except OSError:
        return ""
    path = os.path.realpath(path)
    while path not in types and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return types.get(path, "")


def _set_journal_mode(connection: Any, mode: str) -> None:
    # SQLite waits for every lock except the one that sets the mode of a new file.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={mode}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for the write lock, so writers take it at the start.
    write = connection.get_execution_options().get("vestigo_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
