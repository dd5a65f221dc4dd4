"""Behaviour of all pages: sign-in, case, hidden heads, and stores that are empty or do not answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import run_app, words
from tests.support.review_archive import fill, people
from tests.ui.conftest import Archive
from vestigo.store.open import Store
from vestigo_ui.app import context, main
from vestigo_ui.app.components import contact_sheet as sheet
from vestigo_ui.app.pages.registry import registered_pages

pytestmark = pytest.mark.slow

PAGES = {page.path: page.title for page in registered_pages()}


def page_text(app: AppTest) -> str:
    """Return the text of a page, which never contains a traceback or a path of this machine."""
    assert not app.exception
    text = words(app)
    assert "Traceback" not in text
    assert "/tmp/" not in text
    return text


@pytest.fixture(params=PAGES)
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_page_requires_sign_in(path: str, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    users: list[Any] = []
    app = run_app(monkeypatch, archive.store, page=path)
    monkeypatch.setattr(main, "signed_in_user", lambda: None)
    monkeypatch.setattr(main, "make_context", users.append)
    app.run()
    assert "You are signed out" in page_text(app)
    assert not users
    assert not app.title


def test_page_requires_case_if_configured(path: str, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = {"audit": {"require_case": True, "require_authority": True}}
    app = run_app(monkeypatch, archive.store, page=path, configured=configured)
    assert "Enter a case number and an authorisation" in page_text(app)
    assert not app.title
    app.text_input(key=context.CASE).set_value("2026-17").run()
    assert "Enter an authorisation" in page_text(app)
    app.text_input(key=context.AUTHORITY).set_value("court 4711").run()
    assert app.title[0].value == PAGES[path]
    page_text(app)


def test_empty_store_is_reported(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path / "store").close()
    assert page_text(run_app(monkeypatch, tmp_path / "store", page=path)).strip() != PAGES[path]


def test_missing_store_is_reported(path: str, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    app = run_app(monkeypatch, archive.store, page=path)
    assert app.title
    context.shared_store().close()
    shutil.rmtree(archive.store)
    archive.store.mkdir()
    app.run()
    assert "The store does not answer" in page_text(app)


@pytest.mark.postgres
def test_database_outage_is_reported(
    path: str, postgres_server: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "store.toml"
    settings.write_text(f'database = "{postgres_url}"\ndata = "{tmp_path / "data"}"\n')
    fill(settings, people(4)[0])
    app = run_app(monkeypatch, settings, page=path)
    assert app.title
    page_text(app)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {postgres_url.rpartition('/')[2]} WITH (FORCE)")
    app.run()
    text = page_text(app)
    assert "The store does not answer" in text
    assert "postgresql" not in text


def test_audit_entry_names_case(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = archive.crops[0]["crop_id"]
    app = run_app(monkeypatch, archive.store, page="find")
    app.text_input(key=context.CASE).set_value("2026-17").run()
    app.query_params["crop"] = crop
    app.run()
    page_text(app)
    with Store.open(archive.store) as store:
        (entry,) = store.audit.entries(action="search")
    assert (entry.user, entry.case) == ("the-reviewer", "2026-17")


def test_heads_are_hidden_if_configured(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    montages: list[list[np.ndarray]] = []
    made = sheet.montage
    monkeypatch.setattr(sheet, "montage", lambda images: made(montages.append(list(images)) or images))
    last = []
    for blur in ("off", "always"):
        page_text(run_app(monkeypatch, archive.store, page="find", configured={"privacy": {"blur": blur}}))
        last.append(montages[-1])
    plain, hidden = last
    assert len(plain) == len(hidden) > 1
    for image, other in zip(plain, hidden, strict=True):
        assert image.shape == other.shape
        assert (image != other).any()


def test_montage_places_images_in_order() -> None:
    images = [np.full((20 + shade, 10, 3), shade, np.uint8) for shade in range(1, 12)]
    canvas, columns, rows = sheet.montage(images)
    height, width = canvas.shape[0] // rows, canvas.shape[1] // columns
    assert columns * rows >= len(images)
    for place, _ in enumerate(images):
        row, column = divmod(place, columns)
        centre = canvas[row * height + height // 2, column * width + width // 2]
        assert (centre == place + 1).all()
    assert sheet.montage([])[1:] == (1, 1)
