"""Location of a store: a folder with SQLite and Parquet, or a TOML file that names a database and a data root."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from vestigo_models.errors import StoreError
from vestigo_models.text_files import read_text

CATALOGUE = "catalogue.sqlite"
DATA = "data"
SHOWN_PARAMETERS = frozenset({"host", "port"})
"""Parameters of a database URL that cannot hold a secret."""
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


@dataclass(frozen=True)
class Location:
    """Location of a store; `ref` is absolute, so that it is valid in another process."""

    ref: str
    database: URL
    data: str

    def describe(self) -> str:
        """Return database and data root, without credentials."""
        return f"{without_secrets(self.database)}, {without_secrets(self.data)}"


def locate(ref: str | Path, *, create: bool) -> Location:
    """Return the location of a store; with `create`, a missing folder is created for its owner only.

    Raises:
        StoreError: If `ref` is not a store and, with `create`, cannot become one.
    """
    path = Path(ref).expanduser().absolute()
    if path.is_file():
        return _read_toml(path)
    if path.suffix == ".toml":
        raise StoreError(f"{path} does not exist: write the keys database and data into it, or name a folder")
    # The catalogue is checked last: another process that creates this store creates it first.
    occupied = path.is_dir() and any(path.iterdir())
    if not (path / CATALOGUE).exists():
        if not create:
            raise StoreError(f"{path} is not a store: check the path, or make one with `vestigo index`")
        if occupied:
            raise StoreError(f"{path} holds other files and no store: name an empty or new folder")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be made: {error.strerror}") from error
    return Location(str(path), URL.create("sqlite", database=str(path / CATALOGUE)), str(path / DATA))


def without_secrets(url: str | URL) -> str:
    """Return a URL as messages, rows and logs show it: without passwords, keys and parameters that may hold them.

    The text of a URL loses everything before its last `@`, because a secret that is not escaped may hold any character.
    """
    if isinstance(url, URL):
        shown = {name: value for name, value in url.query.items() if name in SHOWN_PARAMETERS}
        return url.set(query=shown).render_as_string(hide_password=True)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    credentials, _, place = rest.rpartition("@")
    return f"{scheme}://{'***' if '?' in credentials else place.partition('?')[0]}"


def _read_toml(path: Path) -> Location:
    try:
        keys = tomllib.loads(read_text(path))
    except (ValueError, RecursionError, OSError) as error:
        raise StoreError(f"{path} is neither a store's folder nor a TOML file: {error}") from error
    mistakes = [f"unknown key {key}" for key in sorted(keys.keys() - {"database", "data"})]
    mistakes += [f"{key} must be a string" for key in ("database", "data") if not isinstance(keys.get(key), str)]
    if mistakes:
        raise StoreError(f"{path}: {', '.join(mistakes)}; the keys are database (a URL) and data (a path or s3://)")
    data = keys["data"]
    if "://" in data and not data.startswith("s3://"):
        raise StoreError(f"{path}: data {without_secrets(data)} must be a path or begin with s3://")
    database = _database_url(path, keys["database"])
    mode = path.stat().st_mode & 0o777
    if mode & 0o044 and (_has_secret(database) or ("://" in data and "@" in data)):
        raise StoreError(f"{path} holds a password or key and others can read it (mode {mode:04o}): chmod 600 {path}")
    return Location(str(path), database, data if "://" in data else str(path.parent / data))


def _has_secret(url: URL) -> bool:
    return bool(url.password) or any("password" in name for name in url.query)


def _database_url(path: Path, text: str) -> URL:
    # No message shows the text: it may hold a password.
    if "@" in text.partition("://")[2].rpartition("@")[0].partition(":")[2]:
        raise StoreError(f"{path}: the database URL has several @: write @ in a password as %40")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(
            f"{path}: database is not a URL such as postgresql://user@host/name; write special characters of a "
            "password as %XX, @ as %40"
        ) from None
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise StoreError(f"{path}: database {url.get_backend_name()} is not one of {', '.join(sorted(DRIVERS))}")
    url = url.set(drivername=driver)
    return url if driver != "sqlite" else url.set(database=str(path.parent / (url.database or CATALOGUE)))
