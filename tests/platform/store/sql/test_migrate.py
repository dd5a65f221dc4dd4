from __future__ import annotations

import re
import secrets
import shutil
import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from vestigo.store.location import CATALOGUE, locate
from vestigo.store.open import Store
from vestigo.store.sql import database, migrate
from vestigo.store.sql.database import Database
from vestigo.store.sql.migrate import VERSION_TABLE, migrations_folder
from vestigo.store.sql.tables import SCHEMA_REVISION, Base
from vestigo_models.errors import StoreError, StoreUnavailable

pytestmark = pytest.mark.slow


def test_migrated_schema_is_that_of_the_models(store_ref: Path) -> None:
    Store.open(store_ref).close()
    database = Database(locate(store_ref, create=False).database)
    with database.read() as session:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_code_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]


def test_down_and_up_again(store_ref: Path) -> None:
    from alembic import command

    Store.open(store_ref).close()
    database = Database(locate(store_ref, create=False).database)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with database.exclusive(1) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        command.upgrade(config, "head")
    database.close()
    with Store.open(store_ref) as store:
        assert store.check().intact


def stamp(ref: Path, revision: str) -> None:
    database = Database(locate(ref, create=False).database)
    with database.write() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    database.close()


def test_newer_schema_is_refused(store_ref: Path) -> None:
    Store.open(store_ref).close()
    stamp(store_ref, "9999")
    for use in (Store.open, Store.migrate):
        with pytest.raises(StoreError, match=r"schema 9999.*newer version, update Vestigo"):
            use(store_ref)


def test_older_schema_waits_for_migrate(store_ref: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(store_ref).close()
    later = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "9000_later.py").write_text(
        f"from alembic import op\nrevision, down_revision = '9000', '{SCHEMA_REVISION}'\n"
        "branch_labels = depends_on = None\n"
        "def upgrade():\n    op.execute('CREATE TABLE later (id INTEGER)')\n"
    )
    monkeypatch.setattr(migrate, "migrations_folder", lambda: later)
    monkeypatch.setattr(migrate, "SCHEMA_REVISION", "9000")
    with pytest.raises(
        StoreError, match=rf"schema {SCHEMA_REVISION}, this Vestigo needs 9000: run `vestigo store migrate`"
    ):
        Store.open(store_ref)
    assert Store.migrate(store_ref) == (SCHEMA_REVISION, "9000")
    assert Store.migrate(store_ref) == ("9000", "9000")
    Store.open(store_ref).close()


def use_at_once(ref: Path) -> list[BaseException]:
    """Open one new store from several threads; returns what went wrong."""
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def use() -> None:
        together.wait()
        try:
            with Store.open(ref) as store:
                store.models.register("a" * 64, name="m", location="x")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_first_use_by_several_at_once(store_ref: Path) -> None:
    assert use_at_once(store_ref) == []


def test_processes_create_one_store_together(tmp_path: Path) -> None:
    for number in range(25):
        assert use_at_once(tmp_path / str(number)) == []


def test_creation_waits_for_another_writer(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / CATALOGUE, check_same_thread=False, isolation_level=None)
    other.execute("CREATE TABLE begun (id INTEGER)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    release.start()
    Store.open(tmp_path).close()
    release.join()
    other.close()


def test_data_of_another_store_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.jpg").touch()
    ref = tmp_path / "store.toml"
    ref.write_text('database = "sqlite:///c.sqlite"\ndata = "data"\n')
    for _ in range(2):
        with pytest.raises(StoreError, match=r"data .* holds files already.*empty place"):
            Store.open(ref)


def test_store_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    Store.open(tmp_path / "s").close()
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "s" / "data").stat().st_mode & 0o777 == 0o700


def test_places_that_are_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing is not a store"):
        Store.open(tmp_path / "missing", create=False)
    with pytest.raises(StoreError, match=r"missing\.toml does not exist"):
        Store.open(tmp_path / "missing.toml")
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(StoreError, match=r"holds other files and no store"):
        Store.open(tmp_path)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("databse = 'x'", r"unknown key databse, database must be a string, data must be a string"),
        ("database = 'mysql://u@h/d'\ndata = 'd'", r"mysql is not one of postgresql, sqlite"),
        ("database = 'sqlite:///c'\ndata = 'gs://b'", r"gs://b must be a path or begin with s3://"),
        ("database = 'secret:word'\ndata = 'd'", r"database is not a URL such as"),
        ("not toml", r"neither a store's folder nor a TOML file"),
    ],
)
def test_mistakes_in_a_toml_file(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "s.toml").write_text(content)
    with pytest.raises(StoreError, match=complaint):
        Store.open(tmp_path / "s.toml")


def test_credentials_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FIRST_PATIENCE_S", 0)
    (tmp_path / "s.toml").write_text(
        'database = "postgresql://joe:hunter2@127.0.0.1:1/db"\ndata = "s3://key:hunter2@bucket/p?region=hunter2"\n'
    )
    (tmp_path / "s.toml").chmod(0o600)
    location = locate(tmp_path / "s.toml", create=False)
    assert location.describe() == "postgresql+psycopg://joe:***@127.0.0.1:1/db, s3://bucket/p"
    with pytest.raises(StoreError, match="does not answer") as error:
        Store.open(tmp_path / "s.toml")
    assert not re.search("hunter2", str(error.value))


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def encoded(request: pytest.FixtureRequest, postgres_server: str, tmp_path: Path) -> tuple[str, Path]:
    """An encoding and a store in a database of that encoding."""
    name = f"encoded_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{request.param}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    ref = tmp_path / "store.toml"
    ref.write_text(f'database = "{postgres_server.rpartition("/")[0]}/{name}"\ndata = "data"\n')
    return request.param, ref


@pytest.mark.postgres
def test_databases_of_other_encodings_hold_what_they_can(encoded: tuple[str, Path]) -> None:
    encoding, ref = encoded
    name = "Größe 尺寸" if encoding == "SQL_ASCII" else "Größe"
    with Store.open(ref) as store:
        store.models.register("a" * 64, name=name, location="x")
    with Store.open(ref) as store:
        assert [model.name for model in store.models.list()] == [name]
        if encoding == "LATIN1":
            with pytest.raises(StoreUnavailable, match=r"cannot hold this text \(.*LATIN1.*\): create the"):
                store.models.register("a" * 64, name="尺寸", location="x")


@pytest.mark.postgres
def test_pooler_may_change_the_connection_between_transactions(postgres_url: str, tmp_path: Path) -> None:
    ref = tmp_path / "store.toml"
    ref.write_text(f'database = "{postgres_url}"\ndata = "data"\n')
    with Store.open(ref) as store:
        for _ in range(8):
            store.runs.list()
        with store.database.read() as session:
            state = "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('transaction_isolation')"
            assert session.execute(text(state)).one() == (0, "repeatable read")
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert session.execute(text(held)).scalar() == 0
