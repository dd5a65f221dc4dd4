"""What a person does on the page Models, in a browser: open one, promote it, take that back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.accessibility import find_violations
from tests.support.fake_pipeline import MODEL
from tests.support.models_store import models_store
from tests.support.screenshots import keep, settled
from tests.support.signed_in import Screen, serve_app
from vestigo.store.open import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("models")
    return models_store(root / "store", root / "packages")


@pytest.fixture(scope="module")
def registry(made: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with serve_app(made[0], tmp_path_factory.mktemp("ui")) as screen:
        yield screen


def test_model_is_promoted_and_rolled_back(
    registry: Screen, made: tuple[Path, dict[str, str]], enter: Callable[..., Page]
) -> None:
    from playwright.sync_api import expect

    store, digests = made
    page = enter(f"{registry.url}/models", "admin")
    expect(page.get_by_text("Lineage")).to_be_visible()
    keep(page, "models")
    keep(page, "models", scheme="dark")
    page.goto(f"{registry.url}/models?model={digests['better']}")
    expect(page.get_by_role("heading", name="Scores")).to_be_visible()
    keep(page, "models-opened")
    keep(page, "models-opened", scheme="dark")
    page.get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("will serve in the place of")).to_be_visible()
    dialog.get_by_text("Then index the archive again").click()
    settled(page)
    assert find_violations(page) == []
    # The click is answered in the dialog, and the page says that nothing was changed.
    dialog.get_by_role("button", name="Promote better").click()
    expect(dialog.get_by_text("Tick the box to confirm")).to_be_visible()
    expect(page.get_by_role("status").get_by_text("Not saved: 1 action")).to_be_visible()
    dialog.get_by_label("Reason").fill("hats are seen at night")
    dialog.get_by_text("Let better serve").click()
    keep(page, "models-promote")
    keep(page, "models-promote", scheme="dark")
    assert find_violations(page) == []
    dialog.get_by_role("button", name="Promote better").dblclick()
    expect(page.get_by_text("serves now, in the place of")).to_be_visible()
    with Store.open(store) as opened:
        assert opened.models.serving() == digests["better"]
        assert opened.models.promotions()[-1].reasons[0] == "hats are seen at night"
    page.get_by_role("button", name="Roll back").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Take the promotion of").click()
    settled(page)
    assert find_violations(page) == []
    page.emulate_media(color_scheme="light")
    settled(page)
    assert find_violations(page) == []
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("serves again, in the place of")).to_be_visible()
    keep(page, "models-rolled-back")
    with Store.open(store) as opened:
        assert opened.models.serving() == MODEL
        assert [entry.user for entry in opened.audit.entries(action="rollback")] == ["admin"]
