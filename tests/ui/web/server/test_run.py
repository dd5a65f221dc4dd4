"""Starting the server, and the settings that it refuses."""

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
from vestigo_ui.web.server.binding import Binding
from vestigo_ui.web.server.run import SCRIPT
from vestigo_ui.web.server.shell import make_options


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store and a configuration folder of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


def add_user() -> None:
    from vestigo_ui.web.auth.users import users_path

    Users(users_path(None)).add("anna", Role.ADMIN, "long enough for it")


def test_streamlit_sends_no_statistics_and_keeps_xsrf_protection() -> None:
    from streamlit import config

    options = make_options("127.0.0.1", 8600)
    assert [key for key in options if key not in config.get_config_options()] == []
    assert options["server.address"] == "127.0.0.1"
    assert options["server.enableXsrfProtection"] is True
    assert options["server.enableAgentApi"] is False
    assert options["browser.gatherUsageStats"] is False
    assert options["client.showErrorDetails"] == "none"
    assert SCRIPT.is_file()


def test_loopback_requires_no_encryption() -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Binding(address=address).is_local
    assert Binding().url == "http://127.0.0.1:8501"
    assert Binding(address="::1").url == "http://[::1]:8501"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_other_addresses_require_encryption(address: str, tmp_path: Path) -> None:
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


def test_a_user_is_required(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ui", "--store", str(store)]) == 2
    assert "`vestigo ui user add NAME --role admin`" in capsys.readouterr().err.splitlines()[-1]


def test_a_store_is_required(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VESTIGO_STORE", raising=False)
    assert run(["ui"]) == 2
    assert "--store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "0.0.0.0"], "unencrypted"),
        (["--config", "nowhere.toml"], "nowhere.toml does not exist"),
        (["--tls-cert", "cert.pem"], "give both"),
        (["--behind-proxy", "no address"], "no address"),
    ],
)
def test_startup_error_is_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    add_user()
    assert run(["ui", "--store", str(store), *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_used_port_is_reported(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_user()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["ui", "--store", str(store), "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1" in capsys.readouterr().err.splitlines()[-1]


def test_interrupt_stops_the_server_silently(store: Path, tmp_path: Path) -> None:
    with serve_app(store, tmp_path) as screen:
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(PATIENCE_S) == 0
        assert screen.log.read_text().splitlines() == [f"the screen is on {screen.url} (Ctrl-C ends it)"]
