"""How the server is started, and what it refuses to start with."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.support.signed_in import PATIENCE_S, serve_app
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_ui.cli.main import run
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.run import SCRIPT, Binding
from vestigo_ui.web.server.streamlit_options import options


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store; the users file is one of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


def with_a_user() -> None:
    from vestigo_ui.web.auth.users import users_path

    Users(users_path(None)).add("anna", Role.ADMIN, "long enough for it")


def test_streamlit_is_silent_and_keeps_its_own_protection() -> None:
    from streamlit import config

    chosen = options("127.0.0.1", 8600)
    assert [key for key in chosen if key not in config.get_config_options()] == []
    assert chosen["server.address"] == "127.0.0.1"
    assert chosen["server.enableXsrfProtection"] is True
    assert chosen["server.enableAgentApi"] is False
    assert chosen["browser.gatherUsageStats"] is False
    assert chosen["client.showErrorDetails"] == "none"
    assert SCRIPT.is_file()


def test_loopback_needs_no_encryption() -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Binding(address=address).is_local
    assert Binding().url == "http://127.0.0.1:8501"
    assert Binding(address="::1").url == "http://[::1]:8501"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_passwords_do_not_cross_the_network_in_plain(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        Binding(address=address)
    assert not Binding(address=address, proxies="192.0.2.9").is_local
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    assert Binding(address=address, tls_cert=tmp_path / "cert", tls_key=tmp_path / "key").url.startswith("https://")


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    (tmp_path / "cert").touch()
    with pytest.raises(UsageError, match="give both"):
        Binding(tls_cert=tmp_path / "cert")
    with pytest.raises(UsageError, match="is not a file"):
        Binding(tls_cert=tmp_path / "cert", tls_key=tmp_path / "nowhere")


def test_nobody_can_sign_in_yet(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ui", "--store", str(store)]) == 2
    assert "`vestigo ui user add NAME --role admin`" in capsys.readouterr().err.splitlines()[-1]


def test_a_store_is_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VESTIGO_STORE", raising=False)
    assert run(["ui"]) == 2
    assert "--store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--address", "0.0.0.0"], "unencrypted"),
        (["--config", "nowhere.toml"], "nowhere.toml is not there"),
        (["--tls-cert", "cert.pem"], "give both"),
        (["--behind-proxy", "no address"], "no address"),
    ],
)
def test_one_clear_line(store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with_a_user()
    assert run(["ui", "--store", str(store), *arguments]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_port_that_is_taken_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_a_user()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["ui", "--store", str(store), "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1" in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_ends_it_with_nothing_more_to_say(store: Path, tmp_path: Path) -> None:
    with serve_app(store, tmp_path) as screen:
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(PATIENCE_S) == 0
        assert screen.log.read_text().splitlines() == [f"the screen is on {screen.url} (Ctrl-C ends it)"]
