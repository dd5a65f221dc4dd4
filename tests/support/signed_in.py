"""`vestigo ui` itself on a free port, with somebody of each role who may sign in."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tools.label_studio import free_port
from vestigo_ui.web.auth.users import Role, Users

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.ui.conftest import Archive

PATIENCE_S = 180
"""A busy machine takes long to start Streamlit; nothing is measured here."""
PASSWORD = "only good for tests"
PROGRAM = (Path(sysconfig.get_path("scripts")) / "vestigo",)
PEOPLE = {role.value: role for role in Role}


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A running server: where it is, its store, who may sign in, and what it printed."""

    url: str
    store: Path
    users: Users
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def serve_app(
    store: Path,
    folder: Path,
    *,
    people: Mapping[str, Role] = PEOPLE,
    options: tuple[str, ...] = (),
    port: int = 0,
    program: Sequence[str | Path] = PROGRAM,
) -> Iterator[Screen]:
    """Run `vestigo ui` for a store with its own files in `folder`; the names in `people` sign in with PASSWORD."""
    users = Users(folder / "users.toml")
    for name, role in people.items():
        if name not in users.accounts():
            users.add(name, role, PASSWORD)
    port = port or free_port()
    log = folder / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*program, "ui", "--store", store, "--port", str(port), "--users", users.path, *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"XDG_CONFIG_HOME": str(folder)},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/healthz", process, log)
        yield Screen(url=url, store=store, users=users, log=log, process=process)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer: {log.read_text()}")


def sign_in(page: Page, url: str, name: str = "reviewer") -> None:
    """Open an address of the app as a person does who is not signed in yet."""
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_test_id("stApp").wait_for()


@pytest.fixture(scope="session")
def screen(pristine: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The app on the archive of rendered people; what drives a browser and changes little shares it."""
    folder = tmp_path_factory.mktemp("ui")
    with serve_app(pristine.copy(folder / "store"), folder) as screen:
        yield screen


@pytest.fixture
def enter(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`enter(url, name="reviewer", scheme="light")`: an address of an app in a browser of its own, signed in."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_S * 1000)
    contexts = []

    def open_page(url: str, name: str = "reviewer", *, scheme: Literal["light", "dark"] = "light") -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        page = context.new_page()
        sign_in(page, url, name)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def visit(enter: Callable[..., Page], screen: Screen) -> Callable[..., Page]:
    """`visit(path="/", name="reviewer", scheme="light")`: a page of the app that is shared."""
    return lambda path="/", name="reviewer", **options: enter(screen.url + path, name, **options)
