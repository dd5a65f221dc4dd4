"""Addresses in a browser: pages open by their path, and reloads, new tabs and clicks keep what the user chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.screenshots import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.signed_in import Screen
    from tests.ui.conftest import Archive

Visit = Callable[..., "Page"]


def test_case_is_kept_by_reload_and_new_tab(visit: Visit, screen: Screen, pristine: Archive) -> None:
    from playwright.sync_api import expect

    page = visit("/find")
    settled(page)
    page.get_by_role("button", name="reviewer").click()
    page.get_by_placeholder("Case number").fill("26-0815")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="reviewer · case 26-0815")).to_be_visible()
    assert "26-0815" not in page.url
    page.reload()
    expect(page.get_by_role("button", name="reviewer · case 26-0815")).to_be_visible()
    tab = page.context.new_page()
    tab.goto(f"{screen.url}/find?crop={pristine.crops[0]['crop_id']}")
    expect(tab.get_by_role("button", name="reviewer · case 26-0815")).to_be_visible()
    other = visit("/find")
    expect(other.get_by_role("button", name="reviewer", exact=False)).to_be_visible()
    assert "26-0815" not in other.content()


def test_archive_opens_by_its_path(visit: Visit) -> None:
    page = visit("/archive?show=runs")
    page.get_by_role("heading", name="Archive").wait_for()
    settled(page)
    assert "show=runs" in page.url
    assert page.get_by_role("dialog").count() == 0


def test_click_on_active_segment_keeps_it(visit: Visit) -> None:
    page = visit("/review?pane=correct")
    settled(page)
    active = page.get_by_role("radio", name="Correct")
    active.click()
    settled(page)
    assert active.get_attribute("aria-checked") == "true"
    assert "pane=correct" in page.url


def test_link_of_result_keeps_conditions(visit: Visit, pristine: Archive) -> None:
    query = f"/find?crop={pristine.crops[0]['crop_id']}&within=hall&where=hat%3Dno&filter=strict"
    page = visit(query)
    settled(page)
    page.get_by_role("list", name="Results").locator(".crop").first.click()
    link = page.get_by_role("dialog").get_by_role("link", name="Find with this crop")
    address = link.get_attribute("href") or ""
    assert all(part in address for part in ("within=hall", "where=hat%3Dno", "filter=strict"))
    assert page.get_by_text("The address is not followed").count() == 0
