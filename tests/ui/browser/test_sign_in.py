"""Signing in as a person does, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import TimeoutError

from tests.support import screenshots
from tests.support.signed_in import PASSWORD, PATIENCE_S, Screen
from vestigo_ui.web.auth.users import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Page]:
    """A browser that was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_S * 1000)
    yield context.new_page()
    context.close()


def complaints_of(page: Page) -> list[str]:
    """Return what the page's console complains about from now on; a refused sign-in is an error to the browser."""
    complaints: list[str] = []

    def messages(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.location["url"].endswith("/sign-in"):
            complaints.append(f"{message.text} ({message.location['url']})")

    page.on("console", messages)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def fill(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_user_signs_in_reloads_and_signs_out(stranger: Page, screen: Screen) -> None:
    page, complaints = stranger, complaints_of(stranger)
    page.goto(f"{screen.url}/models?page=2")
    assert page.url == f"{screen.url}/sign-in?next=%2Fmodels%3Fpage%3D2"
    fill(page, "viewer", "not the password")
    page.get_by_role("alert").get_by_text("Name or password is wrong.").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in screenshots.WIDTHS:
            page.set_viewport_size({"width": width, "height": screenshots.HEIGHT})
            page.screenshot(path=screenshots.FOLDER / f"sign-in-{scheme}-{width}.png")
    fill(page, "viewer", PASSWORD)
    page.get_by_test_id("stApp").wait_for()
    assert page.url.startswith(f"{screen.url}/models")
    page.reload()
    page.locator("[data-test-script-state=notRunning]").wait_for()
    assert page.title() != "Streamlit"
    assert complaints == []

    page.goto(f"{screen.url}/sign-out")
    page.get_by_text("signed in as viewer").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()
    page.go_back()
    page.goto(f"{screen.url}/models")
    page.get_by_label("Password").wait_for()


def test_ended_session_redirects_to_sign_in(stranger: Page, screen: Screen) -> None:
    page = stranger
    screen.users.add("passing", Role.VIEWER, PASSWORD)
    page.goto(f"{screen.url}/models")
    fill(page, "passing", PASSWORD)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    screen.users.remove("passing")
    # An app that is still busy may find out by itself before anybody clicks.
    with suppress(TimeoutError):
        page.get_by_role("link", name="Review").first.dispatch_event("click", timeout=5000)
    page.get_by_label("Password").wait_for()
    assert page.url.startswith(f"{screen.url}/sign-in?next=")
    assert page.get_by_test_id("stApp").count() == 0
