"""The connection to Label Studio: errors of one line, and a token that is never shown."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.label_studio import open_store, record_sample, render_images
from tools.label_studio import Server, free_port
from vestigo.review.label_studio.client import LabelStudioClient, read_token
from vestigo.review.label_studio.images import open_image_storage
from vestigo.review.label_studio.pull import pull
from vestigo.review.label_studio.push import push_tasks
from vestigo_models.errors import ConfigError, VestigoError, WorkError

pytestmark = pytest.mark.slow

TOKEN = "s3cret" * 6


@contextmanager
def answering(body: str, kind: str, status: int = 200, **headers: str) -> Iterator[str]:
    """URL of a server that gives everybody the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(url: str | None, token: str = TOKEN, patience: float = 1) -> VestigoError:
    with pytest.raises(VestigoError) as refused:
        LabelStudioClient.connect(url, token, patience=patience)
    assert "\n" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("url", ["label studio", "127.0.0.1:8080", "ftp://host", "http://", "http://host:port"])
def test_invalid_urls_are_rejected(url: str) -> None:
    assert str(refusal(url)) == f"{url} is no URL of a server: write it like http://127.0.0.1:8080"


@pytest.mark.parametrize("user", ["http://ana:hunter2", "http://hunter2", "ana:hunter2", "http://ana:hunter2/'@2"])
def test_url_with_password_is_rejected_without_showing_it(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "the URL of server example.org:80 holds a user or password: leave it out; a token is enough"
    assert str(refusal(f"{user}@example.org:80")) == message
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    assert "name it with --url or LABEL_STUDIO_URL" in str(refusal(None))


def test_unreachable_server_is_reported() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error = refusal(url, patience=60)
    assert isinstance(error, WorkError)
    assert f"nothing answers at {url}" in str(error)
    assert "start the server, or correct --url" in str(error)


@pytest.mark.parametrize(("body", "kind"), [("<html>It works!</html>", "text/html"), ('{"ok": 1}', "application/json")])
def test_other_servers_are_rejected(body: str, kind: str) -> None:
    with answering(body, kind) as url:
        assert f"server {url} answers and is no Label Studio" in str(refusal(url))


def test_redirecting_server_is_rejected(label_studio: Server) -> None:
    # A POST that is sent on to another address arrives there as a GET.
    with answering("", "text/plain", 301, Location=f"{label_studio.url}/health") as url:
        line = f"server {url} redirects to {label_studio.url}/health: name that server (--url)"
        assert str(refusal(url)) == line


def test_old_server_is_rejected() -> None:
    with answering(json.dumps({"release": "1.10.1"}), "application/json") as url:
        assert str(refusal(url)) == f"server {url} is Label Studio 1.10.1; 1.22 or newer is needed: update it"


def test_failing_server_is_retried_until_patience_ends() -> None:
    with answering("busy", "text/plain", 503) as url:
        error = refusal(url)
    assert isinstance(error, WorkError)
    assert f"server {url} does not answer (HTTP 503), tried for 1 seconds" in str(error)
    assert "the same command goes on" in str(error)


def test_oversized_request_is_reported() -> None:
    with answering("<html>413</html>", "text/html", 413) as url:
        assert "keep images out of the tasks (--images local:ROOT or s3://BUCKET/PREFIX)" in str(refusal(url))


def test_wrong_token_is_reported(label_studio: Server) -> None:
    error = refusal(label_studio.url)
    assert f"server {label_studio.url} refuses the token (401" in str(error)
    assert "--token-file" in str(error)
    assert TOKEN not in "".join(traceback.format_exception(error)) + repr(error)


def test_token_is_read_from_environment_or_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    assert read_token(None) == TOKEN
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"open to others \(mode 644\): chmod 600 {file}"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.write_text("two words")
    with pytest.raises(ConfigError, match="holds no token") as refused:
        read_token(file)
    assert "two words" not in str(refused.value)
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_token(file)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    with pytest.raises(ConfigError, match="set LABEL_STUDIO_API_KEY, or name a file with --token-file"):
        read_token(None)


def test_personal_access_token_is_accepted(studio: LabelStudioClient, label_studio: Server) -> None:
    token = studio.sdk.tokens.create().token
    with LabelStudioClient.connect(label_studio.url + "/", token, patience=5) as other:
        assert other.url == label_studio.url
        assert other.sdk.users.whoami().email == label_studio.user
    assert token not in repr(other)


def test_token_is_never_shown(
    label_studio: Server, tmp_path: Path, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        open_store(tmp_path) as store,
        LabelStudioClient.connect(label_studio.url, label_studio.token, patience=1) as studio,
    ):
        record_sample(store, project, 2)
        push_tasks(store, studio, project, render_images, open_image_storage("inline"))
        pull(store, studio, project)
        with pytest.raises(ConfigError) as refused:
            studio.call(lambda: studio.sdk.tasks.get("0"))
        assert refused.value.__context__ is None
        assert refused.value.__cause__ is None
        shown = repr(studio) + repr(refused.value) + caplog.text
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert label_studio.token not in shown
    assert label_studio.token.encode() not in held
    assert label_studio.url.encode() in held
