"""Page Review in a browser: a sample is shown and a tracklet corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.accessibility import find_violations
from tests.support.reviewed_store import review_with_mistakes
from tests.support.screenshots import keep
from tests.support.signed_in import Screen, serve_app
from tests.ui.conftest import Archive
from vestigo.review.labels.agreement import annotated_tasks
from vestigo.review.labels.corrections import PROJECT
from vestigo.store.open import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page


DRAWN = 8


@pytest.fixture(scope="module")
def store(pristine: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ref = pristine.copy(tmp_path_factory.mktemp("review") / "store")
    review_with_mistakes(ref, budget=DRAWN)
    return ref


@pytest.fixture(scope="module")
def reviewed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with serve_app(store, tmp_path_factory.mktemp("ui")) as screen:
        yield screen


def test_sample_is_shown_and_tracklet_corrected(reviewed: Screen, store: Path, enter: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    page = enter(f"{reviewed.url}/review")
    expect(page.get_by_text(f"{DRAWN} tasks sampled")).to_be_visible()
    keep(page, "review-progress")
    assert find_violations(page) == []
    keep(page, "review-progress", scheme="dark")
    assert find_violations(page) == []
    page.goto(f"{reviewed.url}/review?pane=propose&budget=20")
    page.get_by_role("button", name="Sample").last.click()
    expect(page.get_by_text("are sampled")).to_be_visible()
    keep(page, "review-sample")
    keep(page, "review-sample", scheme="dark")
    assert find_violations(page) == []
    page.get_by_role("listitem").get_by_role("button").first.click()
    expect(page.get_by_text("This sighting has no corrections yet.")).to_be_visible()
    assert "sighting=" in page.url
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name="cannot tell").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved: 1 of 12 attributes differ")).to_be_visible()
    keep(page, "review-correction")
    assert find_violations(page) == []
    keep(page, "review-correction", scheme="dark")
    assert find_violations(page) == []
    page.reload()
    expect(page.get_by_role("button", name="Save")).to_be_visible()
    expect(page.get_by_text("This sighting has no corrections yet.")).to_have_count(0)
    # A click on another button at once does not take the choice or its saving away.
    page.get_by_role("combobox").nth(1).click()
    page.get_by_role("option", name="cannot tell").click()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("status").filter(has_text="All actions are saved")).to_be_visible()
    with Store.open(store) as opened:
        (annotated,) = annotated_tasks(opened, PROJECT)
        assert list(annotated.annotations["reviewer"].values()).count("cannot tell") == 2
