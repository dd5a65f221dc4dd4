"""Catalogue databases for tests: SQLite files, and a real PostgreSQL server with a fresh database for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tools import provide
from tools.label_studio import free_port

# A server that dies with the tests need not survive a power cut.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "listen_addresses": "127.0.0.1", "max_connections": "50"}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the administrative database of a server that runs for this session."""
    programs = provide.find_postgres()
    assert programs is not None, "no PostgreSQL: run `make test`, or go on without: VESTIGO_WITHOUT=postgres"
    folder = Path(tempfile.mkdtemp(prefix="vestigo-postgres-"))
    user = _unprivileged()
    try:
        if user is not None:
            # The server refuses to run as root, and its other user may not be able to see the checkout.
            if not _is_public(programs):
                shutil.copytree(programs.parent, folder / "programs", symlinks=True)
                programs = folder / "programs" / "bin"
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, user)
        port = free_port()
        data = folder / "data"
        _run(
            [programs / "initdb", "-D", data, "-U", "vestigo", "--auth=trust", "--no-sync", "-E", "UTF8"], folder, user
        )
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        start = ["start", "-w", "-t", "120", "-l", folder / "log", "-o", f"-p {port} -k {folder} {options}"]
        _run([programs / "pg_ctl", "-D", data, *start], folder, user)
        try:
            yield f"postgresql://vestigo@127.0.0.1:{port}/postgres"
        finally:
            _run([programs / "pg_ctl", "-D", data, "stop", "-w", "-m", "immediate"], folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server.rpartition("/")[0] + f"/{name}"
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty catalogue database, on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store_ref(database_url: str, tmp_path: Path) -> Path:
    """TOML file of a store that does not exist yet, on each kind of database."""
    path = tmp_path / "store.toml"
    path.write_text(f'database = "{database_url}"\ndata = "data"\n')
    return path


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _is_public(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _run(command: list[str | Path], folder: Path, user: str | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        user=user,
        stdout=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log = folder / "log"
    output = log.read_text(errors="replace") if log.exists() else done.stdout
    assert done.returncode == 0, f"{Path(command[0]).name} ended with status {done.returncode}: {output}"
