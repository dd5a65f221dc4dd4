"""One result in depth, through Streamlit's own testing: what the dialog says, offers and writes down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import PATIENCE_S, words
from tests.ui.conftest import Archive
from vestigo.resolve import resolve_search_model
from vestigo.retrieval.explain import BlockMatch, Explanation, explain
from vestigo.retrieval.gallery import stored_features
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_conditions, search_query
from vestigo.sightings.index import BrowseIndex
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.schemas.regions import REGIONS
from vestigo_ui.app import images as pictures
from vestigo_ui.app.components.result import explanation as result_why
from vestigo_ui.app.components.result import place as result_place
from vestigo_ui.app.components.result import regions as result_regions
from vestigo_ui.app.components.result import verdict as result_decision
from vestigo_ui.app.context import Desk
from vestigo_ui.app.text import with_box
from vestigo_ui.web.auth.identity import User
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings
from vestigo_workers.regions.plan import RegionsRequest
from vestigo_workers.regions.run import label_run

KEY = query_key(crops=["0" * 20])


def page() -> None:
    """What a page does that opens the dialog."""
    import streamlit as st

    from vestigo_ui.app.components.result.dialog import open_dialog

    given = st.session_state["given"]
    open_dialog(given["desk"], given["query"], given["crop"], on_close=lambda: None, **given["more"])


@pytest.fixture
def desk(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A reviewer's."""
    st.cache_data.clear()
    with Store.open(archive.store) as store, BrowseIndex.open(store) as index:
        index.refresh()
        monkeypatch.setattr(pictures, "the_index", lambda: index)
        monkeypatch.setattr("vestigo_ui.app.pages.find.search.the_store", lambda: store)
        yield desk_of(store, index, "reviewer")


def desk_of(store: Store, index: BrowseIndex, role: str, *, blurred: bool = False) -> Desk:
    user = User(name=f"the-{role}", role=Role(role), session="a-session")
    return Desk(
        store=store, index=index, user=user, settings=Settings(), case="2026-17", authority=None, blurred=blurred
    )


def crops_of(desk: Desk) -> list[str]:
    return [crop for batch in desk.store.crops.scan(["crop_id"]) for crop in batch.column(0).to_pylist()]


def opened(desk: Desk, query: Query, crop: str, **more: Any) -> AppTest:
    app = AppTest.from_function(page, default_timeout=PATIENCE_S)
    more = {"model": desk.store.models.list()[0].digest} | more
    app.session_state["given"] = {"desk": desk, "query": query, "crop": crop, "more": more}
    app.run()
    assert not app.exception
    return app


def frames(app: AppTest) -> list[Any]:
    return [one.value for one in app.dataframe]


def test_a_result_is_explained(desk: Desk) -> None:
    query = Query(crops=tuple(crops_of(desk)[:2]))
    hits = search_query(desk.store, query, top=12).hits
    found = {hit.crop: hit.distance for hit in hits}
    app = opened(desk, query, hits[4].crop, found=found, key=KEY)
    assert not app.error
    said = words(app)
    assert "5 of 12" in said
    assert f"Distance {hits[4].distance:.3f}, the mean over" in said
    assert "The list has" not in said
    parts, attributes = frames(app)
    assert parts["Adds"].sum() == pytest.approx(hits[4].distance, abs=1e-6)
    assert list(parts["Feature"][:2]) == ["Whole crop", "Person without background"]
    why = explain(desk.store, query, hits[4].crop)
    assert list(attributes["Attribute"]) == [match.title for match in why.attributes]
    assert f"{hits[4].camera} · " in app.text[0].value
    assert len(app.image) == 3


def test_one_goes_from_result_to_result(desk: Desk) -> None:
    query = Query(crops=(crops_of(desk)[0],))
    hits = search_query(desk.store, query, top=3).hits
    found = {hit.crop: hit.distance for hit in hits}
    app = opened(desk, query, hits[0].crop, found=found)
    assert app.button(key="result-Previous").disabled
    for place in (1, 2):
        app.button(key="result-Next").click().run()
        assert app.query_params["look"] in (hits[place].crop, [hits[place].crop])
        assert f"{place + 1} of 3" in words(app)
        assert f"Distance {hits[place].distance:.3f}" in words(app)
    assert app.button(key="result-Next").disabled
    app.button(key="result-Previous").click().run()
    seen = [entry.details["crop"] for entry in desk.store.audit.entries(action="view")]
    assert seen == [hits[place].crop for place in (0, 1, 2, 1)]
    app.run()
    assert len(desk.store.audit.entries(action="view")) == 4


@pytest.mark.parametrize("role", ["viewer", "reviewer"])
def test_only_reviewers_are_led_to_a_correction(desk: Desk, role: str) -> None:
    crop, other = crops_of(desk)[:2]
    app = opened(desk_of(desk.store, desk.index, role), Query(crops=(crop,)), other)
    links = [one.proto.url for one in app.get("link_button")]
    assert links == [f"/find?crop={other}", *([f"/review?sighting={other}"] if role == "reviewer" else [])]


def test_a_crop_that_is_no_result_is_shown_as_well(desk: Desk) -> None:
    ids = crops_of(desk)
    app = opened(desk, Query(crops=(ids[0],)), ids[3], found={ids[5]: 0.5})
    assert "Not among the results" in words(app)
    assert app.button(key="result-Previous").disabled
    assert app.button(key="result-Next").disabled


def test_a_distance_that_a_filter_changed_is_told_apart(desk: Desk) -> None:
    ids = crops_of(desk)
    app = opened(desk, Query(crops=(ids[0],)), ids[5], found={ids[5]: 1.75})
    assert "The list has 1.750" in words(app)


def test_views_of_pictures_are_explained(desk: Desk) -> None:
    ids = crops_of(desk)
    model = resolve_search_model(desk.store)
    views = stored_features(desk.store, ids[:1], model)
    images = pictures.crops(desk, ids[:1], model=model.digest)
    app = opened(desk, Query(views=views, model=model.digest), ids[0], uploads=list(images.values()))
    assert "Distance 0.000" in words(app)
    assert len(frames(app)) == 2


def test_conditions_are_explained(desk: Desk) -> None:
    hits = search_conditions(desk.store, "gender=female,hat=no", top=5).hits
    app = opened(desk, Query(), hits[0].crop, where="gender=female,hat=no")
    assert f"Distance {hits[0].distance:.3f}: how unlikely" in words(app)
    (attributes,) = frames(app)
    assert sorted(attributes["Attribute"]) == ["Gender", "Hat"]


@pytest.mark.parametrize("crop", ["f" * 20, "../etc", "%00", "a" * 5000])
def test_a_crop_that_is_gone_is_said_to_be(desk: Desk, crop: str) -> None:
    app = opened(desk, Query(crops=(crops_of(desk)[0],)), crop)
    (error,) = app.error
    assert "is not in the store" in error.value
    assert desk.store.audit.entries(action="view") == []


def test_reviewers_decide_and_take_back(desk: Desk) -> None:
    ids = crops_of(desk)
    app = opened(desk, Query(crops=(ids[0],)), ids[5], key=KEY)
    assert "Nobody has decided" in words(app)
    assert app.button(key="result-Withdraw").disabled
    app.text_input(key=f"result-note-{ids[5]}").set_value("the same [bag](http://example.org)")
    app.button(key="result-Confirm").click().run()
    assert "Confirmed by the-reviewer" in app.text[0].value
    assert "the same [bag](http://example.org)" in app.text[0].value
    held = desk.store.verdicts.current(KEY, "2026-17")[ids[5]]
    assert (held.verdict, held.note) == ("confirmed", "the same [bag](http://example.org)")
    app.run()
    assert len(desk.store.verdicts.history(KEY)) == 1
    app.button(key="result-Not sure").click().run()
    assert desk.store.verdicts.current(KEY, "2026-17")[ids[5]].verdict == "not sure"
    app.button(key="result-Withdraw").click().run()
    assert desk.store.verdicts.current(KEY, "2026-17") == {}
    assert "Nobody has decided" in words(app)
    assert [one.verdict for one in desk.store.verdicts.history(KEY)] == ["confirmed", "not sure", None]


def test_viewers_see_what_was_decided_and_decide_nothing(desk: Desk) -> None:
    ids = crops_of(desk)
    desk.store.verdicts.record(KEY, ids[5], "rejected", user="anna", case="2026-17", note="taller")
    viewer = desk_of(desk.store, desk.index, "viewer")
    app = opened(viewer, Query(crops=(ids[0],)), ids[5], key=KEY)
    assert "Rejected by anna" in app.text[0].value
    assert not {"result-Confirm", "result-Reject", "result-Withdraw"} & {button.key for button in app.button}
    with pytest.raises(UsageError, match="reviewer"):
        result_decision.decide(viewer, KEY, ids[5], "confirmed", "")
    assert len(desk.store.verdicts.history(KEY)) == 1


def test_without_a_key_there_is_nothing_to_decide(desk: Desk) -> None:
    ids = crops_of(desk)
    app = opened(desk, Query(crops=(ids[0],)), ids[5])
    assert "decided" not in words(app)
    assert "result-Confirm" not in {button.key for button in app.button}


@pytest.mark.parametrize("reason", ["moved", "changed"])
def test_a_frame_that_is_gone_leaves_the_crop(desk: Desk, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(row: object) -> None:
        raise BadInput(reason, "gate-0.png is no longer what it was")

    monkeypatch.setattr(pictures, "frame_of", gone)
    ids = crops_of(desk)
    app = opened(desk, Query(crops=(ids[0],)), ids[5])
    assert "gate-0.png is no longer what it was. The crop itself is in the store" in words(app)
    assert len(app.image) == 2


def test_a_crop_that_is_its_whole_picture_has_no_frame(desk: Desk) -> None:
    row = pictures.facts(desk, crops_of(desk)[:1], model=desk.model().digest)[0]
    whole = row | {"x": 0.0, "y": 0.0, "w": row["frame_width"], "h": row["frame_height"]}

    def shown() -> None:
        import streamlit as st

        from vestigo_ui.app.components.result.place import show_place

        show_place(st.session_state["desk"], st.session_state["row"], model="")

    app = AppTest.from_function(shown, default_timeout=PATIENCE_S)
    app.session_state["desk"], app.session_state["row"] = desk, whole
    app.run()
    assert "there is no frame around it" in words(app)
    assert not app.image


def test_hidden_heads_are_hidden_everywhere(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = desk_of(desk.store, desk.index, "viewer", blurred=True)
    ids, model = crops_of(desk)[:4], desk.model().digest
    for crop, image in pictures.crops(desk, ids, model=model).items():
        other = pictures.crops(hidden, ids, model=model)[crop]
        top = slice(round(image.shape[0] / 6))
        assert (image[top] != other[top]).mean() > 0.5
        assert (image == other).mean() > 0.1
    row = pictures.facts(desk, ids, model=model)[0]
    shown, plain = (pictures.frame(one, row, [[row[side] for side in "xywh"]]) for one in (hidden, desk))
    assert (shown == plain).all(axis=2).mean() < 0.3
    assert np.abs(pictures.upload(hidden, plain).astype(int) - plain).mean() > 1
    calls = []
    monkeypatch.setattr(pictures, "frame_of", lambda row: calls.append(row) or plain)
    app = opened(hidden, Query(crops=(ids[0],)), ids[1])
    assert len(calls) == 1
    assert len(app.image) == 3


def test_regions_come_from_the_store_where_it_has_them(desk: Desk) -> None:
    ids, model = crops_of(desk), desk.model().digest
    assert result_regions.sources(desk, model) == (result_regions.PARSED, result_regions.NETWORK)
    app = opened(desk, Query(crops=(ids[0],)), ids[5])
    app.segmented_control(key="result-regions").set_value(result_regions.PARSED).run()
    assert not app.error
    assert not app.exception
    parsed = result_regions.regions_of_crop(desk, ids[5], result_regions.PARSED, model)
    assert parsed.origin == "The parser"
    assert {1, 2, 3} <= set(np.unique(parsed.labels))
    seen = result_regions.regions_of_crop(desk, ids[5], result_regions.NETWORK, model)
    assert (seen.origin, seen.schema) == ("The model", REGIONS)
    for request in ({}, {"model": "default"}):
        label_run(
            desk.store,
            RegionsRequest(run=desk.store.runs.list()[0].id, executor="inline", device="cpu", **request),
            lambda name: lambda done, total: None,
        )
        st.cache_data.clear()
        stored = result_regions.regions_of_crop(desk, ids[5], result_regions.PARSED, model)
        assert stored.origin == "Label map of the store"
        assert stored.schema is REGIONS
        assert (stored.labels == parsed.labels).mean() > 0.8


def test_words_for_distances() -> None:
    def block(name: str, distance: float | None, share: float) -> BlockMatch:
        return BlockMatch(name=name, in_query=True, in_crop=distance is not None, distance=distance, share=share)

    why = Explanation(
        model="m",
        distance=0.3,
        blocks=(block("head", 0.4, 0.2), block("shoes", 0.2, 0.1), block("x", None, 0)),
        attributes=(),
    )
    assert result_why.in_words(why, 0.3001) == (
        "Distance 0.300, the mean over 2 of 3 features; 1 is not to be seen on both sides."
    )
    table = result_why.parts_table(why)
    assert list(table["Seen in"]) == ["both", "both", "query only"]
    assert np.isnan(table["Distance"][2])


def test_crops_of_a_long_tracklet_are_spread_over_it() -> None:
    rows = [{"number": number} for number in range(100)]
    some = [row["number"] for row in result_place.spread(rows, 10)]
    assert some == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert result_place.spread(rows[:3], 10) == rows[:3]


def test_other_people_of_a_frame_are_boxed_thin() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    alone, both = with_box(frame, [100, 100, 50, 100]), with_box(frame, [100, 100, 50, 100], [[300, 100, 50, 100]])
    assert (alone != both).any(axis=2).sum() == 2 * (50 + 98)
