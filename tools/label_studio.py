"""A Label Studio server of one's own: installed apart from Vestigo, on the loopback, and it calls nobody.

`python -m tools.label_studio` (`make label-studio`) installs it where it is missing, starts it, and says where it
answers and where its password and token lie. Data stay in `.label-studio/data`, so the next start goes on with them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.provide import Missing

VERSION = "1.23.2"
FOLDER = Path(__file__).parent.parent / ".label-studio"
PORT = 8080
PATIENCE = 600
"""Seconds that the first start may take: it makes its database."""


@dataclass(frozen=True)
class Server:
    """A server that answers; `files` is the folder whose files it shows (`--images local:FILES`)."""

    url: str
    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    files: Path


def install(folder: Path = FOLDER) -> Path:
    """Return the server's program; it is installed with pip into a virtual environment of its own, once.

    Raises:
        Missing: pip failed; the message is the line in which it said why.
    """
    venv = folder / f"venv-{VERSION}"
    program = venv / "bin" / "label-studio"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            return program
        print(f"installing Label Studio {VERSION} into {venv} (some minutes, 1 GB)", file=sys.stderr, flush=True)
        for command in (
            [sys.executable, "-m", "venv", str(venv)],
            [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", f"label-studio=={VERSION}"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                raise Missing(f"Label Studio {VERSION} cannot be installed: {said[-1] if said else command[0]}")
    return program


@contextmanager
def running(
    program: Path,
    data: Path,
    *,
    port: int,
    user: str,
    password: str,
    token: str,
    extra: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start a server over `data`, made where it is missing, and end it with the block.

    token: at most 40 characters; it and the password count from the first start on. extra: more of its environment.

    Raises:
        Missing: the server ended, or did not answer in time; the message names its log.
    """
    files = data / "files"
    files.mkdir(parents=True, exist_ok=True)
    environment = {
        # Nothing of this stands on the command line, which every user of the machine can read.
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": user,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    }
    log = data / "log"
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=data, env=os.environ | environment | dict(extra or {}), stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield Server(url, user, password, token, files)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Missing(f"Label Studio ended with status {process.returncode}: see {log}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    raise Missing(f"Label Studio does not answer at {url} after {PATIENCE} seconds: see {log}")


def free_port() -> int:
    """Return a port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _secret(path: Path) -> str:
    """Return what a file for its owner only holds; made of chance where it is missing."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(20))
    return path.read_text().strip()


def main() -> int:
    """Run a server in the foreground until it is interrupted."""
    try:
        program = install()
        user, password, token = "vestigo@localhost", FOLDER / "password", FOLDER / "token"
        with running(
            program, FOLDER / "data", port=PORT, user=user, password=_secret(password), token=_secret(token)
        ) as server:
            print(
                f"Label Studio {VERSION} answers at {server.url}\n"
                f"  user           {user}\n"
                f"  password in    {password}\n"
                f"  API token in   {token}\n"
                f"  next           vestigo label push --store STORE --project NAME --url {server.url} "
                f"--token-file {token}\n"
                "Ctrl-C ends it.",
                flush=True,
            )
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except Missing as missing:
        print(f"vestigo: {missing}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
