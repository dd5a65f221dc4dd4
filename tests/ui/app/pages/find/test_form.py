"""The pure functions behind the page Find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import streamlit as st

from tests.support import hostile
from vestigo.retrieval.gallery import Scope
from vestigo.retrieval.query import Box
from vestigo.retrieval.search import Hit
from vestigo.store.audit.records import Verdict, VerdictValue, query_key
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import decode_image
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET
from vestigo_ui.app.pages.find import form, results, upload
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


def test_description_names_confident_attributes() -> None:
    nearest = hit(1)
    assert results.summarize_attributes(nearest.attributes, nearest.confidences) == "female, upper red"
    assert results.summarize_attributes({}, {}) == ""


def test_only_attributes_confident_on_both_sides_differ() -> None:
    nearest = hit(1)
    attributes = {"gender": "male", "hat": "yes", "backpack": "no", "upper_colour": "red"}
    confidences = dict.fromkeys(attributes, 0.9)
    assert results.differing_attributes(nearest, attributes, confidences) == ["gender", "hat"]
    assert results.differing_attributes(nearest, attributes, confidences | {"gender": 0.6}) == ["hat"]
    assert results.differing_attributes(replace(nearest, attributes={}, confidences={}), attributes, confidences) == []


@pytest.mark.parametrize("by", results.GROUPINGS)
def test_groups_hold_every_hit_once_nearest_first(by: str) -> None:
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
    groups = results.group_hits(hits, by)
    assert sorted(each.rank for group in groups for each in group.hits) == list(range(1, 80))
    assert all([each.rank for each in group.hits] == sorted(each.rank for each in group.hits) for group in groups)
    assert [group.hits[0].rank for group in groups] == sorted(group.hits[0].rank for group in groups)
    names: dict[str, Callable[[Hit], object]] = {
        "none": lambda each: 0,
        "tracklet": lambda each: each.track or each.crop,
        "camera": lambda each: each.camera,
        "hour": lambda each: each.time and (each.time.date(), each.time.hour),
    }
    assert all(len({names[by](each) for each in group.hits}) == 1 for group in groups)
    assert len(groups) == len({names[by](each) for each in hits})


def test_verdict_filter_keeps_order() -> None:
    hits = [hit(rank) for rank in range(1, 6)]
    verdicts = {
        hits[0].crop: verdict(hits[0].crop, "rejected"),
        hits[1].crop: verdict(hits[1].crop, None),
        hits[3].crop: verdict(hits[3].crop, "confirmed"),
    }
    ranks = {
        show: [each.rank for each in results.filter_by_verdict(hits, verdicts, show)]
        for show in results.VERDICT_FILTERS
    }
    assert ranks == {"all": [1, 2, 3, 4, 5], "undecided": [2, 3, 5], "confirmed": [4]}


def test_unknown_conditions_of_address_are_ignored() -> None:
    conditions, mistakes = form.parse_conditions("gender=female,shoe=left,hat=no,hat", MARKET)
    assert conditions == {"gender": "female", "hat": "no"}
    assert [mistake.partition(": ")[2].partition(" (")[0] for mistake in mistakes] == [
        "unknown attribute 'shoe'", "'hat' is not of the form attribute=value",
    ]  # fmt: skip
    assert form.parse_conditions("", MARKET) == ({}, [])
    assert form.format_conditions({"hat": "no", "gender": "female", "bag": None}) == "gender=female,hat=no"


def test_verdict_key_is_that_of_views_or_root(monkeypatch: pytest.MonkeyPatch) -> None:
    view = Upload(data=b"picture", image=np.zeros((2, 1, 3), np.uint8))
    uploads = {view.digest: view}
    address: dict[str, str] = {}
    monkeypatch.setattr(st, "query_params", address)
    search_form = SearchForm(model=MODEL, crops=("b" * 20, "a" * 20), uploads=(view.digest,))
    key = form.verdict_key(search_form, uploads)
    assert key == query_key(crops=["a" * 20, "b" * 20], images=[b"picture"])
    narrowed = replace(search_form, scope=Scope(cameras=("gate",), where="hat=no"), rerank=True, top=24)
    assert form.verdict_key(narrowed, uploads) == key
    words = SearchForm(model=MODEL, scope=Scope(where="hat=no"))
    assert form.verdict_key(words, {}) == query_key(where="hat=no")
    address["root"] = key
    assert form.verdict_key(words, {}) == key
    address["root"] = "nonsense"
    assert form.verdict_key(words, {}) == query_key(where="hat=no")


def test_options_that_need_view_are_dropped_without_one() -> None:
    search_form = SearchForm(model=MODEL, scope=Scope(where="hat=no"), rerank=True)
    assert not search_form.effective().rerank
    assert replace(search_form, crops=("a" * 20,)).effective().rerank
    assert search_form.has_query
    assert not SearchForm(model=MODEL).has_query


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
def test_drawn_box_is_last_one_clipped_to_image(drawn: list[dict[str, list[float]]], expected: Box | None) -> None:
    assert upload.drawn_box(drawn, (100, 200)) == expected


def test_cut_upload_keeps_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    view = upload.cut_upload(image, Box(x=20, y=10, w=30, h=60))
    assert (view.image == image[10:70, 20:50]).all()
    assert (decode_image(view.data) == view.image).all()
    assert view.digest == upload.cut_upload(image, Box(x=20, y=10, w=30, h=60)).digest


def test_upload_that_crashes_its_decoder_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "decode_image", hostile.crash)
    with pytest.raises(BadInput, match=r"the image crashed its decoder \(SIGSEGV\)"):
        upload.detect_people(b"other bytes")


def test_canvas_has_pixels_of_image() -> None:
    made = upload.drawing_canvas(np.zeros((300, 3200, 3), np.uint8), [Box(x=5, y=6, w=70, h=80)])
    assert tuple(made.layout.xaxis.range) == (0, 3200)
    assert tuple(made.layout.yaxis.range) == (300, 0)
    assert (made.layout.images[0].sizex, made.layout.images[0].sizey) == (3200, 300)
    (shape,) = made.layout.shapes
    assert (shape.x0, shape.y0, shape.x1, shape.y1) == (5, 6, 75, 86)


def test_timeline_marks_every_result() -> None:
    hits = [hit(rank, camera=f"c{rank % 3}") for rank in range(1, 20)]
    verdicts = {hits[2].crop: verdict(hits[2].crop, "confirmed"), hits[4].crop: verdict(hits[4].crop, "not sure")}
    made = results.timeline_figure(hits, verdicts, "Time (UTC)")
    marks = [crop for trace in made.data for (crop,) in trace.customdata]
    assert sorted(marks) == sorted(each.crop for each in hits)
    assert [trace.name for trace in made.data] == ["No verdict", "Confirmed", "Not sure"]
    assert len({trace.marker.symbol for trace in made.data}) == 3
    assert list(made.layout.yaxis.categoryarray) == ["c0", "c2", "c1"]
    assert made.layout.xaxis.title.text == "Time (UTC)"


def test_result_table() -> None:
    hits = [hit(1), hit(2, minutes=None)]
    frame = results.result_table(hits, {hits[0].crop: verdict(hits[0].crop, "confirmed")})
    assert frame["rank"].tolist() == [1, 2]
    assert frame["verdict"].fillna("").tolist() == ["confirmed", ""]
    assert frame["upper_colour"].tolist() == ["red", "red"]
    assert frame["time"].isna().tolist() == [False, True]
    assert results.result_table([], {}).empty
