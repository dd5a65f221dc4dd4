"""Rendered footage: static background, true boxes, occlusion between people."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.video import MIN_VISIBLE, Walk, plan_walks, render_video
from vestigo_models.synthetic.world import World

SMALL = dataclasses.replace(PRESETS["default"], frame_height=240, frame_width=320, person_pixels=(40.0, 120.0))


@pytest.fixture(scope="module")
def world() -> Any:
    return World(SMALL, seed=8, identities=6, cameras=2)


@pytest.fixture(scope="module")
def frames(world: World) -> Any:
    return list(render_video(world, 0, seconds=6.0, fps=2.0))


def test_frame_count_shapes_and_dtypes(frames: Any) -> None:
    assert len(frames) == 12
    for frame in frames:
        assert frame.image.shape == (240, 320, 3)
        assert frame.image.dtype == np.uint8
        assert frame.boxes.shape == (len(frame.pids), 4)
        assert frame.boxes.dtype == np.float32
        assert frame.pids.dtype == np.int64
    assert sum(len(frame.pids) for frame in frames) > 6


def test_boxes_are_inside_the_frame(frames: Any) -> None:
    boxes = np.concatenate([frame.boxes for frame in frames])
    assert np.all(boxes[:, :2] >= 0)
    assert np.all(boxes[:, 2:] > 0)
    assert np.all(boxes[:, 0] + boxes[:, 2] <= 320)
    assert np.all(boxes[:, 1] + boxes[:, 3] <= 240)


def test_person_has_one_box_per_frame(frames: Any) -> None:
    for frame in frames:
        assert len(set(frame.pids.tolist())) == len(frame.pids)


def test_footage_is_reproducible(world: World, frames: Any) -> None:
    again = next(iter(render_video(World(SMALL, seed=8, identities=6, cameras=2), 0, seconds=6.0, fps=2.0)))
    assert np.array_equal(again.image, frames[0].image)
    assert np.array_equal(again.boxes, frames[0].boxes)


def test_pixels_change_mostly_inside_boxes(frames: Any) -> None:
    background = np.median([frame.image for frame in frames], axis=0)
    inside, outside = [], []
    for frame in frames:
        mask = np.zeros(frame.image.shape[:2], dtype=bool)
        wide = mask.copy()
        for x, y, w, h in frame.boxes.astype(int):
            mask[y : y + h, x : x + w] = True
            wide[max(y - 12, 0) : y + h + 24, max(x - 30, 0) : x + w + 30] = True
        change = np.abs(frame.image - background).mean(axis=2)
        inside.extend(change[mask])
        outside.extend(change[~wide])
    assert np.mean(inside) > 2 * np.mean(outside)


def test_hidden_person_has_no_box(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two people at one place, only the nearer one has a box."""
    behind = Walk(person=0, start=0.0, origin=(0.0, 9.0), velocity=(0.01, 0.0), length=9.0, phase=0.0, arms=0)
    before = dataclasses.replace(behind, person=1, origin=(0.0, 8.6))
    monkeypatch.setattr("vestigo_models.synthetic.video.plan_walks", lambda *_: [behind, before])
    frame = next(iter(render_video(world, 0, seconds=1.0, fps=1.0)))
    assert 1 in frame.pids.tolist()
    assert 0 < MIN_VISIBLE < 1
    alone = next(iter_alone(world, behind, monkeypatch))
    assert alone.pids.tolist() == [0]


def iter_alone(world: World, walk: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("vestigo_models.synthetic.video.plan_walks", lambda *_: [walk])
    return iter(render_video(world, 0, seconds=1.0, fps=1.0))


def test_all_people_walk_and_walks_of_a_person_do_not_overlap(world: World) -> None:
    walks = plan_walks(world, 1, seconds=30.0)
    assert {walk.person for walk in walks} == set(range(6))
    for person in range(6):
        own = sorted((w.start, w.start + w.length) for w in walks if w.person == person)
        assert all(end <= start for (_, end), (start, _) in pairwise(own))
