"""The page Find without a browser, its sheets and dialog in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app_pages import run_app
from vestigo.store.open import Store
from vestigo_ui.app.components.contact_sheet import SheetEvent, Tile
from vestigo_ui.app.components.result.dialog import AnsweredQuery
from vestigo_ui.app.pages.find import picker as find_picker
from vestigo_ui.app.pages.find import results as find_results

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.ui.conftest import Archive

Open = Callable[..., "AppTest"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the sheets of the page showed last, by key; `do` holds what is chosen on the one that it names."""
    shown: dict[str, Any] = {"do": {}}

    def sheet(tiles: list[Tile], *, key: str, **more: Any) -> SheetEvent | None:
        shown[key] = {"tiles": tiles, **more}
        chosen: SheetEvent | None = shown["do"].pop(key, None)
        return chosen

    for module in (find_picker, find_results):
        monkeypatch.setattr(module, "contact_sheet", sheet)
    return shown


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, AnsweredQuery]]:
    """The results that were opened in depth."""
    from vestigo_ui.app.pages.find import page as find

    calls: list[tuple[str, AnsweredQuery]] = []
    monkeypatch.setattr(find, "open_dialog", lambda context, answered, crop, on_close: calls.append((crop, answered)))
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
