"""Pages of the app without a server: Streamlit's testing with a signed-in user."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from vestigo.sightings.index import BrowseIndex
from vestigo.store.open import Store
from vestigo_ui.app import context, main
from vestigo_ui.app.context import PageContext
from vestigo_ui.web import settings
from vestigo_ui.web.auth.identity import User
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.server.run import SCRIPT

PATIENCE_S = 120


def run_app(
    monkeypatch: pytest.MonkeyPatch,
    store: Path | str,
    *,
    page: str | None = None,
    role: str = "reviewer",
    configured: dict[str, Any] | None = None,
    **query: str | list[str],
) -> AppTest:
    """Run the app on `page` with the parameters `query` in its address, for a user with `role`."""
    monkeypatch.setenv("VESTIGO_STORE", str(store))
    user = User(name=f"the-{role}", role=Role(role), session="test")
    monkeypatch.setattr(main, "signed_in_user", lambda: user)
    monkeypatch.setattr(context, "current_settings", lambda: settings.Settings.model_validate(configured or {}))
    st.cache_resource.clear()
    st.cache_data.clear()
    app = AppTest.from_file(str(SCRIPT), default_timeout=PATIENCE_S)
    # Pages are known by the hash of their path, once the first page has run; `switch_page` wants a file.
    app.run()
    if page not in (None, "archive"):
        app._page_hash = calc_hash(page)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def context_of(
    store: Store, role: str, *, index: BrowseIndex | None = None, blurred: bool = False, case: str | None = None
) -> PageContext:
    """Return a page's context for a user with `role`."""
    user = User(name=f"the-{role}", role=Role(role), session="test")
    index = index or BrowseIndex.open(store)
    configured = settings.Settings()
    return PageContext(
        store=store, index=index, user=user, settings=configured, case=case, authority=None, blurred=blurred
    )


def words(app: AppTest) -> str:
    """Return all text that a page shows, without the escapes of Markdown."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success")
    text = "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))
    return re.sub(r"\\(\W)", r"\1", text)


def widget(app: AppTest, kind: str, label: str) -> Any:
    """Return the one widget of a kind that has a label."""
    (element,) = (each for each in app.get(kind) if each.label == label)
    return element


def frame(app: AppTest, place: int = 0) -> pd.DataFrame:
    """Return the table number `place` of a page that has no exception."""
    assert not app.exception
    table: pd.DataFrame = app.dataframe[place].value
    return table
