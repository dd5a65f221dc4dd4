"""Searches of page Find, by a running server of the store or by the screen itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app_pages import words
from tests.support.find_page import Open, crops_of, entries
from tests.support.find_page import opened as opened
from tests.support.find_page import page as page
from tests.support.find_page import sheets as sheets
from tests.support.find_page import store as store
from tests.support.query_server import serve_store
from vestigo.retrieval.gallery import Scope
from vestigo.store.open import Store
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_models.inference.images import decode_image
from vestigo_ui.app.pages.find import search
from vestigo_ui.app.pages.find.form import SearchForm, Upload
from vestigo_ui.app.pages.find.search import make_query, make_request
from vestigo_ui.search.warm import WarmSearch

if TYPE_CHECKING:
    from tests.ui.conftest import Archive

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("c")))


def test_running_server_answers_page(
    page: Open, archive: Archive, sheets: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = [archive.crops[0]["crop_id"], archive.crops[4]["crop_id"]]
    address: dict[str, Any] = {"crop": crops, "within": "hall", "rerank": "true"}
    page(**address)
    own = crops_of(sheets.pop("find-results"))
    assert own
    (entry,) = entries(store, "search")
    with serve_store(archive.store, tmp_path, people={}), monkeypatch.context() as patched:
        for name in ("search_query", "search_conditions"):
            patched.setattr(search, name, lambda *_, **__: pytest.fail("the screen searched by itself"))
        app = page(**address)
        assert crops_of(sheets["find-results"]) == own
        assert "The nearest" in words(app)
        newest, before = entries(store, "search")
        assert (newest.user, newest.details) == (entry.user, entry.details)
        assert before.id == entry.id


def test_form_is_the_same_request(store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's answer to a form equals what the page computes."""
    row = archive.crops[2]
    upload = Upload(data=row["image"], image=decode_image(row["image"]))
    warm = WarmSearch(store, "cpu")
    monkeypatch.setattr(search, "_encode", lambda _digest, _model, view: warm._encoder(None).extract([view.image]))
    crop = archive.crops[0]["crop_id"]
    scope = Scope(cameras=("gate",), since=datetime.fromisoformat("2026-05-01T08:00:00.5+00:00"), where="gender=male")
    model = warm._encoder(None).package.digest
    forms = [
        SearchForm(model=model, crops=(crop,), kept=(crop,), uploads=(upload.digest,), scope=scope, top=9),
        SearchForm(model=model, crops=(crop,), filter=FilterConfig(filter="0.8"), rerank=True),
        SearchForm(model=model, scope=scope, top=5),
    ]
    for form in forms:
        uploads = {upload.digest: upload}
        answer = warm.answer(make_request(form, uploads)).result
        if form.has_views:
            own = search.search_query(
                store,
                make_query(form, uploads),
                top=form.top,
                scope=form.scope,
                filter_config=form.filter,
                rerank=form.rerank,
            )
        else:
            within = Scope(cameras=scope.cameras, since=scope.since)
            own = search.search_conditions(store, form.where, model=model, top=form.top, scope=within)
        assert answer == own
        assert answer.hits
