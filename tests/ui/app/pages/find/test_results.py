"""Page Find without a browser: verdicts, actions on results, and uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st

from tests.support.app_pages import widget, words
from tests.support.find_page import Open, crops_of, entries, param
from tests.support.find_page import opened as opened
from tests.support.find_page import page as page
from tests.support.find_page import sheets as sheets
from tests.support.find_page import store as store
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.contact_sheet import Tile
from vestigo_ui.app.components.result import bar
from vestigo_ui.app.pages.find import upload

if TYPE_CHECKING:
    from tests.ui.conftest import Archive

pytestmark = pytest.mark.slow


def test_reviewer_records_and_withdraws_verdicts(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[5]["crop_id"]
    app = page(crop=crop)
    first, second = crops_of(sheets["find-results"])[:2]
    order = crops_of(sheets["find-results"])
    for action, chosen in (("confirm", first), ("reject", second)):
        sheets["do"]["find-results"] = UserAction(action, chosen)
        app.run()
    key = query_key(crops=[crop])
    assert {crop_id: verdict.verdict for crop_id, verdict in store.verdicts.current(key).items()} == {
        first: "confirmed",
        second: "rejected",
    }
    tiles = sheets["find-results"]["tiles"]
    assert [tile.crop for tile in tiles] == order
    assert [(tile.mark, tile.tone) for tile in tiles[:3]] == [("Confirmed", "right"), ("Rejected", "wrong"), ("", "")]
    sheets["do"]["find-results"] = UserAction("withdraw", second)
    app.run()
    assert second not in store.verdicts.current(key)
    assert entries(store, "verdict")[0].user == "the-reviewer"

    # The confirmed crop is added to the query, and the verdicts remain.
    widget(app, "button", "Add 1 confirmed to the query").click().run()
    assert param(app, "crop") == [crop, first]
    assert param(app, "root") == [key]
    sheets["do"]["find-results"] = UserAction("not-sure", second)
    app.run()
    assert store.verdicts.current(key)[second].verdict == "not sure"
    # It stays among the results, in the timeline and in the table.
    page(crop=[crop, first], root=key, show="confirmed")
    assert crops_of(sheets["find-results"]) == [first]
    page(crop=[crop, first], root=key)
    assert first in crops_of(sheets["find-results"])
    assert crop not in crops_of(sheets["find-results"])
    page(crop=[crop], show="confirmed")
    assert crops_of(sheets["find-results"]) == [first]
    page(crop=[crop], show="undecided")
    assert not {first, second} & set(crops_of(sheets["find-results"]))


def test_viewer_cannot_record_verdict(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[7]["crop_id"]
    app = page(crop=crop, role="viewer")
    assert {action.name for action in sheets["find-results"]["actions"]} == {"search", "add"}
    sheets["do"]["find-results"] = UserAction("confirm", crops_of(sheets["find-results"])[0])
    app.run()
    assert store.verdicts.current(query_key(crops=[crop])) == {}
    assert "requires the role reviewer" in str(sheets["error"])


def test_verdicts_of_another_case_are_not_shown(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[9]["crop_id"]
    app = page(crop=crop)
    sheets["do"]["find-results"] = UserAction("confirm", crops_of(sheets["find-results"])[0])
    app.run()
    app.text_input(key="account-case").set_value("26-0815").run()
    assert not any(tile.mark for tile in sheets["find-results"]["tiles"])


def test_result_is_searched_or_added(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop, where="hat=no", within="hall", since="2026-05-01T08:00:00", filter="strict")
    first, second = crops_of(sheets["find-results"])[:2]
    sheets["do"]["find-results"] = UserAction("add", first)
    app.run()
    assert param(app, "crop") == [crop, first]
    sheets["do"]["find-results"] = UserAction("search", second)
    app.run()
    assert param(app, "crop") == [second]
    assert param(app, "filter") == ["strict"]
    assert not {"root", "where", "within", "since"} & set(app.query_params)
    app.button(key="queued-new-search").click().run()
    assert "crop" not in app.query_params


def test_result_is_opened_by_click_and_link(page: Open, archive: Archive, sheets: Any, opened: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop)
    assert not opened
    chosen = crops_of(sheets["find-results"])[2]
    sheets["do"]["find-results"] = UserAction("open", chosen)
    app.run()
    assert param(app, bar.LOOK) == [chosen]
    assert opened[-1][0] == chosen
    assert list(opened[-1][1].distances)[2] == chosen
    assert opened[-1][1].key == query_key(crops=[crop])
    page(crop=crop, look=chosen)
    assert opened[-1][0] == chosen


def test_upload_is_searched_and_belongs_to_session(
    page: Open, archive: Archive, store: Store, sheets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def click_first(tiles: list[Tile], *, on_action: Callable[[UserAction], object], **more: Any) -> None:
        on_action(UserAction("open", tiles[0].crop))
        st.rerun()

    monkeypatch.setattr(upload, "contact_sheet", click_first)
    row = max(archive.crops, key=lambda row: row["quality"])
    app = page(pane="upload")
    assert "not written to the store" in words(app)
    app.file_uploader(key="find-file").set_value([("person.jpg", row["image"], "image/jpeg")]).run()
    assert "The nearest" in words(app)
    assert crops_of(sheets["find-results"])[0] == row["crop_id"]
    details = entries(store, "search")[0].details
    assert details["query_crops"] == []
    assert [len(digest) for digest in details["query_uploads"]] == [16]
    assert "The nearest" not in words(page())


def test_upload_that_is_not_image_is_reported(page: Open) -> None:
    app = page(pane="upload")
    app.file_uploader(key="find-file").set_value([("notes.jpg", b"these are notes", "image/jpeg")]).run()
    assert "Upload another image" in words(app)
    assert not app.exception
