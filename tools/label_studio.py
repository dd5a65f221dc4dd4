"""Run a local Label Studio server on the loopback, in its own virtual environment and without telemetry.

`python -m tools.label_studio` (`make label-studio`) installs the server if necessary, starts it, and prints its URL and
the files of its password and token. Data stay in `.label-studio/data` and are used again by the next start.
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
START_TIMEOUT_S = 600
"""The first start creates the database."""


@dataclass(frozen=True)
class Server:
    """A running server; `files` is the folder that it serves files from (`--images local:FILES`)."""

    url: str
    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    files: Path


def install(folder: Path = FOLDER) -> Path:
    """Return the server's executable; the first call installs it with pip into its own virtual environment.

    Raises:
        Missing: pip failed; the message ends with the last line of its output.
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
                output = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                raise Missing(f"Label Studio {VERSION} cannot be installed: {output[-1] if output else command[0]}")
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
    """Run a server on the folder `data` for the length of the block.

    Args:
        program: The executable that `install` returns.
        data: Folder of the database and files; created if it does not exist.
        port: Port on the loopback.
        user: Email address of the owner.
        password: Password of the owner, set by the first start.
        token: API token of at most 40 characters, set by the first start.
        extra: Further environment variables.

    Raises:
        Missing: The server ended or did not answer in time; the message names its log.
    """
    files = data / "files"
    files.mkdir(parents=True, exist_ok=True)
    environment = {
        # Secrets are not on the command line, which every user of the machine can read.
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
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Missing(f"Label Studio ended with status {process.returncode}: see {log}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    raise Missing(f"Label Studio does not answer at {url} after {START_TIMEOUT_S} seconds: see {log}")


def free_port() -> int:
    """Return an unused port of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _load_secret(path: Path) -> str:
    """Return the secret in a file that only its owner can read; create a random one if there is none."""
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
            program, FOLDER / "data", port=PORT, user=user, password=_load_secret(password), token=_load_secret(token)
        ) as server:
            print(
                f"Label Studio {VERSION} runs at {server.url}\n"
                f"  user           {user}\n"
                f"  password in    {password}\n"
                f"  API token in   {token}\n"
                f"  next step      vestigo label push --store STORE --project NAME --url {server.url} "
                f"--token-file {token}\n"
                "Press Ctrl-C to stop it.",
                flush=True,
            )
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except Missing as error:
        print(f"vestigo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
