"""The page Find without a browser: what is asked, what is found, what is decided, and what it says where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.app_pages import desk_app, words
from vestigo.retrieval import Query, search
from vestigo.store import ModelFacts, Store, query_key
from vestigo_ui.app import find_picker, find_results, result
from vestigo_ui.app.sheet import Chosen, Tile

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.ui.conftest import Archive

Open = Callable[..., "AppTest"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the sheets of the page showed last, by key; `do` holds what is chosen on the one that it names."""
    shown: dict[str, Any] = {"do": {}}

    def sheet(tiles: list[Tile], *, key: str, **more: Any) -> Chosen | None:
        shown[key] = {"tiles": tiles, **more}
        chosen: Chosen | None = shown["do"].pop(key, None)
        return chosen

    for module in (find_picker, find_results):
        monkeypatch.setattr(module, "contact_sheet", sheet)
    return shown


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The results that were opened in depth."""
    from vestigo_ui.app.pages import find

    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(find, "open_dialog", lambda desk, query, crop, **more: calls.append((crop, more)))
    return calls


@pytest.fixture
def page(archive: Archive, monkeypatch: pytest.MonkeyPatch, sheets: Any, opened: Any) -> Open:
    return lambda **query: desk_app(monkeypatch, archive.store, page="find", **query)


@pytest.fixture
def store(archive: Archive) -> Iterator[Store]:
    with Store.open(archive.store) as store:
        yield store


def entries(store: Store, action: Any) -> list[Any]:
    return store.audit_entries(action=action, newest=True, limit=50)


def param(app: AppTest, name: str) -> list[str]:
    value = app.query_params.get(name, [])
    return [value] if isinstance(value, str) else list(value)


def crops_of(sheet: dict[str, Any]) -> list[str]:
    return [tile.crop for tile in sheet["tiles"]]


def test_sightings_to_choose_from_are_one_picture_a_tracklet(page: Open, archive: Archive, sheets: Any) -> None:
    app = page()
    tracklets = {row["tracklet"] for row in archive.crops}
    assert f"{len(tracklets)} sightings" in words(app)
    assert len(crops_of(sheets["find-picker"])) == len(tracklets)
    one = page(camera="hall")
    hall = {row["crop_id"] for row in archive.crops if row["camera"] == "hall"}
    assert set(crops_of(sheets["find-picker"])) <= hall
    assert "sightings" in words(one)


def test_a_click_on_a_sighting_searches_with_it(page: Open, sheets: Any) -> None:
    app = page()
    crop = crops_of(sheets["find-picker"])[0]
    sheets["do"]["find-picker"] = Chosen("open", crop)
    app.run()
    assert param(app, "crop") == [crop]
    assert "The nearest" in words(app)


def test_several_sightings_are_chosen_one_after_the_other(page: Open, sheets: Any) -> None:
    app = page()
    crops = crops_of(sheets["find-picker"])[:2]
    for crop in crops:
        sheets["do"]["find-picker"] = Chosen("add", crop)
        app.run()
    assert param(app, "crop") == crops
    assert [tile.crop for tile in sheets["find-picker"]["tiles"] if tile.selected] == crops


def test_results_are_those_of_the_search_and_are_audited_before(
    page: Open, archive: Archive, store: Store, sheets: Any
) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop)
    expected = search(store, Query(crops=(crop,)), top=96)
    tiles = sheets["find-results"]["tiles"]
    assert [tile.crop for tile in tiles] == [hit.crop for hit in expected.hits][: find_results.PAGE]
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


def test_the_scope_of_the_address_is_searched(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    start = min(row["time"] for row in archive.crops)
    page(crop=crop, within="hall", since=f"{start + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}", top="24")
    inside = {
        row["crop_id"]
        for row in archive.crops
        if row["camera"] == "hall" and row["time"] >= start + timedelta(seconds=1) and row["crop_id"] != crop
    }
    found = crops_of(sheets["find-results"])
    assert found
    assert set(found) <= inside


def test_attributes_alone_are_a_query(page: Open, store: Store, sheets: Any) -> None:
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
def test_a_filter_tells_its_cost_before_anybody_searches(page: Open, chosen: dict[str, str], sentence: str) -> None:
    app = page(**chosen)
    assert sentence in words(app)
    assert "The nearest" not in words(app)


def test_what_the_filter_left_is_told(page: Open, archive: Archive, store: Store) -> None:
    app = page(crop=archive.crops[3]["crop_id"], filter="strict", rerank="true")
    assert "The filter left" in words(app)
    details = entries(store, "search")[0].details
    assert (details["filter"], details["rerank"]) == ("strict", True)


def test_soft_and_reranking_exclude_each_other(page: Open, archive: Archive) -> None:
    app = page(crop=archive.crops[3]["crop_id"], filter="soft", rerank="true")
    assert not app.error
    assert app.toggle(key="rerank").disabled


def test_a_crop_that_is_gone_is_named_and_the_rest_is_kept(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=["0" * 20, crop])
    assert f"Crop {'0' * 20} is no longer in the store" in words(app)
    assert "The nearest" in words(app)
    assert crop not in crops_of(sheets["find-results"])


@pytest.mark.parametrize(
    "nonsense",
    [
        {"crop": "../../etc/passwd"},
        {"where": "gender=purple,,=,hat", "filter": "everything", "lost": "much", "sure": "-4", "top": "1000000"},
        {"within": "nowhere", "since": "yesterday", "until": "x", "group": "shoe", "show": "none"},
        {"pane": "results", "sheet": "99999999999999999999", "camera": "nowhere", "wearing": "?"},
        {"root": "zz", "look": "<script>"},
    ],
)
def test_nonsense_in_the_address_breaks_nothing(page: Open, archive: Archive, nonsense: dict[str, str]) -> None:
    for query in (nonsense, {"crop": archive.crops[3]["crop_id"]} | nonsense):
        app = page(**query)
        assert not app.exception
        assert not app.error
        assert app.title[0].value == "Find"


def test_pages_are_put_within_bounds(page: Open, archive: Archive, sheets: Any) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    first = crops_of(sheets["find-results"])
    for nonsense in ("-7", "1000000", "two"):
        app.query_params["page"] = nonsense
        app.run()
        assert not app.exception
        assert crops_of(sheets["find-results"]) == first


def test_pages_are_turned(page: Open, archive: Archive, sheets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_results, "PAGE", 10)
    app = page(crop=archive.crops[3]["crop_id"])
    first = sheets["find-results"]["tiles"]
    app.button(key="pages-page-after").click().run()
    assert param(app, "page") == ["2"]
    second = sheets["find-results"]["tiles"]
    assert [tile.title.split()[0] for tile in (*first, *second)] == [str(rank) for rank in range(1, 21)]
    # Another question begins with its first page.
    app.selectbox(key="find-filter").set_value("quality").run()
    assert param(app, "page") == []


def test_results_are_grouped_with_a_sheet_each(page: Open, archive: Archive, sheets: Any) -> None:
    page(crop=archive.crops[3]["crop_id"], group="camera")
    by_camera = {row["crop_id"]: row["camera"] for row in archive.crops}
    for camera in ("gate", "hall"):
        crops = crops_of(sheets[f"find-camera-{camera}"])
        assert crops
        assert {by_camera[crop] for crop in crops} == {camera}


def test_many_groups_are_told_in_one_sheet(page: Open, archive: Archive, sheets: Any) -> None:
    page(crop=archive.crops[3]["crop_id"], group="tracklet")
    tracks = {row["crop_id"]: row["tracklet"] for row in archive.crops}
    order = [tracks[crop] for crop in crops_of(sheets["find-results"])]
    assert [track for place, track in enumerate(order) if track not in order[:place]] == [
        track for place, track in enumerate(order) if place == 0 or order[place - 1] != track
    ]


def test_a_reviewer_decides_and_takes_back(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[5]["crop_id"]
    app = page(crop=crop)
    first, second = crops_of(sheets["find-results"])[:2]
    order = crops_of(sheets["find-results"])
    for action, chosen in (("confirm", first), ("reject", second)):
        sheets["do"]["find-results"] = Chosen(action, chosen)
        app.run()
    key = query_key(crops=[crop])
    assert {one: verdict.verdict for one, verdict in store.verdicts(key).items()} == {
        first: "confirmed",
        second: "rejected",
    }
    tiles = sheets["find-results"]["tiles"]
    assert [tile.crop for tile in tiles] == order
    assert [(tile.mark, tile.tone) for tile in tiles[:3]] == [("Confirmed", "right"), ("Rejected", "wrong"), ("", "")]
    sheets["do"]["find-results"] = Chosen("reject", second)
    app.run()
    assert second not in store.verdicts(key)
    assert entries(store, "verdict")[0].user == "the-reviewer"

    # The confirmed one joins the query, and what was decided stays.
    app.button(key="find-join").click().run()
    assert param(app, "crop") == [crop, first]
    assert param(app, "root") == [key]
    sheets["do"]["find-results"] = Chosen("not-sure", second)
    app.run()
    assert store.verdicts(key)[second].verdict == "not sure"
    shown = page(crop=[crop, first], root=key, show="confirmed")
    assert "None of the" in words(shown)
    page(crop=[crop], show="confirmed")
    assert crops_of(sheets["find-results"]) == [first]
    page(crop=[crop], show="undecided")
    assert not {first, second} & set(crops_of(sheets["find-results"]))


def test_a_viewer_decides_nothing(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[7]["crop_id"]
    app = page(crop=crop, role="viewer")
    assert {action.name for action in sheets["find-results"]["actions"]} == {"search", "add"}
    sheets["do"]["find-results"] = Chosen("confirm", crops_of(sheets["find-results"])[0])
    app.run()
    assert store.verdicts(query_key(crops=[crop])) == {}


def test_decisions_of_another_case_are_not_shown(page: Open, archive: Archive, store: Store, sheets: Any) -> None:
    crop = archive.crops[9]["crop_id"]
    app = page(crop=crop)
    sheets["do"]["find-results"] = Chosen("confirm", crops_of(sheets["find-results"])[0])
    app.run()
    app.text_input(key="desk-case").set_value("26-0815").run()
    assert not any(tile.mark for tile in sheets["find-results"]["tiles"])


def test_a_result_is_searched_with_or_added(page: Open, archive: Archive, sheets: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop)
    first, second = crops_of(sheets["find-results"])[:2]
    sheets["do"]["find-results"] = Chosen("add", first)
    app.run()
    assert param(app, "crop") == [crop, first]
    sheets["do"]["find-results"] = Chosen("search", second)
    app.run()
    assert param(app, "crop") == [second]
    assert "root" not in app.query_params
    app.button(key="find-new").click().run()
    assert "crop" not in app.query_params


def test_a_result_is_opened_by_a_click_and_by_a_link(page: Open, archive: Archive, sheets: Any, opened: Any) -> None:
    crop = archive.crops[3]["crop_id"]
    app = page(crop=crop)
    assert not opened
    chosen = crops_of(sheets["find-results"])[2]
    sheets["do"]["find-results"] = Chosen("open", chosen)
    app.run()
    assert param(app, result.LOOK) == [chosen]
    assert opened[-1][0] == chosen
    assert list(opened[-1][1]["found"])[2] == chosen
    assert opened[-1][1]["key"] == query_key(crops=[crop])
    page(crop=crop, look=chosen)
    assert opened[-1][0] == chosen


def test_an_upload_is_searched_with_and_forgotten_with_the_session(
    page: Open, archive: Archive, store: Store, sheets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vestigo_ui.app import find_upload

    monkeypatch.setattr(
        find_upload, "contact_sheet", lambda tiles, **more: Chosen("open", tiles[0].crop) if tiles else None
    )
    row = max(archive.crops, key=lambda row: row["quality"])
    app = page(pane="upload")
    assert "stays in this session" in words(app)
    app.file_uploader(key="find-file").set_value([("person.jpg", row["image"], "image/jpeg")]).run()
    assert "The nearest" in words(app)
    assert crops_of(sheets["find-results"])[0] == row["crop_id"]
    details = entries(store, "search")[0].details
    assert details["query_crops"] == []
    assert [len(digest) for digest in details["query_uploads"]] == [16]
    assert "The nearest" not in words(page())


def test_an_upload_that_is_no_picture_is_told(page: Open) -> None:
    app = page(pane="upload")
    app.file_uploader(key="find-file").set_value([("notes.jpg", b"these are notes", "image/jpeg")]).run()
    assert "Upload another picture" in words(app)
    assert not app.exception


def test_a_search_that_the_archive_outgrew_is_left_until_asked_again(
    page: Open, archive: Archive, store: Store
) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    assert "has changed since" not in words(app)
    store.set_clock_offset("gate", 3.0)
    try:
        app.run()
        assert "has changed since" in words(app)
        app.button(key="find-again").click().run()
        assert "has changed since" not in words(app)
    finally:
        store.set_clock_offset("gate", 0.0)


def test_the_timeline_says_what_it_lacks(page: Open, archive: Archive) -> None:
    app = page(crop=archive.crops[3]["crop_id"])
    assert [one.value for one in app.subheader] == ["Timeline"]
    assert "no time" not in words(app)


def test_a_store_without_crops_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty") as store:
        app = desk_app(monkeypatch, store.ref, page="find")
        assert "`vestigo index SOURCE --store STORE`" in words(app)
        store.register_model("a" * 64, name="new", location="default", facts=ModelFacts())
        app = desk_app(monkeypatch, store.ref, page="find", crop="0" * 20)
        assert "no crops yet" in words(app)
        assert not app.exception


def test_nothing_found_in_the_scope_is_a_sentence(page: Open, archive: Archive) -> None:
    late = datetime(2030, 1, 1, tzinfo=UTC)
    app = page(crop=archive.crops[3]["crop_id"], since=f"{late:%Y-%m-%dT%H:%M:%S}")
    assert "No crop in the scope" in words(app)
