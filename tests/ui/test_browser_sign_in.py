"""Signing in as a person does, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.ui import screenshots
from tests.ui.signed_in import PASSWORD, PATIENCE_S, Screen
from vestigo_ui.web.users import Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Page]:
    """A browser that was never here; what its console complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    # A refused password is an answer with status 401, which the browser counts among the errors.
    assert [text for text in complaints if "401" not in text] == []


def fill(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_person_signs_in_reloads_and_signs_out(stranger: Page, screen: Screen) -> None:
    page = stranger
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

    page.goto(f"{screen.url}/sign-out")
    page.get_by_text("signed in as viewer").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()
    page.go_back()
    page.goto(f"{screen.url}/models")
    page.get_by_label("Password").wait_for()


def test_a_session_that_ends_leads_back_to_signing_in(stranger: Page, screen: Screen) -> None:
    page = stranger
    screen.users.add("passing", Role.VIEWER, PASSWORD)
    page.goto(f"{screen.url}/models")
    fill(page, "passing", PASSWORD)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    screen.users.remove("passing")
    page.get_by_role("link", name="Review").first.click()
    page.get_by_label("Password").wait_for()
    assert page.url.startswith(f"{screen.url}/sign-in?next=")
    assert page.get_by_test_id("stApp").count() == 0
