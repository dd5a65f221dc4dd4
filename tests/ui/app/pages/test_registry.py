"""Registry of pages: order, paths, roles, and pages of other packages."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from tests.support.app_pages import run_app, words
from tests.ui.conftest import Archive
from vestigo_models.errors import ConfigError
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages import registry
from vestigo_ui.app.pages.registry import AppPage, register_page, registered_pages
from vestigo_ui.web.auth.users import Role


def show_crops(context: PageContext) -> None:
    st.title("Crops")
    st.caption(f"{sum(context.store.models.crop_counts().values())} crops")


CROPS = AppPage(path="crops", title="Crops", icon=":material/image:", load=lambda: show_crops)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_pages", dict(registry._pages))
    registry._load_entry_points.cache_clear()


def test_pages_are_in_order_of_navigation() -> None:
    assert [page.path for page in registered_pages()] == [
        "archive",
        "find",
        "rankings",
        "attributes",
        "review",
        "models",
    ]


def test_registered_page_is_shown(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    register_page(CROPS)
    app = run_app(monkeypatch, archive.store, page="crops")
    assert f"{len(archive.crops)} crops" in words(app)


def test_page_requires_its_role(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    register_page(replace(CROPS, role=Role.ADMIN))
    assert "crops" not in words(run_app(monkeypatch, archive.store, page="crops", role="reviewer")).splitlines()[0]
    assert run_app(monkeypatch, archive.store, page="crops", role="admin").title[0].value == "Crops"


def test_path_is_unique() -> None:
    register_page(CROPS)
    register_page(CROPS)
    with pytest.raises(ConfigError, match="'crops'"):
        register_page(replace(CROPS, title="Others"))


def test_entry_points_are_loaded_and_broken_ones_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ImportError("no such module")

    def entry_points(*, group: str) -> list[Any]:
        assert group == "vestigo.pages"
        return [SimpleNamespace(name="broken", load=fail), SimpleNamespace(name="crops", load=lambda: CROPS)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert registered_pages()[-1] == CROPS
    assert "Page broken" in caplog.text
