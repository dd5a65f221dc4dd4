"""Every page and dialog in a browser: no critical or serious finding of axe-core, in light and dark themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest

from tests.support.accessibility import find_violations
from tests.support.screenshots import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.signed_in import Screen
    from tests.ui.conftest import Archive

Visit = Callable[..., "Page"]
PATHS = (
    "/",
    "/?show=runs",
    "/find?pane=archive",
    "/find?pane=upload",
    "/find?where=hat%3Dno&since=2026-05-01T08:00&within=nowhere",
    "/rankings",
    "/attributes?attribute=hat",
    "/review",
    "/review?pane=propose",
    "/review?pane=correct",
    "/review?pane=sets",
    "/models",
)


def check(page: Page) -> None:
    settled(page)
    assert find_violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_finding(visit: Visit, screen: Screen, scheme: Literal["light", "dark"]) -> None:
    page = visit("/", "admin", scheme=scheme)
    for path in PATHS:
        page.goto(screen.url + path)
        check(page)


@pytest.mark.parametrize(("name", "scheme"), [("viewer", "light"), ("reviewer", "dark")])
def test_results_and_their_dialog_have_no_serious_finding(
    visit: Visit, pristine: Archive, name: str, scheme: Literal["light", "dark"]
) -> None:
    page = visit(f"/find?crop={pristine.crops[8]['crop_id']}", name, scheme=scheme)
    settled(page)
    results = page.get_by_role("list", name="Results").locator(".crop")
    results.first.focus()
    page.keyboard.press("r")
    check(page)
    results.nth(1).click()
    page.get_by_role("dialog").get_by_text("Why it matches").wait_for()
    check(page)


def test_menus_and_other_dialogs_have_no_serious_finding(visit: Visit, screen: Screen) -> None:
    page = visit("/find", "admin")
    settled(page)
    for menu in ("admin", "Time", "Looking like"):
        page.get_by_role("button", name=menu).first.click()
        check(page)
        page.keyboard.press("Escape")
    page.goto(f"{screen.url}/sign-in")
    assert find_violations(page) == []
