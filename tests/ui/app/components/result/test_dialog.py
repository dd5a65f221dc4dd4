"""The dialog of one result, run by Streamlit's testing: texts, buttons and audit entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import PATIENCE_S, words
from tests.ui.conftest import Archive
from vestigo.retrieval.explain import BlockMatch, Explanation, explain
from vestigo.retrieval.gallery import Gallery
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_conditions, search_query
from vestigo.sightings.index import BrowseIndex
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.schemas.regions import REGIONS
from vestigo_ui.app import images as app_images
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.result import explanation, regions, verdict
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload, load_crops, load_facts, load_frame
from vestigo_ui.app.text import draw_boxes
from vestigo_ui.web.auth.identity import User
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings
from vestigo_workers.regions.plan import RegionsRequest
from vestigo_workers.regions.run import label_run

pytestmark = pytest.mark.slow

KEY = query_key(crops=["0" * 20])
Components = dict[str, dict[str, Any]]


def page() -> None:
    """Open the dialog as a page does."""
    import streamlit as st

    from vestigo_ui.app.components.result.dialog import AnsweredQuery, open_dialog

    given = st.session_state["given"]
    if "do" in st.session_state:
        scope, action = st.session_state.pop("do")
        st.session_state["actions-handlers"][scope](action)
    open_dialog(given["context"], AnsweredQuery(**given["answered"]), given["crop"], on_close=lambda: None)


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> Components:
    """Return what each component shows, by its name."""
    data: Components = {}

    def component(name: str, **parts: Any) -> Callable[..., None]:
        return lambda **given: data.update({name: given["data"]})

    monkeypatch.setattr(st.components.v2, "component", component)
    return data


@pytest.fixture
def context(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageContext]:
    """The context of a reviewer."""
    st.cache_data.clear()
    with Store.open(archive.store) as store, BrowseIndex.open(store) as index:
        index.refresh()
        monkeypatch.setattr(app_images, "shared_index", lambda: index)
        monkeypatch.setattr(app_images, "shared_store", lambda: store)
        yield context_of(store, index, "reviewer")


def context_of(store: Store, index: BrowseIndex, role: str, *, blurred: bool = False) -> PageContext:
    user = User(name=f"the-{role}", role=Role(role), session="a-session")
    return PageContext(
        store=store, index=index, user=user, settings=Settings(), case="2026-17", authority=None, blurred=blurred
    )


def crops_of(context: PageContext) -> list[str]:
    return [crop for batch in context.store.crops.scan(["crop_id"]) for crop in batch.column(0).to_pylist()]


def open_result(context: PageContext, query: Query, crop: str, **answered: Any) -> AppTest:
    app = AppTest.from_function(page, default_timeout=PATIENCE_S)
    answered = {"query": query, "model": context.store.models.list()[0].digest} | answered
    app.session_state["given"] = {"context": context, "crop": crop, "answered": answered}
    app.run()
    assert not app.exception
    return app


def act(app: AppTest, shown: Components, action: str, note: str = "") -> None:
    """Send an action of the bar of the open result, as the browser's queue does."""
    data = shown["vestigo.verdict"]
    app.session_state["do"] = data["scope"], UserAction(action, data["crop"], note)
    app.run()
    assert not app.exception


def frames(app: AppTest) -> list[Any]:
    return [table.value for table in app.dataframe]


def test_result_is_explained(context: PageContext, shown: Components) -> None:
    query = Query(crops=tuple(crops_of(context)[:2]))
    hits = search_query(context.store, query, top=12).hits
    distances = {hit.crop: hit.distance for hit in hits}
    app = open_result(context, query, hits[4].crop, distances=distances, key=KEY)
    assert not app.error
    text = words(app)
    assert shown["vestigo.verdict"]["place"] == "5 of 12"
    assert f"Distance {hits[4].distance:.3f}, the mean over" in text
    assert "The list shows" not in text
    parts, attributes = frames(app)
    assert parts["Adds"].sum() == pytest.approx(hits[4].distance, abs=1e-6)
    assert list(parts["Feature"][:2]) == ["Whole crop", "Person without background"]
    why = explain(context.store, query, hits[4].crop)
    assert list(attributes["Attribute"]) == [match.title for match in why.attributes]
    assert f"{hits[4].camera} · " in app.text[0].value
    assert len(app.image) == 3


def test_buttons_open_next_and_previous_result(context: PageContext, shown: Components) -> None:
    query = Query(crops=(crops_of(context)[0],))
    hits = search_query(context.store, query, top=3).hits
    distances = {hit.crop: hit.distance for hit in hits}
    app = open_result(context, query, hits[0].crop, distances=distances)
    assert not shown["vestigo.verdict"]["previous"]
    for number in (1, 2):
        act(app, shown, "next")
        assert app.query_params["look"] in (hits[number].crop, [hits[number].crop])
        assert shown["vestigo.verdict"]["place"] == f"{number + 1} of 3"
        assert f"Distance {hits[number].distance:.3f}" in words(app)
    assert not shown["vestigo.verdict"]["next"]
    act(app, shown, "previous")
    seen = [entry.details["crop"] for entry in context.store.audit.entries(action="view")]
    assert seen == [hits[place].crop for place in (0, 1, 2, 1)]
    app.run()
    assert len(context.store.audit.entries(action="view")) == 4


@pytest.mark.parametrize("role", ["viewer", "reviewer"])
def test_only_reviewers_get_link_to_correction(context: PageContext, role: str) -> None:
    crop, other = crops_of(context)[:2]
    app = open_result(context_of(context.store, context.index, role), Query(crops=(crop,)), other)
    urls = [button.proto.url for button in app.get("link_button")]
    assert urls == [f"/find?crop={other}", *([f"/review?sighting={other}"] if role == "reviewer" else [])]


def test_crop_that_is_no_result_is_shown(context: PageContext, shown: Components) -> None:
    ids = crops_of(context)
    open_result(context, Query(crops=(ids[0],)), ids[3], distances={ids[5]: 0.5})
    data = shown["vestigo.verdict"]
    assert (data["place"], data["previous"], data["next"]) == ("Not among the results", False, False)


def test_distance_that_filter_changed_is_reported(context: PageContext) -> None:
    ids = crops_of(context)
    app = open_result(context, Query(crops=(ids[0],)), ids[5], distances={ids[5]: 1.75})
    assert "The list shows 1.750" in words(app)


def test_uploaded_views_are_explained(context: PageContext) -> None:
    ids = crops_of(context)
    model = context.model()
    features = Gallery.of(context.store, model).features(ids[:1])
    images = load_crops(context, ids[:1], model=model.digest)
    app = open_result(context, Query(views=features, model=model.digest), ids[0], uploads=tuple(images.values()))
    assert "Distance 0.000" in words(app)
    assert len(frames(app)) == 2


def test_conditions_are_explained(context: PageContext) -> None:
    hits = search_conditions(context.store, "gender=female,hat=no", top=5).hits
    app = open_result(context, Query(), hits[0].crop, where="gender=female,hat=no")
    assert f"Distance {hits[0].distance:.3f}: 1 minus the probability" in words(app)
    (attributes,) = frames(app)
    assert sorted(attributes["Attribute"]) == ["Gender", "Hat"]


@pytest.mark.parametrize("crop", ["f" * 20, "../etc", "%00", "a" * 5000])
def test_missing_crop_is_reported(context: PageContext, crop: str) -> None:
    app = open_result(context, Query(crops=(crops_of(context)[0],)), crop)
    (error,) = app.error
    assert "is not in the store" in error.value
    assert context.store.audit.entries(action="view") == []


def test_reviewer_records_and_withdraws_verdict(context: PageContext, shown: Components) -> None:
    ids = crops_of(context)
    app = open_result(context, Query(crops=(ids[0],)), ids[5], key=KEY)
    assert "no verdict yet" in shown["vestigo.verdict"]["text"]
    act(app, shown, "confirm", "the same [bag](http://example.org)")
    text = shown["vestigo.verdict"]["text"]
    assert text.startswith("Confirmed by the-reviewer")
    assert text.endswith("the same [bag](http://example.org)")
    assert shown["vestigo.verdict"]["mark"] == "Confirmed"
    held = context.store.verdicts.current(KEY, "2026-17")[ids[5]]
    assert (held.verdict, held.note) == ("confirmed", "the same [bag](http://example.org)")
    app.run()
    assert len(context.store.verdicts.history(KEY)) == 1
    act(app, shown, "not-sure")
    assert context.store.verdicts.current(KEY, "2026-17")[ids[5]].verdict == "not sure"
    act(app, shown, "withdraw")
    assert context.store.verdicts.current(KEY, "2026-17") == {}
    assert "no verdict yet" in shown["vestigo.verdict"]["text"]
    assert [verdict.verdict for verdict in context.store.verdicts.history(KEY)] == ["confirmed", "not sure", None]


def test_viewer_sees_verdict_and_cannot_change_it(context: PageContext, shown: Components) -> None:
    ids = crops_of(context)
    context.store.verdicts.record(KEY, ids[5], "rejected", user="anna", case="2026-17", note="taller")
    viewer = context_of(context.store, context.index, "viewer")
    open_result(viewer, Query(crops=(ids[0],)), ids[5], key=KEY)
    assert "Rejected by anna" in shown["vestigo.verdict"]["text"]
    assert not shown["vestigo.verdict"]["buttons"]
    with pytest.raises(UsageError, match="reviewer"):
        verdict.record_verdict(viewer, KEY, UserAction("confirm", ids[5]))
    assert len(context.store.verdicts.history(KEY)) == 1


def test_query_without_key_has_no_verdict(context: PageContext, shown: Components) -> None:
    ids = crops_of(context)
    open_result(context, Query(crops=(ids[0],)), ids[5])
    assert shown["vestigo.verdict"]["text"] == ""
    assert not shown["vestigo.verdict"]["buttons"]


@pytest.mark.parametrize("reason", ["moved", "changed"])
def test_missing_frame_leaves_crop(context: PageContext, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(row: object) -> None:
        raise BadInput(reason, "gate-0.png is no longer what it was")

    monkeypatch.setattr(app_images, "read_source_frame", missing)
    ids = crops_of(context)
    app = open_result(context, Query(crops=(ids[0],)), ids[5])
    assert "gate-0.png is no longer what it was. The crop itself is in the store" in words(app)
    assert len(app.image) == 2


def test_crop_that_is_whole_image_has_no_frame(context: PageContext) -> None:
    row = load_facts(context, crops_of(context)[:1], model=context.model().digest)[0]
    whole = row | {"x": 0.0, "y": 0.0, "w": row["frame_width"], "h": row["frame_height"]}

    def shown() -> None:
        import streamlit as st

        from vestigo_ui.app.components.result.place import show_place

        show_place(st.session_state["context"], st.session_state["row"], model="")

    app = AppTest.from_function(shown, default_timeout=PATIENCE_S)
    app.session_state["context"], app.session_state["row"] = context, whole
    app.run()
    assert "there is no frame around it" in words(app)
    assert not app.image


def test_heads_are_hidden_in_all_images(context: PageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = context_of(context.store, context.index, "viewer", blurred=True)
    ids, model = crops_of(context)[:4], context.model().digest
    for crop, image in load_crops(context, ids, model=model).items():
        other = load_crops(hidden, ids, model=model)[crop]
        top = slice(round(image.shape[0] / 6))
        assert (image[top] != other[top]).mean() > 0.5
        assert (image == other).mean() > 0.1
    row = load_facts(context, ids, model=model)[0]
    shown, plain = (
        load_frame(page_context, row, [[row[side] for side in "xywh"]]) for page_context in (hidden, context)
    )
    assert (shown == plain).all(axis=2).mean() < 0.3
    assert np.abs(hide_upload(hidden, plain).astype(int) - plain).mean() > 1
    calls = []
    monkeypatch.setattr(app_images, "read_source_frame", lambda row: calls.append(row) or plain)
    app = open_result(hidden, Query(crops=(ids[0],)), ids[1])
    assert len(calls) == 1
    assert len(app.image) == 3


def test_regions_come_from_store_if_it_has_them(context: PageContext) -> None:
    ids, model = crops_of(context), context.model().digest
    assert regions.region_sources(context, model) == (regions.PARSED, regions.NETWORK)
    app = open_result(context, Query(crops=(ids[0],)), ids[5])
    app.segmented_control(key="result-regions").set_value(regions.PARSED).run()
    assert not app.error
    assert not app.exception
    parsed = regions.regions_of_crop(context, ids[5], regions.PARSED, model)
    assert parsed.origin == "The parser"
    assert {1, 2, 3} <= set(np.unique(parsed.labels))
    seen = regions.regions_of_crop(context, ids[5], regions.NETWORK, model)
    assert (seen.origin, seen.schema) == ("The model", REGIONS)
    for request in ({}, {"model": "default"}):
        label_run(
            context.store,
            RegionsRequest(run=context.store.runs.list()[0].id, executor="inline", device="cpu", **request),
            lambda name: lambda done, total: None,
        )
        st.cache_data.clear()
        stored = regions.regions_of_crop(context, ids[5], regions.PARSED, model)
        assert stored.origin == "Label map of the store"
        assert stored.schema is REGIONS
        assert (stored.labels == parsed.labels).mean() > 0.8


def test_summary_of_distance() -> None:
    def block(name: str, distance: float | None, share: float) -> BlockMatch:
        return BlockMatch(name=name, in_query=True, in_crop=distance is not None, distance=distance, share=share)

    why = Explanation(
        model="m",
        distance=0.3,
        blocks=(block("head", 0.4, 0.2), block("shoes", 0.2, 0.1), block("x", None, 0)),
        attributes=(),
    )
    assert explanation.summarize(why, 0.3001) == (
        "Distance 0.300, the mean over 2 of 3 features; 1 is not visible on both sides."
    )
    table = explanation.feature_table(why)
    assert list(table["Visible in"]) == ["both", "both", "query only"]
    assert np.isnan(table["Distance"][2])


def test_crops_of_long_tracklet_are_spread_evenly() -> None:
    rows = [{"number": number} for number in range(100)]
    numbers = [row["number"] for row in app_images.spread(rows, 10)]
    assert numbers == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert app_images.spread(rows[:3], 10) == rows[:3]


def test_other_people_of_frame_have_thin_boxes() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    alone, both = draw_boxes(frame, [100, 100, 50, 100]), draw_boxes(frame, [100, 100, 50, 100], [[300, 100, 50, 100]])
    assert (alone != both).any(axis=2).sum() == 2 * (50 + 98)
