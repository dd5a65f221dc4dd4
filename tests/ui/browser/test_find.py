"""Page Find in a browser: query, upload, verdicts and open results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.screenshots import keep, settled
from vestigo_models.inference.images import read_image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.support.signed_in import Screen
    from tests.ui.conftest import Archive

Visit = Callable[..., "Page"]


def results(page: Page) -> Locator:
    return page.get_by_role("list", name="Results").locator(".crop")


def test_query_verdicts_and_open_result(visit: Visit, screen: Screen) -> None:
    from playwright.sync_api import expect

    page = visit("/find")
    keep(page, "find-sightings")
    page.get_by_role("list", name="Sightings").locator(".crop").first.click()
    page.get_by_text("The nearest").wait_for()
    settled(page)
    assert "crop=" in page.url
    link = page.url

    results(page).first.focus()
    page.keyboard.press("c")
    page.get_by_text("Confirmed", exact=True).nth(1).wait_for()
    settled(page)
    results(page).nth(1).focus()
    page.keyboard.press("r")
    page.get_by_text("Rejected", exact=True).first.wait_for()
    keep(page, "find-results")
    keep(page, "find-results", scheme="dark")

    results(page).nth(2).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Why it matches").wait_for()
    settled(page)
    assert "look=" in page.url
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    settled(page)
    expect(page).not_to_have_url(re.compile("look="))

    page.get_by_role("button", name="confirmed to the query").click()
    page.wait_for_function("new URLSearchParams(location.search).getAll('crop').length === 2")
    settled(page)
    page.get_by_text("Rejected", exact=True).first.wait_for()

    page.goto(link)
    page.get_by_text("The nearest").wait_for()
    page.get_by_text("Rejected", exact=True).first.wait_for()
    assert str(screen.store.parent) not in page.content()


def test_box_is_drawn_on_uploaded_frame(visit: Visit, pristine: Archive) -> None:
    row = max(pristine.crops, key=lambda row: row["quality"])
    path = pristine.footage / row["input"]
    height, width = read_image(path).shape[:2]
    page = visit("/find?pane=upload")
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("Draw a box").wait_for()
    drag = page.locator(".js-plotly-plot .nsewdrag").first
    drag.wait_for()
    settled(page)
    place = drag.bounding_box()
    assert place is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return place["x"] + place["width"] * x / width, place["y"] + place["height"] * y / height

    page.mouse.move(*at(row["x"], row["y"]))
    page.mouse.down()
    page.mouse.move(*at(row["x"] + row["w"] / 2, row["y"] + row["h"] / 2), steps=4)
    page.mouse.move(*at(row["x"] + row["w"], row["y"] + row["h"]), steps=4)
    page.mouse.up()
    page.get_by_text("Your box").wait_for()
    keep(page, "find-upload")
    page.get_by_role("button", name="Add to the query").click()
    page.get_by_text("The nearest").wait_for()
    settled(page)
    nearest = results(page).first.get_attribute("aria-label") or ""
    assert row["camera"] in nearest
    assert float(nearest.split(" · ")[1].split(",")[0]) < 0.3


def test_link_keeps_filter_and_grouping(visit: Visit) -> None:
    page = visit("/find?where=gender%3Dfemale&filter=strict&top=96", name="viewer")
    page.get_by_text("The nearest").wait_for()
    settled(page)
    assert page.get_by_text("about").first.is_visible()
    page.reload()
    page.get_by_text("The nearest").wait_for()
    assert "where=gender" in page.url
    assert "filter=strict" in page.url
    page.get_by_role("radio", name="Camera").click()
    page.wait_for_url("**group=camera**")
    settled(page)
    page.get_by_role("heading", name="Timeline").scroll_into_view_if_needed()
    settled(page)
    keep(page, "find-timeline")
