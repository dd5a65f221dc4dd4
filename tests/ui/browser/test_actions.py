"""Queue of actions in a browser: nothing that the user does while a page is being run is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.screenshots import settled
from tests.support.signed_in import PATIENCE_S, serve_app
from tests.ui.browser.test_find import results
from tools.label_studio import free_port
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.support.signed_in import Screen
    from tests.ui.conftest import Archive

Visit = Callable[..., "Page"]


def shown_crops(page: Page) -> list[str]:
    """Wait for the results; return their crops in order. The page may be quiet before the results are on it."""
    results(page).first.wait_for(timeout=PATIENCE_S * 1000)
    settled(page)
    crops: list[str] = results(page).evaluate_all("(buttons) => buttons.map((button) => button.dataset.crop)")
    return crops


def test_thirty_quick_verdicts_are_all_saved(visit: Visit, screen: Screen, pristine: Archive) -> None:
    from playwright.sync_api import expect

    query = pristine.crops[2]["crop_id"]
    page = visit(f"/find?crop={query}")
    order = shown_crops(page)[:30]
    assert len(order) == 30
    results(page).first.focus()
    for _ in order:
        page.keyboard.press("c")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
    expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
    with Store.open(screen.store) as store:
        rows = store.verdicts.history(query_key(crops=[query]))
    assert [(row.crop, row.verdict) for row in rows] == [(crop, "confirmed") for crop in order]
    settled(page)
    assert page.get_by_role("list", name="Results").get_by_text("Confirmed", exact=True).count() == 30


def test_verdicts_survive_reload_and_repeated_keys(visit: Visit, screen: Screen, pristine: Archive) -> None:
    from playwright.sync_api import expect

    query = pristine.crops[4]["crop_id"]
    page = visit(f"/find?crop={query}")
    settled(page)
    results(page).first.focus()
    page.keyboard.press("c")
    page.reload()
    page.get_by_text("The nearest").wait_for()
    expect(page.get_by_role("list", name="Results").get_by_text("Confirmed", exact=True)).to_have_count(1)
    settled(page)
    with Store.open(screen.store) as store:
        assert len(store.verdicts.history(query_key(crops=[query]))) == 1
        results(page).first.focus()
        for key in "crrn":
            page.keyboard.press(key)
        expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
        rows = store.verdicts.history(query_key(crops=[query]))
    assert [row.verdict for row in rows] == ["confirmed", None, "rejected", None, "not sure"]


def test_verdicts_are_saved_after_server_was_killed(
    archive: Archive, enter: Callable[..., Page], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    query, port = archive.crops[5]["crop_id"], free_port()
    with serve_app(archive.store, tmp_path, port=port) as screen:
        page = enter(f"{screen.url}/find?crop={query}")
        order = shown_crops(page)[:6]
        results(page).first.focus()
        for key in "cccrrr":
            page.keyboard.press(key)
            page.keyboard.press("ArrowRight")
            if key == "c":
                screen.process.kill()
    with serve_app(archive.store, tmp_path, port=port):
        expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
    with Store.open(archive.store) as store:
        rows = store.verdicts.history(query_key(crops=[query]))
    assert [row.crop for row in rows] == order
    assert [row.verdict for row in rows] == ["confirmed"] * 3 + ["rejected"] * 3


DELAYED_MESSAGES = """
const listen = WebSocket.prototype.addEventListener;
WebSocket.prototype.addEventListener = function (type, listener, ...rest) {
  const events = [];
  const late = (event) => {
    events.push(event);
    setTimeout(() => listener.call(this, events.shift()), window.messageDelayMs ?? 0);
  };
  return listen.call(this, type, type === "message" ? late : listener, ...rest);
};
"""


def test_verdict_is_saved_once_when_server_was_killed_before_its_answer(
    archive: Archive, enter: Callable[..., Page], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    query, port = archive.crops[5]["crop_id"], free_port()
    with Store.open(archive.store) as store:
        with serve_app(archive.store, tmp_path, port=port) as screen:
            page = enter(screen.url)
            page.add_init_script(DELAYED_MESSAGES)
            page.goto(f"{screen.url}/find?crop={query}")
            order = shown_crops(page)
            results(page).first.focus()
            page.evaluate("window.messageDelayMs = 600000")
            page.keyboard.press("c")
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until and not store.verdicts.history(query_key(crops=[query])):
                page.wait_for_timeout(100)
            screen.process.kill()
        page.evaluate("window.messageDelayMs = 0")
        with serve_app(archive.store, tmp_path, port=port):
            expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
        assert [row.crop for row in store.verdicts.history(query_key(crops=[query]))] == order[:1]


COUNT_DIALOGS = """
() => {
    window.closedDialogs = 0;
    const isDialog = (node) => node.matches?.("[role=dialog]") || node.querySelector?.("[role=dialog]");
    const count = (changes) => {
        for (const change of changes) window.closedDialogs += [...change.removedNodes].filter(isDialog).length;
    };
    new MutationObserver(count).observe(document.body, {subtree: true, childList: true});
}"""


def open_first_result(page: Page) -> tuple[Locator, list[str]]:
    """Ask for the first result, without waiting for it; return the dialog and the crops of all results."""
    order = shown_crops(page)
    results(page).first.click()
    return page.get_by_role("dialog"), order


def test_keys_in_dialog_judge_one_result_each(visit: Visit, screen: Screen, pristine: Archive) -> None:
    query = pristine.crops[6]["crop_id"]
    page = visit(f"/find?crop={query}")
    dialog, order = open_first_result(page)
    dialog.get_by_text("1 of").wait_for(timeout=PATIENCE_S * 1000)
    page.evaluate(COUNT_DIALOGS)
    for _ in order[:4]:
        page.keyboard.press("y")
        page.keyboard.press("ArrowRight")
    dialog.get_by_text("5 of").wait_for(timeout=PATIENCE_S * 1000)
    assert page.evaluate("window.closedDialogs") == 0
    with Store.open(screen.store) as store:
        rows = store.verdicts.history(query_key(crops=[query]))
        assert [(row.crop, row.verdict) for row in rows] == [(crop, "confirmed") for crop in order[:4]]
        page.keyboard.press("x")
        dialog.get_by_text("Rejected by reviewer").wait_for()
        dialog.get_by_placeholder("Note").fill("other shoes")
        page.keyboard.press("Tab")
        dialog.get_by_text("other shoes").wait_for()
        assert store.verdicts.history(query_key(crops=[query]))[-1].note == "other shoes"


def test_step_is_kept_when_answers_come_after_the_action_is_sent_again(
    visit: Visit, screen: Screen, pristine: Archive
) -> None:
    from playwright.sync_api import expect

    query = pristine.crops[9]["crop_id"]
    page = visit()
    page.add_init_script(DELAYED_MESSAGES)
    page.goto(f"{screen.url}/find?crop={query}")
    dialog, order = open_first_result(page)
    dialog.get_by_text("1 of").wait_for()
    page.evaluate("window.messageDelayMs = 5000")
    page.keyboard.press("y")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    dialog.get_by_text("2 of").wait_for()
    dialog.get_by_text("Rejected by reviewer").wait_for()
    page.evaluate("window.messageDelayMs = 0")
    settled(page)
    assert dialog.get_by_text("2 of").is_visible()
    page.go_back()
    dialog.get_by_text("1 of").wait_for()
    page.evaluate("window.messageDelayMs = 3000")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    results(page).nth(5).focus()
    page.keyboard.press("c")
    page.evaluate("window.messageDelayMs = 0")
    expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
    settled(page)
    expect(page).not_to_have_url(re.compile("look="))
    with Store.open(screen.store) as store:
        rows = store.verdicts.history(query_key(crops=[query]))
    verdicts = [(order[0], "confirmed"), (order[1], "rejected"), (order[5], "confirmed")]
    assert [(row.crop, row.verdict) for row in rows] == verdicts
