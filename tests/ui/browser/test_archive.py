"""Page Archive in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accessibility import find_violations
from tests.support.archives import write_crops
from tests.support.screenshots import keep, settled
from tests.support.signed_in import Screen, serve_app
from tests.workers.runs.test_resume import unreadable
from vestigo.store.audit.records import login
from vestigo.store.open import Store
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a store whose run quarantined two unreadable images and two files that are not images."""
    root = tmp_path_factory.mktemp("gapped")
    folder = write_crops(root / "crops", 6)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("this is not an image")
    request = IndexRequest(sources=(str(folder),), executor="inline", device="cpu", detector="none")
    silent: Any = lambda name: lambda done, total: None  # noqa: E731
    with Store.open(root / "store") as store, unreadable(["001.jpg", "003.jpg"]):
        run = index(store, request, silent).run
    return root / "store", run.id


@pytest.fixture
def own(gapped: tuple[Path, str], tmp_path: Path) -> Iterator[Screen]:
    with serve_app(gapped[0], tmp_path) as screen:
        yield screen


def test_camera_is_opened_and_closed(visit: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    page = visit("/", "viewer")
    expect(page.get_by_text("2 cameras ·")).to_be_visible()
    keep(page, "archive-cameras")
    keep(page, "archive-cameras", scheme="dark")
    page.get_by_role("listitem").get_by_role("button", name="hall").first.click()
    expect(page.get_by_role("heading", name="hall")).to_be_visible()
    settled(page)
    page.get_by_role("listitem").get_by_role("button").first.click()
    expect(page.get_by_text("Where and when")).to_be_visible()
    assert "camera=hall" in page.url
    assert "frame=" in page.url
    keep(page, "archive-camera")
    assert find_violations(page) == []
    keep(page, "archive-camera", scheme="dark")
    assert find_violations(page) == []
    page.reload()
    expect(page.get_by_text("Where and when")).to_be_visible()
    address = page.get_by_role("link", name="Find people on this camera").get_attribute("href")
    assert address is not None
    assert address.endswith("/find?pane=archive&camera=hall")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.get_by_text("2 cameras ·")).to_be_visible()


def test_quarantined_inputs_are_retried(gapped: tuple[Path, str], own: Screen, enter: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    ref, run = gapped
    page = enter(f"{own.url}/?show=runs", "admin")
    expect(page.get_by_text("Select a run")).to_be_visible()
    keep(page, "archive-runs")
    page.goto(f"{own.url}/?run={run}&reason=unreadable")
    button = page.get_by_role("button", name="Retry 2 inputs")
    expect(button).to_be_enabled()
    keep(page, "archive-run")
    assert find_violations(page) == []
    keep(page, "archive-run", scheme="dark")
    assert find_violations(page) == []
    button.click()
    expect(page.get_by_text("inputs are retried")).to_be_visible()
    keep(page, "archive-retrying")
    expect(page.get_by_text("succeeded with 2 failures")).to_be_visible()
    keep(page, "archive-retried")
    with Store.open(ref) as store:
        totals = store.runs.totals(run)
        assert (totals.done, totals.quarantined, totals.pending) == (6, 2, 0)
        assert store.check().intact
        (entry,) = store.audit.entries(action="retry")
    assert (entry.user, entry.details) == (login(), {"run": run, "reason": "unreadable", "by": "admin"})
