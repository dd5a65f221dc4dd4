"""Downloads of tables: logged and checked when the file is made, and without formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.app_pages import context_of
from vestigo.store.open import Store
from vestigo_models.errors import StoreError, UsageError
from vestigo_ui.app.components import tables
from vestigo_ui.app.context import PageContext

FRAME = pd.DataFrame(
    {"camera": ["=1+1", "@gate", "-hall", "gate"], "count": [-1, 2, 3, 4], "-x": [None, "+1", "a", "b"]}
)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(tmp_path / "store") as store:
        yield store


def offer(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], str | bytes]]:
    """Return what makes each file, as the server calls it for any request of a browser."""
    offered: dict[str, Callable[[], str | bytes]] = {}
    monkeypatch.setattr(tables.st, "download_button", lambda label, data, *rest, **more: offered.update({label: data}))

    def page() -> None:
        tables.show_downloads(context, FRAME, name="cameras", title="Cameras", page=lambda: "<html>")

    page()
    return offered


def test_each_file_is_logged_before_it_is_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = offer(context_of(store, "viewer"), monkeypatch)
    assert store.audit.entries() == []
    assert offered["HTML"]() == "<html>"
    offered["CSV"]()
    offered["Parquet"]()
    assert [entry.details for entry in store.audit.entries(action="export")] == [
        {"what": f"cameras.{suffix}", "rows": 4} for suffix in ("html", "csv", "parquet")
    ]


def test_no_file_is_made_without_entry_or_session(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = offer(context_of(store, "viewer"), monkeypatch)
    monkeypatch.setattr("vestigo_ui.app.context.is_valid", lambda user: False)
    with pytest.raises(UsageError, match="Sign in again"):
        offered["CSV"]()
    assert store.audit.entries() == []
    monkeypatch.undo()
    made: list[bool] = []
    offered = offer(context_of(store, "viewer", case="x" * 300), monkeypatch)
    monkeypatch.setattr(tables, "frame_to_csv", lambda frame: made.append(True))
    with pytest.raises(StoreError, match="case number"):
        offered["CSV"]()
    assert not made


def test_names_in_csv_are_no_formulas(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = str(offer(context_of(store, "viewer"), monkeypatch)["CSV"]()).splitlines()
    lines = [line.replace('"', "") for line in lines]
    assert lines == ["camera,count,'-x", "'=1+1,-1,", "'@gate,2,'+1", "'-hall,3,a", "gate,4,b"]
