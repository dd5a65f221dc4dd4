"""Formats and images of pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from vestigo.reports.page import describe_attributes
from vestigo.retrieval.search import Hit
from vestigo_ui.app import text as page_text
from vestigo_ui.cli.main import run

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_moment_is_time_or_offset() -> None:
    assert page_text.format_moment(NOON, 3.0) == "2026-05-01 12:00:00 UTC"
    assert page_text.format_moment(None, 83.44) == "1:23.4 into the video"
    assert page_text.format_moment(None, None) == "time unknown"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00.0"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"), (3725.5, "1:02:05.5")]
)
def test_duration_carries(seconds: float, text: str) -> None:
    assert page_text.format_duration(seconds) == text


def test_box_of_whole_frame_is_recognised() -> None:
    assert page_text.covers_frame([0, 0, 64, 128], (128, 64))
    assert not page_text.covers_frame([1, 0, 63, 128], (128, 64))


def test_box_is_drawn_on_copy_of_frame() -> None:
    frame = np.full((480, 640, 3), 100, np.uint8)
    drawn = page_text.draw_boxes(frame, [100, 50, 80, 200])
    assert (frame == 100).all()
    assert tuple(drawn[50, 140]) == page_text.BOX_COLOUR
    assert tuple(drawn[249, 140]) == page_text.BOX_COLOUR
    assert tuple(drawn[150, 100]) == page_text.BOX_COLOUR
    assert (drawn[150, 140] == 100).all()
    assert (drawn[20, 20] == 100).all()


def test_wide_frame_is_scaled_with_its_box() -> None:
    frame = np.zeros((2000, 4000, 3), np.uint8)
    drawn = page_text.draw_boxes(frame, [2000, 1000, 400, 800])
    assert drawn.shape == (800, 1600, 3)
    assert tuple(drawn[400, 880]) == page_text.BOX_COLOUR


@pytest.mark.parametrize("shape", [(128, 64), (300, 40), (40, 300), (1, 1)])
def test_tile_keeps_shape_of_crop(shape: tuple[int, int]) -> None:
    tile = page_text.fit_tile(np.full((*shape, 3), 7, np.uint8))
    assert tile.shape == (*page_text.TILE, 3)
    solid = (tile != page_text.GROUND).all(axis=2)
    height, width = solid.any(1).sum(), solid.any(0).sum()
    assert height == page_text.TILE[0] or width == page_text.TILE[1]
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.05)
    assert (tile[solid] == 7).all()


def test_missing_store_is_refused_before_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ui", "--store", str(tmp_path / "nowhere")]) == 2
    assert "is not a store" in capsys.readouterr().err


def test_attributes_are_described_in_words() -> None:
    hit = Hit(
        rank=1,
        crop="a",
        distance=0.1,
        camera="gate",
        time=None,
        offset_s=None,
        track="",
        source="s",
        input="i",
        frame=-1,
        attributes={"gender": "female", "hat": "no", "backpack": "yes", "upper_colour": "red"},
        confidences={"gender": 0.99, "hat": 0.7, "backpack": 0.69, "upper_colour": 0.5},
    )
    assert describe_attributes(hit) == "gender female, no hat, backpack?, upper colour red?"
    assert describe_attributes(replace(hit, attributes={}, confidences={})) == ""


def test_names_are_no_markdown_and_commands_stay_code() -> None:
    assert page_text.escape_md("[a](b) :red[c] *d* `e`") == "\\[a\\](b) \\:red\\[c\\] \\*d\\* \\`e\\`"
    lines = {
        "1. gate": "1\\. gate",
        "- gate": "\\- gate",
        "a\n# b": "a\\\\n\\# b",
        "&lt;b": "\\&lt;b",
        "x\u202e": "x\\\\u202e",
    }
    assert {name: page_text.escape_md(name) for name in lines} == lines
    addresses = [page_text.escape_md(address) for address in ("http://a.b", "HTTPS://a.b", "www.a.b", "me@a.b")]
    assert addresses == ["http\u2060\\://a.b", "HTTPS\u2060\\://a.b", "www\u2060.a.b", "me@\u2060a.b"]
    message = 'Unknown camera "*a*". Run `vestigo cameras list --store S`.'
    assert page_text.escape_md(message, keep_code=True) == message.replace("*", "\\*")
