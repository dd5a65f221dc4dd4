"""Location of a store: a folder with SQLite and Parquet, or a TOML file that names a database and a data root."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from vestigo_models.errors import StoreError
from vestigo_models.text_files import read_text

CATALOGUE = "catalogue.sqlite"
DATA = "data"
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


@dataclass(frozen=True)
class Location:
    """Location of a store; `ref` is absolute, so that it is valid in another process."""

    ref: str
    database: URL
    data: str

    def describe(self) -> str:
        """Return database and data root, without credentials."""
        return f"{self.database.render_as_string(hide_password=True)}, {without_credentials(self.data)}"


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


def without_credentials(uri: str) -> str:
    """Return a data URI without user, password and query."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _read_toml(path: Path) -> Location:
    try:
        keys = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise StoreError(f"{path} is neither a store's folder nor a TOML file: {error}") from error
    mistakes = [f"unknown key {key}" for key in sorted(keys.keys() - {"database", "data"})]
    mistakes += [f"{key} must be a string" for key in ("database", "data") if not isinstance(keys.get(key), str)]
    if mistakes:
        raise StoreError(f"{path}: {', '.join(mistakes)}; the keys are database (a URL) and data (a path or s3://)")
    data = keys["data"]
    if "://" in data and not data.startswith("s3://"):
        raise StoreError(f"{path}: data {without_credentials(data)} must be a path or begin with s3://")
    return Location(
        str(path), _database_url(path, keys["database"]), data if "://" in data else str(path.parent / data)
    )


def _database_url(path: Path, text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        # The text may hold a password.
        raise StoreError(f"{path}: database is not a URL such as postgresql://user@host/name") from error
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise StoreError(f"{path}: database {url.get_backend_name()} is not one of {', '.join(sorted(DRIVERS))}")
    url = url.set(drivername=driver)
    return url if driver != "sqlite" else url.set(database=str(path.parent / (url.database or CATALOGUE)))
