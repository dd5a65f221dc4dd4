"""Page Find without a browser: tests read its contact sheets and send input to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st

from tests.support.app_pages import run_app
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.contact_sheet import Tile
from vestigo_ui.app.components.result.dialog import AnsweredQuery
from vestigo_ui.app.pages.find import results, views

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.ui.conftest import Archive

Open = Callable[..., "AppTest"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what each sheet shows, by key; `do` holds the next action on a sheet."""
    shown: dict[str, Any] = {"do": {}}

    def sheet(tiles: list[Tile], *, key: str, on_action: Callable[[UserAction], object], **more: Any) -> None:
        shown[key] = {"tiles": tiles, **more}
        if key in shown["do"]:
            try:
                on_action(shown["do"].pop(key))
            except UsageError as error:
                shown["error"] = error
            st.rerun()

    for module in (views, results):
        monkeypatch.setattr(module, "contact_sheet", sheet)
    return shown


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, AnsweredQuery]]:
    """Return the results that were opened, with their queries."""
    from vestigo_ui.app.pages.find import page as find_page

    calls: list[tuple[str, AnsweredQuery]] = []
    monkeypatch.setattr(
        find_page, "open_dialog", lambda context, answered, crop, on_close: calls.append((crop, answered))
    )
    return calls


@pytest.fixture
def page(archive: Archive, monkeypatch: pytest.MonkeyPatch, sheets: Any, opened: Any) -> Open:
    return lambda **query: run_app(monkeypatch, archive.store, page="find", **query)


@pytest.fixture
def store(archive: Archive) -> Iterator[Store]:
    with Store.open(archive.store) as store:
        yield store


def entries(store: Store, action: Any) -> list[Any]:
    return store.audit.entries(action=action, newest=True, limit=50)


def param(app: AppTest, name: str) -> list[str]:
    value = app.query_params.get(name, [])
    return [value] if isinstance(value, str) else list(value)


def crops_of(sheet: dict[str, Any]) -> list[str]:
    return [tile.crop for tile in sheet["tiles"]]
