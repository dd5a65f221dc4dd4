"""Page Find without a browser: query, scope, results and messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app_pages import run_app, words
from tests.support.find_page import Open, crops_of, entries, param
from tests.support.find_page import opened as opened
from tests.support.find_page import page as page
from tests.support.find_page import sheets as sheets
from tests.support.find_page import store as store
from vestigo.retrieval.gallery import Gallery
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_query
from vestigo.sightings.index import BrowseIndex
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.pages.find import results

if TYPE_CHECKING:
    from tests.ui.conftest import Archive

pytestmark = pytest.mark.slow


def test_picker_shows_one_crop_for_each_tracklet(page: Open, archive: Archive, sheets: Any) -> None:
    app = page()
    tracklets = {row["tracklet"] for row in archive.crops}
    assert f"{len(tracklets)} sightings" in words(app)
    assert len(crops_of(sheets["find-picker"])) == len(tracklets)
    shown = page(camera="hall")
    hall = {row["crop_id"] for row in archive.crops if row["camera"] == "hall"}
    assert set(crops_of(sheets["find-picker"])) <= hall
    assert "sightings" in words(shown)


def test_click_on_sighting_searches(page: Open, sheets: Any) -> None:
    app = page()
    crop = crops_of(sheets["find-picker"])[0]
    sheets["do"]["find-picker"] = UserAction("open", crop)
    app.run()
    assert param(app, "crop") == [crop]
    assert "The nearest" in words(app)


def test_several_sightings_are_added(page: Open, sheets: Any) -> None:
    app = page()
    crops = crops_of(sheets["find-picker"])[:2]
    for crop in crops:
        sheets["do"]["find-picker"] = UserAction("add", crop)
        app.run()
    assert param(app, "crop") == crops
    assert [tile.crop for tile in sheets["find-picker"]["tiles"] if tile.selected] == crops


def test_results_are_those_of_search_and_are_audited(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop)
    expected = search_query(store, Query(crops=(crop,)), top=96)
    tiles = sheets["find-results"]["tiles"]
    assert [tile.crop for tile in tiles] == [hit.crop for hit in expected.hits][: results.PAGE]
    assert tiles[0].title == f"1 · {expected.hits[0].distance:.3f}"
    assert expected.hits[0].camera in tiles[0].lines
    newest = entries(store, "search")[0]
    assert newest.user == "the-reviewer"
    assert newest.details["query_crops"] == [crop]
    assert newest.details["shown"] == len(expected.hits)
    assert newest.details["crops"] == [hit.crop for hit in expected.hits]
    count = len(entries(store, "search"))
    app.run()
    assert len(entries(store, "search")) == count


def test_scope_of_address_is_searched(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    start = min(row["time"] for row in archive.crops)
    page(crop=crop, within="hall", since=f"{start + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}", top="24")
    inside = {
        row["crop_id"]
        for row in archive.crops
        if row["camera"] == "hall" and row["time"] >= start + timedelta(seconds=1) and row["crop_id"] != crop
    }
    crops = crops_of(sheets["find-results"])
    assert crops
    assert set(crops) <= inside


def test_attributes_are_query(page: Open, store: Store, sheets: Any) -> None:
    app = page(where="gender=female")
    assert "The nearest" in words(app)
    assert entries(store, "search")[0].details["where"] == "gender=female"
    assert entries(store, "search")[0].details["filter"] == "off"
    assert crops_of(sheets["find-results"])


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"filter": "strict"}, "not guaranteed here"),
        ({"filter": "auto", "lost": "5.0"}, "5 % is guaranteed"),
        ({"filter": "soft"}, "Nothing is discarded"),
        ({"filter": "threshold", "sure": "0.9"}, "At 0.9 about"),
    ],
)
def test_filter_reports_estimate_before_search(page: Open, chosen: dict[str, str], sentence: str) -> None:
    app = page(**chosen)
    assert sentence in words(app)
    assert "The nearest" not in words(app)


def test_kept_fraction_is_shown(page: Open, archive: Archive, store: Store) -> None:
    app = page(crop=archive.crops[3]["crop_id"], filter="strict", rerank="true")
    assert "The filter kept" in words(app)
    details = entries(store, "search")[0].details
    assert (details["filter"], details["rerank"]) == ("strict", True)


def test_soft_filter_disables_reranking(page: Open, archive: Archive) -> None:
    app = page(crop=archive.crops[3]["crop_id"], filter="soft", rerank="true")
    assert not app.error
    assert app.toggle(key="rerank").disabled


def test_missing_crop_is_reported_and_left_out(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=["0" * 20, crop])
    assert f"Crop {'0' * 20} is not in the store" in words(app)
    assert "The nearest" in words(app)
    assert crop not in crops_of(sheets["find-results"])


@pytest.mark.parametrize(
    "invalid",
    [
        {"crop": "../../etc/passwd"},
        {"where": "gender=purple,,=,hat", "filter": "everything", "lost": "much", "sure": "-4", "top": "1000000"},
        {"within": "nowhere", "since": "yesterday", "until": "x", "group": "shoe", "show": "none"},
        {"pane": "results", "sheet": "99999999999999999999", "camera": "nowhere", "wearing": "?"},
        {"root": "zz", "look": "<script>"},
    ],
)
def test_invalid_address_is_reported(page: Open, archive: Archive, invalid: dict[str, str]) -> None:
    text = ""
    for query in (invalid, {"crop": archive.crops[3]["crop_id"]} | invalid):
        app = page(**query)
        assert not app.exception
        assert not app.error
        assert app.title[0].value == "Find"
        text += words(app)
    # The messages name each value, numbers without quotes.
    for value in (value for name, value in invalid.items() if name != "pane"):
        assert any(part in text for part in (f'"{value[:6]}', f"'{value[:1]}", f" {value} "))


def test_active_time_range_is_shown(page: Open, archive: Archive) -> None:
    app = page(crop=archive.crops[3]["crop_id"], since="2026-05-01T08:00", until="2026-05-01T10:00")
    labels = [popover.proto.popover.label for popover in app.get("popover")]
    assert "Time: from 2026-05-01 08:00 before 2026-05-01 10:00 UTC" in labels


def test_page_number_is_clipped(page: Open, archive: Archive, sheets: Any) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    first = crops_of(sheets["find-results"])
    for invalid in ("-7", "1000000", "two"):
        app.query_params["page"] = invalid
        app.run()
        assert not app.exception
        assert crops_of(sheets["find-results"]) == first


def test_next_page_is_shown(page: Open, archive: Archive, sheets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAGE", 10)
    app = page(crop=archive.crops[3]["crop_id"])
    first = sheets["find-results"]["tiles"]
    app.button(key="pages-page-after").click().run()
    assert param(app, "page") == ["2"]
    second = sheets["find-results"]["tiles"]
    assert [tile.title.split()[0] for tile in (*first, *second)] == [str(rank) for rank in range(1, 21)]
    # Another filter starts at the first page.
    app.selectbox(key="find-filter").set_value("quality").run()
    assert param(app, "page") == []


def test_each_group_has_sheet(page: Open, archive: Archive, sheets: Any) -> None:
    page(crop=archive.crops[3]["crop_id"], group="camera")
    by_camera = {row["crop_id"]: row["camera"] for row in archive.crops}
    for camera in ("gate", "hall"):
        crops = crops_of(sheets[f"find-camera-{camera}"])
        assert crops
        assert {by_camera[crop] for crop in crops} == {camera}


def test_many_groups_share_one_sheet(page: Open, archive: Archive, sheets: Any) -> None:
    page(crop=archive.crops[3]["crop_id"], group="tracklet")
    tracks = {row["crop_id"]: row["tracklet"] for row in archive.crops}
    order = [tracks[crop] for crop in crops_of(sheets["find-results"])]
    assert [track for place, track in enumerate(order) if track not in order[:place]] == [
        track for place, track in enumerate(order) if place == 0 or order[place - 1] != track
    ]


def test_outdated_result_is_kept_until_searched_again(page: Open, archive: Archive, store: Store) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    assert "has changed since" not in words(app)
    store.cameras.set_clock_offset("gate", 3.0)
    try:
        app.run()
        assert "has changed since" in words(app)
        app.button(key="queued-search-again").click().run()
        assert "has changed since" not in words(app)
    finally:
        store.cameras.set_clock_offset("gate", 0.0)


def test_timeline_is_shown(page: Open, archive: Archive) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    assert [element.value for element in app.subheader] == ["Timeline"]
    assert "no time" not in words(app)


def test_empty_store_names_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty") as store:
        app = run_app(monkeypatch, store.ref, page="find")
        assert "`vestigo index SOURCE --store STORE`" in words(app)
        store.models.register("a" * 64, name="new", location="default", facts=ModelFacts())
        app = run_app(monkeypatch, store.ref, page="find", crop="0" * 20)
        assert "no crops yet" in words(app)
        assert not app.exception


def test_empty_result_is_reported(page: Open, archive: Archive) -> None:
    late = datetime(2030, 1, 1, tzinfo=UTC)
    app = page(crop=archive.crops[3]["crop_id"], since=f"{late:%Y-%m-%dT%H:%M:%S}")
    assert "No crop in the scope" in words(app)


def test_unknown_values_of_address_are_reported(page: Open, archive: Archive) -> None:
    app = page(
        crop=archive.crops[3]["crop_id"],
        within=["gatte", "[x](http://a.b)"],
        where="shoe=left,gender=purple",
        since="yesterday",
        filter="everything",
        top="7",
        rerank="maybe",
    )
    assert any("Unknown number of results" in warning.value for warning in app.warning)
    assert any('Unknown value of rerank "maybe"' in warning.value for warning in app.warning)
    for _ in range(2):
        assert not app.error
        warnings = "\n".join(warning.value for warning in app.warning)
        for message in (
            'Unknown camera "gatte". Cameras in this store: gate',
            "unknown attribute 'shoe'",
            "gender cannot be 'purple'",
            '"yesterday" is not a time',
            'Unknown attribute filter "everything"',
        ):
            assert message in warnings.replace("\\", "")
        assert '"\\[x\\](http' in warnings
        app.run()


def test_crops_without_time_are_reported(page: Open, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = archive.crops[3]["crop_id"]
    assert not page(crop=crop, since="2020-01-01").warning
    monkeypatch.setattr(Gallery, "count_without_time", lambda *_arguments: 51)
    monkeypatch.setattr(BrowseIndex, "count_without_time", lambda *_arguments: 1)
    app = page(crop=crop, since="2020-01-02")
    assert [warning.value for warning in app.warning] == [
        "51 crops have no time and were left out; give --start when indexing."
    ]
    app = page(crop=crop, pane="archive", **{"from": "2020-01-02"})
    assert [warning.value for warning in app.warning] == [
        "1 sighting has no time and was left out; give --start when indexing."
    ]
