"""SQLite files of what is derived from a store, such as an index: they can be deleted, and are made again."""

import hashlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from vestigo_models.errors import StoreError

BUSY_SECONDS = 120
READER_KB, WRITER_KB = 8192, 65536
"""Cache of a connection in KiB; there is one writer and one reader for each concurrent query."""


class IndexFile:
    """Connections to an index; a damaged, deleted or differently versioned file is replaced by an empty one.

    `tables` are SQL statements that create the tables of `version`.
    """

    def __init__(self, path: Path, tables: str, version: int) -> None:
        self.path = path
        self._tables = tables
        self._version = version
        self._idle: deque[tuple[int, sqlite3.Connection]] = deque()
        with self.read():
            pass

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open a read transaction: all queries inside see one snapshot."""
        return self._transaction("BEGIN", READER_KB)

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open a write transaction: committed at the end, rolled back if the block raises."""
        return self._transaction("BEGIN IMMEDIATE", WRITER_KB)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[1].close()

    @contextmanager
    def _transaction(self, begin: str, cache_kb: int) -> Iterator[sqlite3.Connection]:
        inode, connection = self._take()
        try:
            connection.execute(f"PRAGMA cache_size=-{cache_kb}")
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            # Closing rolls back in every state of the connection.
            connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise self._problem(error) from error
            raise
        self._idle.append((inode, connection))

    def _take(self) -> tuple[int, sqlite3.Connection]:
        """Return a connection to the file that currently has this name."""
        inode = self._inode()
        while inode is not None and self._idle:
            known, connection = self._idle.pop()
            if known == inode:
                return inode, connection
            connection.close()
        try:
            connection = self._connect()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise self._problem(error) from error
            self.path.unlink(missing_ok=True)
            connection = self._connect()
        return self._inode() or 0, connection

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives the -wal and -shm files the mode of the database.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(f"index {self.path} cannot be created: {error.strerror}") from error
        connection = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            # Rows lost in a power cut are indexed again from the store.
            _use_wal(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            if _version(connection) != self._version:
                self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have created them.
        if _version(connection) != self._version:
            old = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            for (name,) in connection.execute(old).fetchall():
                connection.execute(f'DROP TABLE "{name}"')
            for statement in filter(str.strip, self._tables.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self._version}")
        connection.execute("COMMIT")

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    def _problem(self, error: sqlite3.DatabaseError) -> StoreError:
        return StoreError(f"index {self.path}: {error}; delete it, and it is built again")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change to a write-ahead log; SQLite does not wait by itself for a process that does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def derived_folder(ref: str) -> Path:
    """Return the folder for what is derived from a store: its own or, behind a TOML file, one in the user's cache."""
    if Path(ref).is_dir():
        return Path(ref)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vestigo" / hashlib.sha256(ref.encode()).hexdigest()
