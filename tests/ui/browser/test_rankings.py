"""Page Rankings in a browser: two rankings, an open query and an open row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.accessibility import find_violations
from tests.support.ranked_store import ranked_store
from tests.support.screenshots import keep, settled
from tests.support.signed_in import serve_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.ui.conftest import Archive


@pytest.fixture(scope="module")
def address(pristine: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("rankings")
    with serve_app(ranked_store(pristine, folder), folder) as screen:
        yield screen.url


@pytest.fixture
def visit(enter: Callable[..., Page], address: str) -> Callable[..., Page]:
    def open_page(path: str) -> Page:
        page = enter(address + path, "viewer")
        page.get_by_role("heading", name="Rankings").wait_for()
        return page

    return open_page


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def test_rankings_are_compared_and_opened(visit: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    page = visit("/rankings")
    choose(page, "Ranking", "everybody")
    page.get_by_label("Queries with their nearest crops").wait_for()
    assert "ranking=everybody" in page.url
    tiles = page.locator(".tile")
    assert tiles.first.locator(".mark").inner_text() == "Query"
    assert {"True match", "False match"} & set(page.locator(".tile .mark").all_inner_texts())
    keep(page, "rankings-one")
    assert find_violations(page) == []
    keep(page, "rankings-one", scheme="dark")
    assert find_violations(page) == []

    choose(page, "Compare with", "only-hall")
    page.get_by_text("queries that both score").wait_for()
    assert "with=only-hall" in page.url
    page.get_by_text("Compared", exact=True).first.wait_for()
    keep(page, "rankings-two")

    page.locator(".tile .crop").nth(1).click()
    page.get_by_role("dialog").get_by_text("Find with this crop").wait_for()
    assert "look=" in page.url
    keep(page, "rankings-result")
    assert find_violations(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("dialog").wait_for(state="detached")
    settled(page)
    expect(page).not_to_have_url(re.compile("look="))

    page.locator(".tile .crop").first.click()
    page.get_by_role("button", name="All queries").wait_for()
    settled(page)
    assert "query=" in page.url
    keep(page, "rankings-query")
    page.reload()
    page.get_by_role("button", name="All queries").click()
    page.get_by_label("Queries with their nearest crops").wait_for()


def test_panes_by_link_and_pages_by_key(visit: Callable[..., Page]) -> None:
    page = visit("/rankings?ranking=everybody&with=shallow&pane=cameras")
    page.get_by_text("Each pair of cameras is ranked by itself").wait_for()
    page.locator(".js-plotly-plot").nth(1).wait_for()
    keep(page, "rankings-cameras")
    assert find_violations(page) == []
    page.get_by_role("radio", name="CMC curve").click()
    page.locator(".js-plotly-plot .scatterlayer").first.wait_for()
    settled(page)
    assert "pane=curve" in page.url
    keep(page, "rankings-curve")
    keep(page, "rankings-curve", scheme="dark")
    assert find_violations(page) == []
    page.get_by_role("radio", name="Queries").click()
    page.get_by_label("Queries with their nearest crops").wait_for()
    settled(page)
    # A focused choice handles the keys itself.
    page.get_by_role("heading", name="Rankings").click()
    page.keyboard.press("Alt+ArrowRight")
    page.wait_for_url("**page=2**")
