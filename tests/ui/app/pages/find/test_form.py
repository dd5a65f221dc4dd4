"""The pure functions behind the page Find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import pytest
import streamlit as st

from vestigo.retrieval.gallery import Scope
from vestigo.retrieval.query import Box
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import Verdict, VerdictValue, query_key
from vestigo_models.inference.images import decode_image
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET
from vestigo_ui.app.pages.find import downloads as find_files
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.pages.find import results as find_results
from vestigo_ui.app.pages.find import results as find_words
from vestigo_ui.app.pages.find import search as find_search
from vestigo_ui.app.pages.find import timeline as find_timeline
from vestigo_ui.app.pages.find import upload as find_upload
from vestigo_ui.app.pages.find.form import SearchForm, Upload

NOON = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
MODEL = "a" * 64


def hit(rank: int, *, camera: str = "gate", track: str = "", minutes: float | None = 0.0) -> Hit:
    return Hit(
        rank=rank,
        crop=f"{rank:020x}",
        distance=rank / 100,
        camera=camera,
        time=None if minutes is None else NOON + timedelta(minutes=minutes),
        offset_s=None,
        track=track,
        source="s",
        input="i",
        frame=-1,
        attributes={"gender": "female", "hat": "no", "backpack": "yes", "upper_colour": "red"},
        confidences={"gender": 0.99, "hat": 0.9, "backpack": 0.69, "upper_colour": 0.8},
    )


def verdict(crop: str, value: VerdictValue | None) -> Verdict:
    return Verdict(id=1, at=NOON, user="u", case=None, query="q" * 64, crop=crop, verdict=value, note=None)


def test_few_words_are_sure_and_of_what_there_is() -> None:
    one = hit(1)
    assert find_words.brief(one.attributes, one.confidences) == "female, upper red"
    assert find_words.brief({}, {}) == ""


def test_only_what_is_sure_on_both_sides_differs() -> None:
    one = hit(1)
    asked = {"gender": "male", "hat": "yes", "backpack": "no", "upper_colour": "red"}
    sure = dict.fromkeys(asked, 0.9)
    assert find_words.differing(one, asked, sure) == ["gender", "hat"]
    assert find_words.differing(one, asked, sure | {"gender": 0.6}) == ["hat"]
    assert find_words.differing(replace(one, attributes={}, confidences={}), asked, sure) == []


@pytest.mark.parametrize("by", get_args(find_results.Grouping))
def test_groups_hold_every_hit_once_nearest_first(by: find_results.Grouping) -> None:
    rng = np.random.default_rng(3)
    hits = [
        hit(
            rank,
            camera=f"c{rng.integers(3)}",
            track=["", "one", "two"][rng.integers(3)],
            minutes=[None, 0, 20, 40, 90][rng.integers(5)],
        )
        for rank in range(1, 80)
    ]
    groups = find_results.grouped(hits, by)
    assert sorted(one.rank for group in groups for one in group.hits) == list(range(1, 80))
    assert all([one.rank for one in group.hits] == sorted(one.rank for one in group.hits) for group in groups)
    assert [group.hits[0].rank for group in groups] == sorted(group.hits[0].rank for group in groups)
    names: dict[str, Callable[[Hit], object]] = {
        "none": lambda one: 0,
        "tracklet": lambda one: one.track or one.crop,
        "camera": lambda one: one.camera,
        "hour": lambda one: one.time and (one.time.date(), one.time.hour),
    }
    assert all(len({names[by](one) for one in group.hits}) == 1 for group in groups)
    assert len(groups) == len({names[by](one) for one in hits})


def test_verdicts_choose_without_changing_the_order() -> None:
    hits = [hit(rank) for rank in range(1, 6)]
    verdicts = {
        hits[0].crop: verdict(hits[0].crop, "rejected"),
        hits[1].crop: verdict(hits[1].crop, None),
        hits[3].crop: verdict(hits[3].crop, "confirmed"),
    }
    ranks = {show: [one.rank for one in find_results.decided(hits, verdicts, show)] for show in find_results.SHOWN}
    assert ranks == {"all": [1, 2, 3, 4, 5], "undecided": [2, 3, 5], "confirmed": [4]}


def test_conditions_of_an_address_are_read_as_far_as_they_can_be() -> None:
    assert search_form.conditions("gender=female,shoe=left,hat=no,hat", MARKET) == {"gender": "female", "hat": "no"}
    assert search_form.conditions("gender=female", None) == {}
    assert search_form.conditions("", MARKET) == {}
    assert search_form.as_text({"hat": "no", "gender": "female", "bag": None}) == "gender=female,hat=no"


def test_the_key_of_verdicts_is_that_of_the_views_or_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Upload(data=b"picture", image=np.zeros((2, 1, 3), np.uint8))
    uploads = {picture.digest: picture}
    address: dict[str, str] = {}
    monkeypatch.setattr(st, "query_params", address)
    asked = SearchForm(model=MODEL, crops=("b" * 20, "a" * 20), uploads=(picture.digest,))
    key = search_form.verdict_key(asked, uploads)
    assert key == query_key(crops=["a" * 20, "b" * 20], pictures=[b"picture"])
    narrowed = replace(asked, scope=Scope(cameras=("gate",), where="hat=no"), rerank=True, top=24)
    assert search_form.verdict_key(narrowed, uploads) == key
    words = SearchForm(model=MODEL, scope=Scope(where="hat=no"))
    assert search_form.verdict_key(words, {}) == query_key(where="hat=no")
    address["root"] = key
    assert search_form.verdict_key(words, {}) == key
    address["root"] = "nonsense"
    assert search_form.verdict_key(words, {}) == query_key(where="hat=no")


def test_options_that_compare_with_a_view_need_one() -> None:
    asked = SearchForm(model=MODEL, scope=Scope(where="hat=no"), rerank=True)
    assert not asked.without_views().rerank
    assert replace(asked, crops=("a" * 20,)).without_views().rerank
    assert asked
    assert not SearchForm(model=MODEL)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([], None),
        ([{"x": [10.4, 60.0], "y": [5.0, 90.0]}], Box(x=10, y=5, w=50, h=85)),
        ([{"x": [60.0, 10.4], "y": [90.0, 5.0]}], Box(x=10, y=5, w=50, h=85)),
        ([{"x": [0, 9], "y": [0, 9]}, {"x": [-20, 300], "y": [-9, 60]}], Box(x=0, y=0, w=200, h=60)),
        ([{"x": [10, 12], "y": [5, 90]}], None),
        ([{"x": [500, 900], "y": [5, 90]}], None),
    ],
)
def test_a_drawn_box_is_the_last_one_cut_to_the_picture(
    drawn: list[dict[str, list[float]]], expected: Box | None
) -> None:
    assert find_upload.selected(drawn, (100, 200)) == expected


def test_what_is_cut_is_kept_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    view = find_upload.cut(image, Box(x=20, y=10, w=30, h=60))
    assert (view.image == image[10:70, 20:50]).all()
    assert (decode_image(view.data) == view.image).all()
    assert view.digest == find_upload.cut(image, Box(x=20, y=10, w=30, h=60)).digest


def test_the_canvas_has_the_pixels_of_the_picture() -> None:
    made = find_upload.canvas(np.zeros((300, 3200, 3), np.uint8), [Box(x=5, y=6, w=70, h=80)])
    assert tuple(made.layout.xaxis.range) == (0, 3200)
    assert tuple(made.layout.yaxis.range) == (300, 0)
    assert (made.layout.images[0].sizex, made.layout.images[0].sizey) == (3200, 300)
    (shape,) = made.layout.shapes
    assert (shape.x0, shape.y0, shape.x1, shape.y1) == (5, 6, 75, 86)


def test_every_result_has_its_mark_on_the_timeline() -> None:
    hits = [hit(rank, camera=f"c{rank % 3}") for rank in range(1, 20)]
    verdicts = {hits[2].crop: verdict(hits[2].crop, "confirmed"), hits[4].crop: verdict(hits[4].crop, "not sure")}
    made = find_timeline.lanes(hits, verdicts, "Time (UTC)")
    marks = [crop for trace in made.data for (crop,) in trace.customdata]
    assert sorted(marks) == sorted(one.crop for one in hits)
    assert [trace.name for trace in made.data] == ["Undecided", "Confirmed", "Not sure"]
    assert len({trace.marker.symbol for trace in made.data}) == 3
    assert list(made.layout.yaxis.categoryarray) == ["c0", "c2", "c1"]
    assert made.layout.xaxis.title.text == "Time (UTC)"


def test_answers_are_kept_as_long_as_there_is_room() -> None:
    answers = find_search.ResultCache(2)
    made = [
        find_search.Answer(
            asked=SearchForm(model=MODEL, top=top), snapshot="s", result=SearchResult(hits=(), compared=0, model=MODEL)
        )
        for top in (24, 48, 96)
    ]
    answers.put(made[0])
    answers.put(made[1])
    assert answers.get(made[0].asked, "s") is made[0]
    answers.put(made[2])
    assert answers.get(made[1].asked, "s") is None
    assert answers.get(made[0].asked, "s") is made[0]
    assert answers.get(made[0].asked, "another") is None


def test_results_as_a_table() -> None:
    hits = [hit(1), hit(2, minutes=None)]
    frame = find_files.as_frame(hits, {hits[0].crop: verdict(hits[0].crop, "confirmed")})
    assert frame["rank"].tolist() == [1, 2]
    assert frame["verdict"].fillna("").tolist() == ["confirmed", ""]
    assert frame["upper_colour"].tolist() == ["red", "red"]
    assert frame["time"].isna().tolist() == [False, True]
    assert find_files.as_frame([], {}).empty
