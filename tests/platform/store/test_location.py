from __future__ import annotations

from pathlib import Path

import pytest

from vestigo.store.location import locate, without_secrets
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo_models.errors import StoreError


def write_settings(folder: Path, database: str, data: str = "data", mode: int = 0o600) -> Path:
    path = folder / "store.toml"
    path.write_text(f'database = "{database}"\ndata = "{data}"\n')
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:word@bucket/p?region=eu", "s3://bucket/p"),
        ("s3://key:wo/rd@bucket/p", "s3://bucket/p"),
        ("s3://key:wo@rd@bucket/p", "s3://bucket/p"),
        ("s3://key:wo?rd@bucket/p", "s3://***"),
        ("https://user:wo/rd@host:8080/x?token=word", "https://host:8080/x"),
        ("/data/a@b", "/data/a@b"),
    ],
)
def test_no_part_of_a_secret_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("password", ["wo@rd", "w:o@rd", "wo@rd:7/x", "wo@rd?x", "wo@rd/x"])
def test_at_sign_in_password_is_refused_without_showing_it(tmp_path: Path, password: str) -> None:
    path = write_settings(tmp_path, f"postgresql://u:{password}@127.0.0.1:1/x")
    with pytest.raises(StoreError, match=r"write @ in a password as %40$") as error:
        Store.open(path)
    assert not {part for part in ("wo@", "@rd", "127.0.0.1") if part in str(error.value)}


def test_escaped_password_is_used_and_hidden(tmp_path: Path) -> None:
    location = locate(write_settings(tmp_path, "postgresql://me@corp:wo%40rd@h/x?host=/s&sslpassword=rd"), create=False)
    assert (location.database.username, location.database.password) == ("me@corp", "wo@rd")
    assert location.describe() == f"postgresql+psycopg://me%40corp:***@h/x?host=%2Fs, {tmp_path}/data"


@pytest.mark.parametrize("port", ["hunter", "5432hunter"])
def test_port_that_is_no_number_is_refused_without_showing_it(tmp_path: Path, port: str) -> None:
    with pytest.raises(StoreError, match=r"not a URL such as.*%40") as error:
        locate(write_settings(tmp_path, f"postgresql://u:{port}/x"), create=False)
    assert port not in str(error.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
@pytest.mark.parametrize(
    ("database", "data"),
    [
        ("postgresql://u:word@h/x", "data"),
        ("postgresql://u@h/x?password=word", "data"),
        ("sqlite:///c", "s3://key:word@bucket"),
    ],
)
def test_settings_with_secrets_that_others_can_read_are_refused(
    tmp_path: Path, database: str, data: str, mode: int
) -> None:
    path = write_settings(tmp_path, database, data, mode)
    with pytest.raises(StoreError, match=rf"others can read it .*: chmod 600 {path}$"):
        locate(path, create=False)
    path.chmod(0o600)
    assert locate(path, create=False).ref == str(path)


def test_settings_without_secrets_may_be_readable(tmp_path: Path) -> None:
    path = write_settings(tmp_path, "postgresql://u@h/x", "s3://bucket", 0o644)
    assert locate(path, create=False).data == "s3://bucket"


@pytest.mark.parametrize("key", ["wo/rd", "wo@rd", "wo?rd", "wo rd"])
def test_key_that_is_not_escaped_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be opened: write special characters of a key as %XX") as error:
        DataRoot(f"s3://id:{key}@bucket/p")
    assert not {part for part in ("id:", "wo", "rd@") if part in str(error.value).partition("write")[0]}
