import itertools

import numpy as np
import pytest

from vestigo_models.tracking.association import FrameDetections, Linker, is_person_track, strongest_third
from vestigo_models.tracking.config import TrackingConfig

pytestmark = pytest.mark.slow

CONFIG = TrackingConfig()


def link(frames: list[FrameDetections], config: TrackingConfig) -> list[np.ndarray]:
    linker = Linker(config)
    return [linker.push(frame) for frame in frames]


def colours(*people: int) -> np.ndarray:
    """Return one-hot histograms: each person has a colour of their own."""
    return np.eye(16)[list(people)]


def crowd(seed: int, frames: int, people: int = 9, width: float = 300.0) -> list[FrameDetections]:
    """Return random walkers on a narrow street, detected 80 % of the time, with jitter and false detections."""
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, width, (people, 2)), rng.normal(0, 8, (people, 2))
    clothes = np.sqrt(rng.dirichlet(np.ones(8), people))
    video = []
    for cell in range(frames):
        place += speed
        speed = np.where((place < 0) | (place > width), -speed, speed) + rng.normal(0, 1, (people, 2))
        seen = np.flatnonzero(rng.random(people) < 0.8)
        boxes = np.concatenate([place[seen], np.tile([25.0, 60.0], (len(seen), 1))], axis=1)
        boxes = np.concatenate([boxes + rng.normal(0, 2, boxes.shape), rng.uniform(20, width, (2, 4))])
        colour = np.concatenate([clothes[seen], clothes[rng.integers(people, size=2)]])
        colour = colour + np.abs(rng.normal(0, 0.05, colour.shape))
        video.append(FrameDetections(cell, boxes, colour / np.linalg.norm(colour, axis=1, keepdims=True)))
    return video


def straight(cells: list[int], speed: float = 10.0) -> list[FrameDetections]:
    """Return one person walking to the right, detected in the given cells."""
    return [FrameDetections(c, np.array([[c * speed, 50.0, 25.0, 60.0]]), colours(0)) for c in cells]


def chain_of(links: list[np.ndarray], frame: int, row: int) -> list[tuple[int, int]]:
    chain = [(frame, row)]
    while (before := links[chain[-1][0]][chain[-1][1]])[0] >= 0:
        chain.append((int(before[0]), int(before[1])))
    return chain[::-1]


def test_one_person_is_one_chain() -> None:
    assert chain_of(link(straight(list(range(20))), CONFIG), 19, 0) == [(frame, 0) for frame in range(20)]


def test_gap_is_bridged_up_to_the_limit() -> None:
    limit = CONFIG.cells(CONFIG.max_gap_s)
    before = list(range(5))
    for gap in (2, limit):
        assert len(chain_of(link(straight([*before, 4 + gap]), CONFIG), 5, 0)) == 6
    assert len(chain_of(link(straight([*before, 4 + limit + 1]), CONFIG), 5, 0)) == 1


def test_crossing_people_keep_their_chains() -> None:
    frames = []
    for cell in range(20):
        boxes = np.array([[cell * 12.0, 50, 25, 60], [228 - cell * 12.0, 50, 25, 60]])
        # The detector's order carries no identity: it alternates.
        order = [0, 1] if cell % 2 else [1, 0]
        frames.append(FrameDetections(cell, boxes[order], colours(*order)))
    chain = chain_of(link(frames, CONFIG), 19, 0)
    assert chain == [(cell, 0 if cell % 2 else 1) for cell in range(20)]


def test_velocity_predicts_position_after_a_gap() -> None:
    """After five hidden cells the link goes to the predicted position, not to a similar person elsewhere."""
    frames = straight(list(range(8)), speed=12.0)
    boxes = np.array([[90.0, 50, 25, 60], [13 * 12.0, 50, 25, 60]])
    assert link([*frames, FrameDetections(13, boxes, colours(0, 0))], CONFIG)[8].tolist() == [[-1, -1], [7, 0]]


@pytest.mark.parametrize(
    ("box", "colour"),
    [([150.0, 50, 25, 60], 0), ([10.0, 0, 50, 160], 0), ([10.0, 50, 25, 60], 1)],
    ids=["too far", "too large", "other colours"],
)
def test_pairs_beyond_a_limit_are_not_linked(box: list[float], colour: int) -> None:
    first = FrameDetections(0, np.array([[0.0, 50, 25, 60]]), colours(0))
    assert link([first, FrameDetections(1, np.array([box]), colours(colour))], CONFIG)[1].tolist() == [[-1, -1]]


@pytest.mark.parametrize(("gap", "is_linked"), [(1, True), (2, False)])
def test_colours_may_change_more_from_one_cell_to_the_next(gap: int, is_linked: bool) -> None:
    half_covered = np.array([[0.7, *[0.0] * 14, 0.51**0.5]])  # at a Hellinger distance of 0.55
    frames = [*straight([0, 1, 2]), FrameDetections(2 + gap, straight([2 + gap])[0].boxes, half_covered)]
    assert (link(frames, CONFIG)[3].tolist() == [[2, 0]]) == is_linked


def test_detection_has_at_most_one_successor() -> None:
    links = link(crowd(3, 80), CONFIG)
    heads = [tuple(row) for frame in links for row in frame.tolist() if row[0] >= 0]
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize("fps", [1.0, 5.0, 12.5])
def test_links_depend_on_the_memory_only(fps: float) -> None:
    """A slice that starts `memory` cells before a frame gives it the links of the whole video, bit for bit."""
    config = TrackingConfig(fps=fps)
    video = crowd(7, 70)
    whole = link(video, config)
    assert sum(int((frame[:, 0] >= 0).sum()) for frame in whole) > 200
    for start in range(0, 70 - config.memory, 3):
        part = link(video[start:], config)
        for cell in range(start + config.memory, 70):
            shifted = part[cell - start].copy()
            shifted[shifted[:, 0] >= 0, 0] += start
            np.testing.assert_array_equal(shifted, whole[cell])


def test_smaller_memory_changes_links() -> None:
    config = TrackingConfig()
    short = config.cells(config.velocity_s) - 1
    differs = False
    for seed in range(5):
        video = crowd(seed, 60)
        whole = link(video, config)
        for start in range(60 - short):
            part = link(video[start:], config)[short]
            part[part[:, 0] >= 0, 0] += start
            differs |= not np.array_equal(part, whole[start + short])
    assert differs


def test_missing_cells_are_tolerated() -> None:
    video = [frame for frame in crowd(11, 60) if frame.cell % 7]
    assert sum(int((frame[:, 0] >= 0).sum()) for frame in link(video, CONFIG)) > 100


def test_empty_frames_are_tolerated() -> None:
    empty = FrameDetections(1, np.empty((0, 4)), np.empty((0, 16)))
    first, *_, last = straight([0, 2])
    assert link([first, empty, last], CONFIG)[2].tolist() == [[0, 0]]


def test_strongest_third_ignores_other_values() -> None:
    assert strongest_third(np.array([0.0, 0.9, 0.0, 0.7, 0.0, 0.1])) == pytest.approx(0.8)
    assert np.isnan(strongest_third(np.array([np.nan, np.nan])))


@pytest.mark.parametrize(
    ("scores", "motion", "kept"),
    [
        ([0.9] * 6, [0.5] * 6, True),
        ([0.9] * 2, [0.5] * 2, False),
        ([0.3] * 6, [0.5] * 6, False),
        ([0.9] * 6, [0.0] * 6, False),
        ([0.9] * 9, [0.5, 0.5, 0.5, 0, 0, 0, 0, 0, 0], True),
        ([0.9] * 6, [np.nan] * 6, True),
    ],
    ids=["person", "too short", "low scores", "static", "static for a while", "motion unknown"],
)
def test_person_filter(scores: list[float], motion: list[float], kept: bool) -> None:
    assert is_person_track(np.array(scores), np.array(motion), CONFIG) is kept


def test_memory_covers_motion_too() -> None:
    for fps, motion_s in itertools.product((1.0, 5.0, 25.0), (0.6, 4.0)):
        config = TrackingConfig(fps=fps, motion_s=motion_s)
        assert config.memory >= 2 * config.cells(motion_s)
        assert config.lead_s * fps == pytest.approx(config.memory + 1)
