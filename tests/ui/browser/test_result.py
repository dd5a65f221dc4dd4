"""Dialog of a result in a browser: navigation, regions, verdicts and tracklet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.screenshots import keep, settled
from tests.support.signed_in import Screen
from tests.ui.conftest import Archive
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_query
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_result_is_shown_in_dialog(visit: Callable[..., Page], screen: Screen, pristine: Archive) -> None:
    from playwright.sync_api import expect

    query = pristine.crops[0]["crop_id"]
    with Store.open(screen.store) as store:
        earlier = max((entry.id for entry in store.audit.entries(newest=True, limit=1)), default=0)
        hits = search_query(store, Query(crops=(query,)), top=20).hits
        page = visit(f"/find?crop={query}&look={hits[0].crop}")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("Why it matches")).to_be_visible()
        expect(dialog.get_by_text(f"Distance {hits[0].distance:.3f}")).to_be_visible()
        expect(dialog.get_by_alt_text("The frame that the result was cut from")).to_be_visible()
        settled(page)
        keep(page, "result")
        keep(page, "result", scheme="dark")

        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_text(f"Distance {hits[1].distance:.3f}")).to_be_visible()
        expect(page).to_have_url(re.compile(hits[1].crop))

        dialog.get_by_role("radio", name="Body regions").click()
        expect(dialog.get_by_text("The parser:")).to_be_visible()
        keep(page, "result-regions")

        dialog.get_by_placeholder("Note").fill("the same shoes")
        page.keyboard.press("Tab")
        dialog.get_by_role("button", name=re.compile("^Confirm")).click()
        expect(dialog.get_by_text(re.compile("Confirmed by reviewer.*the same shoes"))).to_be_visible()
        assert store.verdicts.current(query_key(crops=[query]))[hits[1].crop].note == "the same shoes"

        dialog.get_by_role("list", name="Same tracklet").get_by_role("button").first.click()
        expect(dialog.get_by_text("no verdict yet")).to_be_visible()
        expect(page).not_to_have_url(re.compile(hits[1].crop))
        page.reload()
        expect(dialog.get_by_text("Why it matches")).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page).not_to_have_url(re.compile("look="))
        expect(page.get_by_text("Confirmed").first).to_be_attached()
        seen = [entry.details["crop"] for entry in store.audit.entries(after=earlier, action="view", user="reviewer")]
        assert seen[:2] == [hits[0].crop, hits[1].crop]


def test_heads_are_hidden_in_the_dialog(visit: Callable[..., Page], pristine: Archive) -> None:
    from playwright.sync_api import expect

    query = pristine.crops[0]["crop_id"]
    page = visit(f"/find?crop={query}", "viewer")
    settled(page)
    page.get_by_role("button", name="viewer").click()
    page.get_by_text("Hide faces and heads").click()
    page.keyboard.press("Escape")
    settled(page)
    page.get_by_role("list", name="Results").locator(".crop").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_alt_text("The frame that the result was cut from")).to_be_visible()
    assert dialog.get_by_role("button", name=re.compile("^Confirm")).count() == 0
    settled(page)
    keep(page, "result-hidden")
