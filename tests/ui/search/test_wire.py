from __future__ import annotations

import socket
from pathlib import Path

import pytest

from vestigo.store.location import CATALOGUE
from vestigo_models.errors import ConfigError
from vestigo_ui.search import wire


def test_catalogue_has_the_name_of_stores() -> None:
    assert wire._CATALOGUE == CATALOGUE


def test_one_store_has_one_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    monkeypatch.chdir(tmp_path)
    paths = {wire.socket_path(ref) for ref in ("store", "./store/", "link", str(tmp_path / "store"))}
    assert len(paths) == 1
    assert wire.socket_path("other") not in paths


def test_identity_follows_catalogue_and_settings(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CATALOGUE).touch()
    assert wire.store_identity(str(tmp_path / "a")) != wire.store_identity(str(tmp_path / "b"))
    file = tmp_path / "store.toml"
    file.write_text("database = 'one'")
    before = wire.store_identity(str(file))
    file.write_text("database = 'two'")
    assert wire.store_identity(str(file)) != before


def test_long_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("x" * 90)))
    with pytest.raises(ConfigError, match="too long for a socket; name a shorter XDG_CACHE_HOME"):
        wire.check_folder(wire.socket_path("store"))


def test_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_MESSAGE", 10)
    near, far = socket.socketpair()
    with near, far:
        with pytest.raises(ValueError, match="more than 10"):
            wire.encode({"key": "much too long"})
        near.sendall(b"\x00\x00\x00\x0b")
        with pytest.raises(ValueError, match="a message of 11 bytes"):
            wire.receive(far)
        near.sendall(b"\x00\x00\x00\x08{")
        near.shutdown(socket.SHUT_WR)
        with pytest.raises(wire.Disconnected):
            wire.receive(far)


def test_process_of_this_account_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    with near, far:
        assert wire.is_own_process(near)
        monkeypatch.setattr("os.getuid", lambda: 4711)
        assert not wire.is_own_process(near)
