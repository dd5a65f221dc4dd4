"""What a person does on the page Attributes, in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.support.accessibility import find_violations
from tests.support.reviewed_store import SERVER, review_with_mistakes
from tests.support.screenshots import keep, settled
from tests.support.signed_in import Screen, serve_app
from tests.ui.conftest import Archive
from vestigo.resolve import resolve_review_model
from vestigo.review.estimates.confusion import estimate_confusion
from vestigo.review.estimates.review_sample import read_review_sample
from vestigo.store.open import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page

ATTRIBUTE = "upper_colour"
WHERE = """(plot, [answered, predicted]) => {
    const box = plot.getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
    return [box.x + xaxis._offset + xaxis.d2p(answered), box.y + yaxis._offset + yaxis.d2p(predicted)];
}"""
"""Where a cell of a Plotly heat map is on the page."""


@pytest.fixture(scope="module")
def reviewed(pristine: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ref = pristine.copy(tmp_path_factory.mktemp("reviewed") / "store")
    review_with_mistakes(ref)
    return ref


@pytest.fixture
def own(reviewed: Path, tmp_path: Path) -> Iterator[Screen]:
    with serve_app(reviewed, tmp_path) as screen:
        yield screen


def largest_confusion(ref: Path) -> tuple[str, str]:
    """Return predicted value and label of the largest cell off the diagonal."""
    with Store.open(ref) as store:
        confusion = estimate_confusion(read_review_sample(store, resolve_review_model(store)).reviewed, ATTRIBUTE)
    cells = {
        (predicted, label): confusion.cells[i][j].crops
        for i, predicted in enumerate(confusion.values)
        for j, label in enumerate(confusion.values)
        if i != j
    }
    return max(cells, key=lambda cell: cells[cell])


def test_cell_of_confusion_opens_its_crops(
    own: Screen, reviewed: Path, enter: Callable[..., Page], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    predicted, label = largest_confusion(reviewed)
    page = enter(f"{own.url}/attributes?attribute={ATTRIBUTE}")
    expect(page.get_by_text("tasks with")).to_be_visible()
    plots = page.locator(".js-plotly-plot")
    expect(plots).to_have_count(5)
    keep(page, "attributes")
    assert find_violations(page) == []
    keep(page, "attributes", scheme="dark")
    assert find_violations(page) == []
    # Tables are exported by audited downloads only.
    page.get_by_test_id("stDataFrame").first.hover()
    expect(page.get_by_role("button", name="Show/hide columns").first).to_be_attached()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)
    page.get_by_role("slider").press("ArrowRight")
    expect(page.get_by_text("have a confidence of at least 1 %")).to_be_visible()
    assert "sure=0.01" in page.url
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").first.get_by_role("button").click()
    download.value.save_as(tmp_path / "attributes.csv")
    with Store.open(reviewed) as store:
        (taken,) = store.audit.entries(action="export")
    assert (taken.user, taken.details["what"]) == ("reviewer", "attributes.csv")
    assert "Lower-body colour" in pd.read_csv(tmp_path / "attributes.csv")["Attribute"].tolist()
    settled(page)
    heat_map = plots.nth(2)
    heat_map.scroll_into_view_if_needed()
    page.mouse.click(*heat_map.evaluate(WHERE, [label, predicted]))
    expect(page.get_by_role("heading", name=f"Predicted {predicted}, label {label}")).to_be_visible()
    assert f"cell={predicted}~{label}" in page.url
    settled(page)
    page.get_by_role("listitem").get_by_role("button").first.click()
    address = page.get_by_role("link", name="Open in Label Studio").get_attribute("href")
    assert address is not None
    assert address.startswith(f"{SERVER}/projects/7/data?task=")
    keep(page, "attributes-cell")
    assert find_violations(page) == []
    page.reload()
    expect(page.get_by_role("link", name="Find this person")).to_be_visible()
    page.get_by_role("button", name="Show the archive instead").click()
    expect(page.get_by_role("heading", name="In the archive")).to_be_visible()


def test_archive_is_shown_without_annotations(visit: Callable[..., Page]) -> None:
    from playwright.sync_api import expect

    page = visit("/attributes?attribute=hat&value=no&first=most", "viewer")
    expect(page.get_by_text("No sampled task is annotated yet")).to_be_visible()
    expect(page.get_by_text("sightings predicted as no")).to_be_visible()
    expect(page.get_by_role("listitem").first).to_be_visible()
    keep(page, "attributes-unreviewed")
