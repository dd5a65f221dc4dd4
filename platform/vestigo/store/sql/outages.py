"""Outages of a catalogue: what failed, what to do, and whether the same request may succeed in a moment."""

import re
import sqlite3
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from vestigo_models.errors import StoreUnavailable, first_line

_OWN_FILE = "copy the store to a place that this account can write to"
_SQLITE = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "wait until that process ends, or stop it, and run the command again",
    ),
    sqlite3.SQLITE_READONLY: ("is read-only", f"{_OWN_FILE}, or only read it"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", _OWN_FILE),
    sqlite3.SQLITE_FULL: ("cannot grow", "free disk space"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "check the disk, or the connection to the file server"),
    sqlite3.SQLITE_PROTOCOL: ("cannot be locked", "use PostgreSQL for a store on this file system"),
}
_POSTGRESQL = {
    "22P05": ("cannot hold this text", "create the database with ENCODING 'UTF8'"),
    "25006": ("is read-only", "name the primary server, not a standby"),
    "42501": ("refuses this account", "let this account read and write the catalogue"),
    "53100": ("cannot grow", "free disk space on the database server"),
}
"""Problem and remedy by SQLSTATE."""
_NO_CONNECTION = re.compile(r"too many (clients|connections)|connection slots|no more connections", re.IGNORECASE)
_REFUSED = re.compile(
    r"FATAL:(?!.*(database system is|terminating connection|server login|connect to server))", re.DOTALL
)
"""Messages without an SQLSTATE, which psycopg does not keep of a connection that failed."""


@dataclass(frozen=True)
class Outage:
    """What failed.

    Attributes:
        problem: Predicate of a sentence about the catalogue.
        reason: The database's own words, one line.
        remedy: What to do.
        is_short: Whether the same request may succeed in a moment.
    """

    problem: str
    reason: str
    remedy: str
    is_short: bool

    def error(self, place: str) -> StoreUnavailable:
        """Return the error that says so about a place."""
        return StoreUnavailable(f"{place} {self.problem} ({self.reason}): {self.remedy}")


def find_outage(error: BaseException | None) -> Outage | None:
    """Return the outage that an error reports, None for any other error."""
    if isinstance(error, StoreUnavailable):
        return find_outage(error.__cause__)
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    reason = first_line(error.orig)
    if isinstance(error.orig, sqlite3.Error):
        # Errors of the sqlite3 module itself have no code.
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        code = sqlite3.SQLITE_BUSY if code == sqlite3.SQLITE_LOCKED else code
        return Outage(_SQLITE[code][0], reason, _SQLITE[code][1], is_short=False) if code in _SQLITE else None
    state = getattr(error.orig, "sqlstate", None)
    if state in _POSTGRESQL:
        return Outage(_POSTGRESQL[state][0], reason, _POSTGRESQL[state][1], is_short=False)
    if not isinstance(error, OperationalError | InterfaceError) and not error.connection_invalidated:
        return None
    text = str(error.orig)
    if state == "53300" or _NO_CONNECTION.search(text):
        remedy = "end other programs, raise max_connections of the server, or connect through a pooler"
        return Outage("accepts no more connections", reason, remedy, is_short=True)
    remedy = "check that the server runs and that the address, the account and the database are right"
    return Outage("does not answer", reason, remedy, is_short=_REFUSED.search(text) is None)
