import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support.crop_candidates import candidate_table
from tests.support.footage import ColourDetector, embed_colours, numbered, street, write_video
from vestigo.ingest.crops import CropCandidate, crop_id, detect_still, tracklet_id
from vestigo.ingest.estimate import estimate_indexing
from vestigo.ingest.inputs import ImageInput, Locator, VideoInput
from vestigo.ingest.shards import AssemblyShard, ImageShard, SliceShard, plan_shards, shard_from_json, shard_to_json
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.video.assembly import VideoTracklets, assemble_tracklets
from vestigo.ingest.video.decode import FrameReader, VideoSlice
from vestigo.ingest.video.slices import SliceResult, process_slice
from vestigo_models.detection.base import Detections, Detector
from vestigo_models.detection.registry import make_detector
from vestigo_models.errors import ConfigError
from vestigo_models.tracking.config import TrackingConfig

pytestmark = pytest.mark.slow

CONFIG = TrackingConfig(crops_per_tracklet=3)


def run(
    video: VideoInput, detector: Detector, slice_s: float, config: TrackingConfig
) -> tuple[list[SliceResult], VideoTracklets]:
    """All shards of a video, each through JSON."""
    shards = [
        shard_from_json(json.loads(json.dumps(shard_to_json(shard))))
        for shard in plan_shards([video], shard_size=10, slice_s=slice_s, tracking=config)
    ]
    parts = []
    for shard in shards[:-1]:
        assert isinstance(shard, SliceShard)
        frames = FrameReader(shard.video.path, shard.video.info, shard, shard.tracking.fps)
        parts.append(
            process_slice(
                frames,
                detector,
                embed_colours,
                name=video.name,
                digest=video.digest,
                owned=range(shard.first, shard.last),
                config=shard.tracking,
            )
        )
    assembly = shards[-1]
    assert isinstance(assembly, AssemblyShard)
    assert assembly.parts == len(parts)
    return parts, assemble(parts, video, assembly.tracking)


def assemble(parts: list[SliceResult], video: VideoInput, config: TrackingConfig) -> VideoTracklets:
    batches = [batch for part in parts for batch in part.frames.to_batches()]
    candidates = pa.concat_tables([candidate_table(part.candidates) for part in reversed(parts)])
    return assemble_tracklets(batches, candidates, digest=video.digest, config=config)


def only(path: Path) -> VideoInput:
    (item,) = discover(path)
    assert isinstance(item, VideoInput)
    return item


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInput:
    return only(write_video(tmp_path_factory.mktemp("street") / "street.mp4", street, 120, keyframe_every=6))


def assert_same(
    result: tuple[list[SliceResult], VideoTracklets], other: tuple[list[SliceResult], VideoTracklets]
) -> None:
    first, second = (pa.concat_tables([part.frames for part in parts]) for parts, _ in (result, other))
    for column in first.column_names:
        if column != "motion":
            assert first[column].to_pylist() == second[column].to_pylist(), column
    motion = [frames["motion"].combine_chunks().flatten().to_numpy() for frames in (first, second)]
    np.testing.assert_array_equal(*motion)
    assert result[1].rows.equals(other[1].rows)
    assert result[1].crops.equals(other[1].crops)
    unknown = [row.detections["motion"].to_numpy() for _, row in (result, other)]
    np.testing.assert_array_equal(*unknown)
    assert result[1].detections.drop_columns("motion").equals(other[1].detections.drop_columns("motion"))
    pixels = [{c.crop_id: c.image for part in parts for c in part.candidates} for parts, _ in (result, other)]
    for crop in result[1].crops["crop_id"].to_pylist():
        np.testing.assert_array_equal(pixels[0][crop], pixels[1][crop])


@pytest.mark.parametrize(("fps", "lengths"), [(5.0, {1.5: 7, 4.0: 3}), (3.0, {0.6: 20}), (60.0, {4.0: 3})])
def test_tracklets_are_independent_of_slice_length(video: VideoInput, fps: float, lengths: dict[float, int]) -> None:
    config = TrackingConfig(crops_per_tracklet=3, fps=fps)
    reference = run(video, ColourDetector(), 1000.0, config)
    assert len(reference[0]) == 1
    assert reference[1].rows.num_rows >= 4
    for slice_s, slices in lengths.items():
        result = run(video, ColourDetector(), slice_s, config)
        assert len(result[0]) == slices
        assert_same(result, reference)


def test_tracklet_has_crops_of_one_person(video: VideoInput) -> None:
    parts, tracklets = run(video, ColourDetector(), 3.0, CONFIG)
    pixels = {c.crop_id: c.image for part in parts for c in part.candidates}
    colours = set()
    for tracklet in tracklets.rows.to_pylist():
        crops = [row["crop_id"] for row in tracklets.crops.to_pylist() if row["tracklet"] == tracklet["tracklet"]]
        assert len(crops) == tracklet["crops"] <= 3
        assert crops[0] == tracklet["best_crop"]
        middles = [pixels[crop][pixels[crop].shape[0] // 2, pixels[crop].shape[1] // 2] for crop in crops]
        main = {tuple((middle.astype(int) // 64).tolist()) for middle in middles}
        assert len(main) == 1
        colours |= main
    assert len(colours) == 4


def test_tracklet_rows_have_start_and_end(video: VideoInput) -> None:
    _, tracklets = run(video, ColourDetector(), 3.0, CONFIG)
    rows = tracklets.rows.to_pylist()
    assert [row["first_frame"] for row in rows] == sorted(row["first_frame"] for row in rows)
    for row in rows:
        assert row["first_frame"] < row["last_frame"]
        assert row["first_offset_s"] == pytest.approx(row["first_frame"] / 10)
        assert row["detections"] >= CONFIG.min_detections


def test_crops_are_selected_from_different_times(video: VideoInput) -> None:
    parts, tracklets = run(video, ColourDetector(), 3.0, CONFIG)
    moments = {c.crop_id: c.offset_s for part in parts for c in part.candidates}
    for tracklet in tracklets.rows["tracklet"].to_pylist():
        own = [row for row in tracklets.crops.to_pylist() if row["tracklet"] == tracklet]
        buckets = [int(np.floor(moments[row["crop_id"]] / CONFIG.bucket_s)) for row in own]
        assert len(set(buckets)) == len(buckets)
        assert [row["rank"] for row in own] == list(range(len(own)))


def test_rejected_tracks_leave_detections_without_tracklet(video: VideoInput) -> None:
    strict = TrackingConfig(crops_per_tracklet=3, min_detections=1000)
    _, tracklets = run(video, ColourDetector(), 1000.0, strict)
    assert tracklets.rows.num_rows == tracklets.crops.num_rows == 0
    assert set(tracklets.detections["tracklet"].to_pylist()) == {""}


def test_detections_name_their_tracklet_and_predecessor(video: VideoInput) -> None:
    _, tracklets = run(video, ColourDetector(), 3.0, CONFIG)
    detections = tracklets.detections.to_pylist()
    by_id = {row["id"]: row for row in detections}
    for tracklet in tracklets.rows.to_pylist():
        own = [row for row in detections if row["tracklet"] == tracklet["tracklet"]]
        assert (own[0]["frame"], own[-1]["frame"], len(own)) == (
            tracklet["first_frame"],
            tracklet["last_frame"],
            tracklet["detections"],
        )
        assert [row["predecessor"] for row in own] == ["", *(row["id"] for row in own[:-1])]
        assert len({row["frame"] for row in own}) == len(own)
    assert all(by_id[row["crop_id"]]["tracklet"] == row["tracklet"] for row in tracklets.crops.to_pylist())


class FadingDetector(ColourDetector):
    """`ColourDetector` that is unsure of a third of its boxes."""

    def detect(self, image: np.ndarray) -> Detections:
        people = super().detect(image)
        is_weak = people.boxes.sum(axis=1).astype(int) % 3 == 0
        return Detections.ordered(people.boxes, np.where(is_weak, 0.2, people.scores), min_score=0.45)


def test_detections_of_low_score_join_tracklets_but_give_no_crops(video: VideoInput) -> None:
    parts, tracklets = run(video, FadingDetector(), 3.0, CONFIG)
    weak = {row["id"]: row for row in tracklets.detections.to_pylist() if row["score"] < 0.45}
    assert len(weak) >= 10
    assert all(row["tracklet"] for row in weak.values())
    assert not weak.keys() & {candidate.crop_id for part in parts for candidate in part.candidates}
    last = {row["last_frame"] for row in tracklets.rows.to_pylist()}
    ends = [row for row in tracklets.detections.to_pylist() if row["frame"] in last and row["tracklet"]]
    assert {row["tracklet"] for row in ends if row["score"] >= 0.45} >= set(tracklets.rows["tracklet"].to_pylist())


@pytest.mark.parametrize("slice_s", [1.5, 4.0])
def test_tracklets_with_low_scores_are_independent_of_slice_length(video: VideoInput, slice_s: float) -> None:
    assert_same(run(video, FadingDetector(), slice_s, CONFIG), run(video, FadingDetector(), 1000.0, CONFIG))


def test_video_without_people_gives_empty_tables(tmp_path: Path) -> None:
    empty = only(write_video(tmp_path / "empty.mp4", numbered, 40))
    parts, tracklets = run(empty, make_detector("hog"), 2.0, CONFIG)
    assert sum(part.frames.num_rows for part in parts) == 20
    assert not any(part.candidates for part in parts)
    assert tracklets.rows.num_rows == tracklets.crops.num_rows == 0


def test_missing_slice_affects_only_its_range(video: VideoInput) -> None:
    parts, whole = run(video, ColourDetector(), 2.0, CONFIG)
    left = [part for number, part in enumerate(parts) if number != 2]
    tracklets = assemble(left, video, CONFIG)
    assert tracklets.rows.num_rows >= whole.rows.num_rows


@pytest.mark.real_data
def test_real_footage_gives_the_same_tracklets_in_slices(real_data: Path, tmp_path: Path) -> None:
    """Eight seconds around the keyframe at 250, at two frames a second, to be quick."""
    video = only(real_data / "pedestrians.avi")
    config = TrackingConfig(fps=2.0, max_gap_s=1.0, crops_per_tracklet=4).at_rate(10)
    detector = make_detector("hog")
    parts = []
    for slices in ([(0, 250), (250, 300)], [(0, 300)]):
        parts.append([])
        for first, last in slices:
            everything = plan_shards([video], shard_size=1, slice_s=25.0, tracking=config)
            shard = next(s for s in everything if isinstance(s, SliceShard) and s.first == first)
            frames = itertools.takewhile(
                lambda frame, last=last: frame.index < last,
                FrameReader(video.path, video.info, VideoSlice(first, 795, shard.lead_s), config.fps),
            )
            # Only what lies within the memory of the tracker before the cut can matter after it.
            wanted = (frame for frame in frames if frame.index >= 215)
            parts[-1].append(
                process_slice(
                    wanted,
                    detector,
                    embed_colours,
                    name=video.name,
                    digest=video.digest,
                    owned=range(first, last),
                    config=config,
                )
            )
    results = [assemble(of, video, config) for of in parts]
    assert results[0].rows.num_rows >= 4
    assert_same((parts[0], results[0]), (parts[1], results[1]))


def test_ids_depend_on_content_only() -> None:
    box = np.array([1.5, 2, 30, 60], dtype=np.float32)
    name = crop_id("a.mp4", "ff", 7, box)
    assert len(name) == 20
    assert name == crop_id("a.mp4", "ff", 7, [1.5, 2.0, 30.0, 60.0])
    others = [crop_id("b.mp4", "ff", 7, box), crop_id("a.mp4", "fe", 7, box), crop_id("a.mp4", "ff", 8, box)]
    others += [crop_id("a.mp4", "ff", 7, box + 1), tracklet_id("ff", name)]
    assert len({name, *others}) == 6


class TwoBoxes:
    """A detector whose boxes stick out of the frame, lie outside it, or come twice."""

    name = "two"
    digest = "1"

    def detect(self, image: np.ndarray) -> Detections:
        boxes = np.array([[-10, 5, 30, 40], [500, 500, 10, 10], [-20, 5, 40, 40], [5, 5, 20, 30]])
        return Detections.ordered(boxes, np.array([0.9, 0.8, 0.7, 0.6]))


def test_boxes_are_clipped_to_the_frame() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    candidates = detect_still(image, TwoBoxes(), name="a.jpg", digest="ff")
    assert [candidate.box.tolist() for candidate in candidates] == [[0, 5, 20, 40], [5, 5, 20, 30]]
    first = candidates[0]
    np.testing.assert_array_equal(first.image, image[5:45, 0:20])
    assert (first.frame, first.offset_s, first.frame_width, first.frame_height) == (-1, None, 80, 60)
    assert isinstance(first, CropCandidate)
    assert 0 < first.quality < 1


def test_tall_crop_is_scaled_down() -> None:
    class Tall:
        name, digest = "tall", "2"

        def detect(self, image: np.ndarray) -> Detections:
            return Detections.ordered(np.array([[0, 0, 400, 1000]]), np.array([0.9]))

    (candidate,) = detect_still(np.zeros((1000, 400, 3), dtype=np.uint8), Tall(), name="a", digest="b")
    assert candidate.image.shape == (512, 205, 3)
    assert candidate.box[3] == 1000


def test_shards_are_ordered_and_limited_in_size(video: VideoInput) -> None:
    stills = [ImageInput(f"{n}.jpg", "d", Locator("file", f"/{n}.jpg"), "c") for n in range(5)]
    shards = list(plan_shards([*stills[:3], video, *stills[3:]], shard_size=2, slice_s=4.0, tracking=CONFIG))
    assert [type(shard).__name__ for shard in shards] == [
        "ImageShard",
        *["SliceShard"] * 3,
        "AssemblyShard",
        "ImageShard",
        "ImageShard",
    ]
    assert [item.name for shard in shards if isinstance(shard, ImageShard) for item in shard.inputs] == [
        f"{n}.jpg" for n in range(5)
    ]
    slices = [shard for shard in shards if isinstance(shard, SliceShard)]
    assert all(len(shard.video.info.keyframes) < len(video.info.keyframes) for shard in slices)
    for shard in shards:
        assert shard_from_json(json.loads(json.dumps(shard_to_json(shard)))) == shard
    with pytest.raises(ConfigError, match="unknown kind of shard"):
        shard_from_json({"kind": "sound"})


def test_sampling_rate_is_limited_to_the_frame_rate(video: VideoInput) -> None:
    shard = next(iter(plan_shards([video], shard_size=1, slice_s=4.0, tracking=TrackingConfig(fps=60.0))))
    assert isinstance(shard, SliceShard)
    assert shard.tracking.fps == 10.0
    assert shard.lead_s == pytest.approx((shard.tracking.memory + 1) / 10)


def test_estimate_counts_all_inputs_and_times_a_sample(video: VideoInput, tmp_path: Path) -> None:
    calls: list[tuple[int, ...]] = []

    def work(image: np.ndarray) -> int:
        calls.append(image.shape)
        return 2

    missing = ImageInput("gone.jpg", "d", Locator("file", str(tmp_path / "gone.jpg")), "c")
    shards = list(plan_shards([missing, video], shard_size=2, slice_s=4.0, tracking=CONFIG))
    costs = estimate_indexing(shards, work, workers=2, device="cpu", sample=4, bytes_per_crop=100)
    assert costs.shards == len(shards)
    assert costs.images == 1
    assert 60 <= costs.frames <= 60 + 3 * 13
    assert costs.timed == len(calls) == 4
    assert costs.disk_bytes == costs.frames * 2 * 100
    assert costs.seconds > 0
