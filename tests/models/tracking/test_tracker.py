import itertools

import numpy as np
import pytest

from vestigo_models.inference.distance import Descriptors
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.tracker import FrameDetections, Tracker, is_person_track, link_positions, strongest_third

CONFIG = TrackingConfig()
LIMIT = CONFIG.cells(CONFIG.max_gap_s)


def looks(*people: int, share: float = 1.0) -> Descriptors:
    """Return descriptors at a distance of 1 between people; `share` of the length depends on the person."""
    vectors = share * np.eye(8)[list(people)] + np.sqrt(1 - share**2) * np.eye(8)[[7] * len(people)]
    return Descriptors(vectors=vectors.reshape(-1, 8), visible=np.empty((len(people), 0), dtype=np.bool_), always=1)


def frame(
    cell: int, boxes: list[list[float]], *people: int, weak: int = 0, camera: np.ndarray | None = None
) -> FrameDetections:
    """Return detections of people, of whom the last `weak` have low scores."""
    certain = len(boxes) - weak
    scores = np.array([0.8] * certain + [0.3] * weak)
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return FrameDetections(cell, boxes, scores, looks(*people[:certain]), 0.5, camera)


def at(x: float, y: float = 50.0) -> list[float]:
    return [x, y, 25.0, 60.0]


def straight(cells: list[int], speed: float = 10.0) -> list[FrameDetections]:
    """Return one person walking to the right, detected in the given cells."""
    return [frame(cell, [at(cell * speed)], 0) for cell in cells]


def track(frames: list[FrameDetections], config: TrackingConfig = CONFIG) -> list[list[int]]:
    tracker = Tracker(config)
    return [tracker.push(detections).tolist() for detections in frames]


def test_one_person_is_one_track() -> None:
    assert track(straight(list(range(20)))) == [[0]] * 20


@pytest.mark.parametrize(("gap", "last"), [(2, 0), (LIMIT, 0), (LIMIT + 1, 1)])
def test_gap_is_bridged_up_to_the_limit(gap: int, last: int) -> None:
    assert track(straight([*range(5), 4 + gap]))[-1] == [last]


def test_crossing_people_keep_their_tracks() -> None:
    frames = []
    for cell in range(20):
        boxes = [at(cell * 12.0), at(228 - cell * 12.0)]
        # The detector's order carries no identity: it alternates.
        order = [0, 1] if cell % 2 else [1, 0]
        frames.append(frame(cell, [boxes[person] for person in order], *order))
    assert track(frames) == [[1, 0] if cell % 2 else [0, 1] for cell in range(20)]


def test_appearance_decides_after_an_occlusion_in_which_both_turn_round() -> None:
    """Two people meet, one of them hides the other, and both go back: by motion alone they would have passed."""
    places = [*range(5), 5, 4, 3, 2, 1]
    frames = [frame(cell, [at(10.0 * x), at(90 - 10.0 * x)], 0, 1) for cell, x in enumerate(places)]
    frames[5] = frame(5, [at(45.0)], 0)
    assert track(frames)[6:] == [[0, 1]] * 4


def test_embeddings_of_overlapping_people_are_not_remembered() -> None:
    """The embeddings of a track are then not mixed with those of the person in front."""
    meeting = [frame(cell, [at(0.0), at(60.0 - 5 * cell)], 0, 1) for cell in range(11)]
    boxes, scores = np.array([at(0.0), at(8.0)]), np.array([0.8, 0.8])
    mixed = [FrameDetections(cell, boxes, scores, looks(0, 1, share=0.4), 0.5) for cell in range(11, 14)]
    tracker = Tracker(CONFIG)
    for detections in [*meeting, *mixed]:
        tracker.push(detections)
    assert all((known.vectors.max(axis=1) == 1).all() for track in tracker._tracks for known in track.appearance)


def test_velocity_predicts_position_after_a_gap() -> None:
    """After five hidden cells the link goes to the predicted position, not to a similar person elsewhere."""
    frames = straight(list(range(8)), speed=12.0)
    assert track([*frames, frame(13, [at(90.0), at(13 * 12.0)], 0, 0)])[-1] == [1, 0]


@pytest.mark.parametrize(
    ("box", "person"),
    [([150.0, 50, 25, 60], 0), ([10.0, 0, 50, 160], 0), ([10.0, 50, 25, 60], 1)],
    ids=["too far", "too large", "another person"],
)
def test_pairs_beyond_a_limit_are_not_linked(box: list[float], person: int) -> None:
    assert track([frame(0, [at(0.0)], 0), frame(1, [box], person)]) == [[0], [1]]


def test_detections_of_low_score_continue_a_track_but_start_none() -> None:
    start = straight([0, 1, 2])
    assert track([*start, frame(3, [at(30.0)], weak=1), frame(4, [at(40.0)], 0)])[3:] == [[0], [0]]
    assert track([*start, frame(3, [at(300.0)], weak=1)])[3] == [-1]
    assert track([frame(0, [at(0.0)], weak=1)]) == [[-1]]


def test_detections_of_low_score_must_overlap_the_predicted_box() -> None:
    start = straight([0, 1, 2])
    assert track([*start, frame(3, [at(38.0)], weak=1)])[3] == [0]
    assert track([*start, frame(3, [at(42.0)], weak=1)])[3] == [-1]


def test_detections_of_low_score_continue_a_track_for_a_limited_time() -> None:
    still = [frame(cell, [at(0.0)], 0) for cell in range(3)]
    weak = [frame(cell, [at(0.0)], weak=1) for cell in range(3, 4 + LIMIT)]
    assert track([*still, *weak])[3:] == [[0]] * LIMIT + [[-1]]


def test_certain_detections_are_assigned_before_those_of_low_score() -> None:
    both = FrameDetections(3, np.array([at(34.0), at(30.0)]), np.array([0.8, 0.3]), looks(0), 0.5)
    assert track([*straight([0, 1, 2]), both])[3] == [0, -1]


def test_track_starts_at_a_margin_above_the_least_score() -> None:
    scores = np.array([0.5 + CONFIG.start_margin, 0.5 + CONFIG.start_margin - 0.01])
    assert track([FrameDetections(0, np.array([at(0.0), at(200.0)]), scores, looks(0, 1), 0.5)]) == [[0, -1]]


def test_camera_motion_is_removed_from_positions() -> None:
    """The camera turns by more than a person can walk, after people stood still."""
    still = [frame(cell, [at(100.0), at(200.0)], 0, 0) for cell in range(4)]
    moved = [at(0.0), at(100.0)]
    turn = np.array([[1.0, 0, -100], [0, 1, 0]])
    assert track([*still, frame(4, moved, 0, 0, camera=turn)])[-1] == [0, 1]
    assert track([*still, frame(4, moved, 0, 0)])[-1] == [2, 0]


def test_camera_motion_of_frames_without_people_counts() -> None:
    turn = np.array([[1.0, 0, -60], [0, 1, 0]])
    frames = [frame(0, [at(200.0)], 0), frame(1, [], camera=turn), frame(2, [at(80.0)], 0, camera=turn)]
    assert track(frames)[-1] == [0]


def test_zoom_changes_the_expected_size() -> None:
    zoom = np.array([[2.0, 0, 0], [0, 2, 0]])
    frames = [frame(0, [at(50.0)], 0), frame(1, [[100.0, 100.0, 50.0, 120.0]], 0, camera=zoom)]
    assert track(frames)[-1] == [0]


def crowd(seed: int, frames: int, people: int = 7, width: float = 300.0) -> list[FrameDetections]:
    """Return random walkers on a narrow street, detected 80 % of the time, with jitter, low scores and false ones."""
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, width, (people, 2)), rng.normal(0, 8, (people, 2))
    video = []
    for cell in range(frames):
        place += speed
        speed = np.where((place < 0) | (place > width), -speed, speed) + rng.normal(0, 1, (people, 2))
        seen = rng.permutation(np.flatnonzero(rng.random(people) < 0.8))
        weak = int(rng.integers(0, len(seen) + 1) // 2)
        boxes = np.concatenate([place[seen], np.tile([25.0, 60.0], (len(seen), 1))], axis=1)
        video.append(frame(cell, (boxes + rng.normal(0, 2, boxes.shape)).tolist(), *seen.tolist(), weak=weak))
    return video


@pytest.mark.parametrize("seed", range(3))
def test_track_has_at_most_one_detection_of_a_frame(seed: int) -> None:
    numbers = track(crowd(seed, 60))
    assert max(map(max, filter(None, numbers))) < 30
    for row in numbers:
        taken = [number for number in row if number >= 0]
        assert len(taken) == len(set(taken))


def test_tracks_are_the_same_for_any_order_of_equal_scores() -> None:
    video = crowd(5, 60)
    ordered, reverse = track(video), []
    for detections in video:
        count = len(detections.appearance)
        order = np.concatenate([np.arange(count)[::-1], np.arange(count, len(detections.boxes))])
        appearance = detections.appearance[np.arange(count)[::-1]]
        reverse.append(FrameDetections(detections.cell, detections.boxes[order], detections.scores, appearance, 0.5))
    pairs = set()
    for first, second, detections in zip(ordered, track(reverse), video, strict=True):
        count = len(detections.appearance)
        pairs |= set(zip(first, [*second[:count][::-1], *second[count:]], strict=True))
    assert len(pairs) == len({number for number, _ in pairs}) == len({number for _, number in pairs})


def test_missing_cells_are_tolerated() -> None:
    video = [detections for detections in crowd(11, 60) if detections.cell % 7]
    assert max(map(max, filter(None, track(video)))) < 30


def test_tracker_forgets_people_who_are_gone() -> None:
    tracker = Tracker(CONFIG)
    for detections in [*straight([0, 1, 2]), frame(3 + LIMIT, [])]:
        tracker.push(detections)
    assert not tracker._tracks


def test_position_links_take_the_nearest_person() -> None:
    then = np.array([at(0.0), at(100.0)], dtype=np.float32)
    now = np.array([at(104.0), at(300.0), at(3.0), [101.0, 50.0, 50.0, 160.0]], dtype=np.float32)
    assert link_positions(then, now, CONFIG).tolist() == [1, -1, 0, -1]
    assert link_positions(then[:0], now, CONFIG).tolist() == [-1] * 4
    assert not len(link_positions(then, now[:0], CONFIG))


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


def test_slice_reads_what_motion_compares() -> None:
    for fps, motion_s in itertools.product((1.0, 5.0, 25.0), (0.6, 4.0)):
        config = TrackingConfig(fps=fps, motion_s=motion_s)
        assert config.memory == 2 * config.cells(motion_s)
        assert config.lead_s * fps == pytest.approx(config.memory + 1)
