"""The file of the browse index: tables, and connections for many threads and processes.

file ◄── sighting ◄── crop        rows of one file have consecutive numbers, so that they are deleted together
  └◄── presence                   a camera in one file: counts, and all times in order
summed_file ◄── camera_sum        a camera in one file: sums of descriptors
"""

import hashlib
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from vestigo_models.errors import StoreError

VERSION = 4
BUSY_SECONDS = 120
READER_KB, WRITER_KB = 8192, 65536
"""Cache of a connection in KiB; there is one writer and one reader for each concurrent query."""
_TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE);
CREATE TABLE camera (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE file (id INTEGER PRIMARY KEY, state TEXT NOT NULL, model INTEGER NOT NULL,
  first_sighting INTEGER NOT NULL, sightings INTEGER NOT NULL, first_crop INTEGER NOT NULL, crops INTEGER NOT NULL);
CREATE TABLE presence (file INTEGER NOT NULL, model INTEGER NOT NULL, camera INTEGER NOT NULL, crops INTEGER NOT NULL,
  sightings INTEGER NOT NULL, first INTEGER, last INTEGER, times BLOB NOT NULL, histogram BLOB NOT NULL);
CREATE INDEX presence_file ON presence (file);
CREATE INDEX presence_camera ON presence (model, camera, first, last, crops, sightings);
CREATE TABLE sighting (id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, model INTEGER NOT NULL,
  camera INTEGER NOT NULL, time INTEGER, offset_s REAL, tracklet TEXT NOT NULL, pid INTEGER, crop BLOB NOT NULL,
  first_crop INTEGER NOT NULL, crops INTEGER NOT NULL, classes BLOB NOT NULL, confidence BLOB NOT NULL);
CREATE INDEX sighting_browsed ON sighting (model, camera, time, crop, classes);
CREATE INDEX sighting_pid ON sighting (model, pid, camera, time, crop, crops, classes) WHERE pid IS NOT NULL;
CREATE TABLE crop (number INTEGER PRIMARY KEY, id BLOB NOT NULL, sighting INTEGER NOT NULL, place INTEGER NOT NULL,
  scene INTEGER NOT NULL);
CREATE INDEX crop_id ON crop (id);
CREATE TABLE summed_file (id INTEGER PRIMARY KEY, state TEXT NOT NULL, model TEXT NOT NULL);
CREATE TABLE camera_sum (file INTEGER NOT NULL, camera TEXT NOT NULL, weights BLOB NOT NULL, vectors BLOB NOT NULL);
CREATE INDEX camera_sum_file ON camera_sum (file);
"""


class IndexFile:
    """Connections to the index; a damaged, deleted or differently versioned file is replaced by an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
            raise StoreError(f"browse index {self.path} cannot be created: {error.strerror}") from error
        connection = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            # Rows lost in a power cut are indexed again from the store.
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
                connection.execute(f"PRAGMA {pragma}")
            if _version(connection) != VERSION:
                _make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    def _problem(self, error: sqlite3.DatabaseError) -> StoreError:
        return StoreError(f"browse index {self.path}: {error}; delete it, and it is built again")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have created them.
    if _version(connection) != VERSION:
        old = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (name,) in connection.execute(old).fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def index_path(ref: str) -> Path:
    """Return a path in the store's folder or, for a store behind a TOML file, in the user's cache."""
    if Path(ref).is_dir():
        return Path(ref) / "browse.sqlite"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vestigo" / f"{hashlib.sha256(ref.encode()).hexdigest()}.sqlite"
