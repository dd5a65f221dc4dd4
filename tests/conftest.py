"""Fixtures for all tests, and the exclusion of tests whose requirements this machine lacks.

A test whose part is missing is deselected, never skipped, and the end of the run prints the numbers and reasons.
Fixtures of one subject have their own plugin: `tests.support.datasets`, `tests.support.postgres`.
"""

from __future__ import annotations

import gc
import os
import secrets

# One thread a process, as in the pipeline's actors, so that sums have one order; set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# Clusters of the tests require their own token and write none into the home folder.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
# Drivers connect to these clusters on loopback: see vestigo_workers, which leaves named clusters alone.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools import provide

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = [
    f"tests.support.{plugin}"
    for plugin in ("datasets", "label_studio", "postgres", "ray_cluster", "s3", "scheduling")
    if (Path(__file__).parent / "support" / f"{plugin}.py").exists()
]

FOOTAGE = "VESTIGO_TEST_DATA"
SLOW_PARTS = {"browser", "label_studio", "postgres", "ray", "ray_cluster", "real_data", "screen"}
"""Fixtures and markers of tests that `make test-fast` excludes."""
_EXCLUDED = pytest.StashKey[Counter[str]]()


def _reasons() -> dict[str, str]:
    """Return the reason why the tests of a part are excluded, by the name of the part's marker and fixture."""
    try:
        reasons = {part: f"VESTIGO_WITHOUT={part}" for part in provide.excluded_parts()}
    except provide.Missing as error:
        raise pytest.UsageError(str(error)) from None
    footage = os.environ.get(FOOTAGE)
    if not footage:
        reasons["real_data"] = f"{FOOTAGE} is not set"
    elif not Path(footage).is_dir():
        raise pytest.UsageError(f"{FOOTAGE} names {footage}, which is not a folder")
    return reasons


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exempt imported modules from garbage collection: Streamlit collects in full after each run of a page."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = _reasons()
    excluded: Counter[str] = Counter()
    kept, dropped = [], []
    for item in items:
        named = set(getattr(item, "fixturenames", ())) | {mark.name for mark in item.iter_markers()}
        part = next((part for part in reasons if part in named), None)
        (kept if part is None else dropped).append(item)
        if part is not None:
            excluded[f"{part} ({reasons[part]})"] += 1
        if SLOW_PARTS & named or "end_to_end" in item.path.parts:
            item.add_marker(pytest.mark.slow)
    config.stash[_EXCLUDED] = excluded
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["excluded"] = dict(session.config.stash[_EXCLUDED])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Each process has collected all tests.
    node.config.stash[_EXCLUDED] = Counter(getattr(node, "workeroutput", {}).get("excluded", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    excluded: Counter[str] = config.stash.get(_EXCLUDED, Counter())
    for reason, count in sorted(excluded.items()):
        terminalreporter.write_line(f"excluded: {count} {'test' if count == 1 else 'tests'} of {reason}", yellow=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real footage and the real attribute file."""
    return Path(os.environ[FOOTAGE])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium that connects to this machine only."""
    from playwright.sync_api import sync_playwright

    program = provide.find_browser()
    assert program is not None, "no browser: run `make test`, or exclude its tests: VESTIGO_WITHOUT=browser"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program,
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-gpu",
                "--disable-sync",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
                "--no-first-run",
            ],
        )
        yield chromium
        chromium.close()
