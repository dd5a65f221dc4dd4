"""What surrounds all pages: who is asking, the case, hidden heads, and stores that have nothing or do not answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import desk_app, words
from tests.support.review_archive import fill, people
from tests.ui.conftest import Archive
from vestigo.store.open import Store
from vestigo_ui.app import context as desk
from vestigo_ui.app import main
from vestigo_ui.app.components import contact_sheet as sheet
from vestigo_ui.app.main import PAGES


def shown(app: AppTest) -> str:
    """All that a page says; it never shows a traceback or a path of this machine."""
    assert not app.exception
    text = words(app)
    assert "Traceback" not in text
    assert "/tmp/" not in text
    return text


@pytest.fixture(params=PAGES)
def each(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nobody_sees_a_page_who_is_not_signed_in(each: str, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    app = desk_app(monkeypatch, archive.store, page=each)
    monkeypatch.setattr(main, "signed_in", lambda: None)
    monkeypatch.setattr(main, "sit_down", asked.append)
    app.run()
    assert "You are signed out" in shown(app)
    assert not asked
    assert not app.title


def test_nothing_is_shown_without_a_case_where_one_is_required(
    each: str, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = {"audit": {"require_case": True, "require_authority": True}}
    app = desk_app(monkeypatch, archive.store, page=each, configured=configured)
    assert "Enter a case number and an authorisation" in shown(app)
    assert not app.title
    app.text_input(key=desk.CASE).set_value("2026-17").run()
    assert "Enter an authorisation" in shown(app)
    app.text_input(key=desk.AUTHORITY).set_value("court 4711").run()
    assert app.title[0].value == PAGES[each][1]
    shown(app)


def test_a_store_without_crops_says_so(each: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path / "store").close()
    assert shown(desk_app(monkeypatch, tmp_path / "store", page=each)).strip() != PAGES[each][1]


def test_a_database_that_goes_away_is_a_sentence(each: str, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    app = desk_app(monkeypatch, archive.store, page=each)
    assert app.title
    desk.the_store().close()
    shutil.rmtree(archive.store)
    archive.store.mkdir()
    app.run()
    assert "The store does not answer" in shown(app)


@pytest.mark.postgres
def test_a_server_that_goes_away_is_a_sentence(
    each: str, postgres_server: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "store.toml"
    settings.write_text(f'database = "{postgres_url}"\ndata = "{tmp_path / "data"}"\n')
    fill(settings, people(4)[0])
    app = desk_app(monkeypatch, settings, page=each)
    assert app.title
    shown(app)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {postgres_url.rpartition('/')[2]} WITH (FORCE)")
    app.run()
    said = shown(app)
    assert "The store does not answer" in said
    assert "postgresql" not in said


def test_the_case_is_written_beside_what_was_done(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = archive.crops[0]["crop_id"]
    app = desk_app(monkeypatch, archive.store, page="find")
    app.text_input(key=desk.CASE).set_value("2026-17").run()
    app.query_params["crop"] = crop
    app.run()
    shown(app)
    with Store.open(archive.store) as store:
        (entry,) = store.audit.entries(action="search")
    assert (entry.user, entry.case) == ("the-reviewer", "2026-17")


def test_heads_are_hidden_where_that_is_asked_for(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[list[np.ndarray]] = []
    made = sheet.montage
    monkeypatch.setattr(sheet, "montage", lambda images: made(pictures.append(list(images)) or images))
    last = []
    for blur in ("off", "always"):
        shown(desk_app(monkeypatch, archive.store, page="find", configured={"privacy": {"blur": blur}}))
        last.append(pictures[-1])
    plain, hidden = last
    assert len(plain) == len(hidden) > 1
    for one, other in zip(plain, hidden, strict=True):
        assert one.shape == other.shape
        assert (one != other).any()


def test_a_montage_has_every_picture_in_its_place() -> None:
    images = [np.full((20 + shade, 10, 3), shade, np.uint8) for shade in range(1, 12)]
    canvas, columns, rows = sheet.montage(images)
    height, width = canvas.shape[0] // rows, canvas.shape[1] // columns
    assert columns * rows >= len(images)
    for place, _ in enumerate(images):
        row, column = divmod(place, columns)
        centre = canvas[row * height + height // 2, column * width + width // 2]
        assert (centre == place + 1).all()
    assert sheet.montage([])[1:] == (1, 1)
