"""The synthetic dataset loads like Market-1501, and its digest depends on the seed only."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.io import loadmat

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import BEHIND, region_maps
from vestigo.datasets.synthetic import write_rendered
from vestigo_models.errors import ConfigError, DatasetError, WorkError
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("rendered") / "people"
    seen = []

    def note(done: int, total: int | None) -> None:
        seen.append((done, total))

    result = write_rendered(out, "small", 6, 2, 2, video_seconds=0.5, seed=4, progress=note, processes=2)
    return out, result, seen


def test_result_counts_written_files(written: Any) -> None:
    out, result, seen = written
    crops = [p for split in ("bounding_box_train", "query", "bounding_box_test") for p in (out / split).glob("*.jpg")]
    assert result["identities"] == 6
    assert result["images"] == len(crops)
    assert result["videos"] == len(list((out / "videos").glob("*.mp4"))) == 2
    assert len(result["digest"]) == 64
    assert seen[-1] == (len(crops) + 2, len(crops) + 2)


def test_synthetic_dataset_loads_as_market(written: Any) -> None:
    dataset = load_dataset(written[0])
    assert dataset.schema is MARKET_1501 or dataset.schema == MARKET_1501
    labels = World(PRESETS["small"], 4, 7, 2).labels
    for split in (dataset.train, dataset.query, dataset.gallery):
        for pid, row in zip(split.pids, split.labels, strict=True):
            assert np.array_equal(row, labels[pid - 1] if pid > 0 else np.full(12, -1))
    assert len(dataset.train.paths) == 3 * 2 * 2
    assert len(dataset.query.paths) == 3 * 2
    assert len(dataset.gallery.paths) == 3 * 2 + 2
    assert dataset.junk == 2


def test_attributes_have_the_structure_of_the_real_file(written: Any, real_data: Path) -> None:
    ours, real = (
        loadmat(folder / "market_attribute.mat")["market_attribute"][0, 0] for folder in (written[0], real_data)
    )
    for split in ("train", "test"):
        mine, theirs = ours[split][0, 0], real[split][0, 0]
        assert set(mine.dtype.names) == set(theirs.dtype.names)
        assert mine["gender"].dtype == theirs["gender"].dtype
        assert mine["gender"].shape == (1, 3)
        assert mine["image_index"].dtype == theirs["image_index"].dtype
        assert mine["image_index"][0, 0][0] == {"train": "0001", "test": "0004"}[split]


def test_every_crop_has_a_label_map(written: Any) -> None:
    out = written[0]
    for path in out.glob("bounding_box_t*/*.jpg"):
        regions = cv2.imread(str(out / "regions" / path.parent.name / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert regions.shape == (128, 64)
        assert regions.max() <= 5
        assert bool(regions.any()) != path.name.startswith("-1")


def test_footage_is_h264_and_matches_its_truth(written: Any) -> None:
    truth = pq.read_table(written[0] / "truth.parquet")
    assert truth.column_names == ["video", "frame", "pid", "x", "y", "w", "h"]
    assert set(truth["pid"].to_pylist()) <= set(range(1, 7))
    with av.open(str(written[0] / "videos" / "camera-1.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == 10.0
        assert sum(1 for _ in container.decode(stream)) == 5
    assert max(truth["frame"].to_pylist(), default=0) < 5


def test_digest_depends_on_seed_only(written: Any, tmp_path: Path) -> None:
    again = write_rendered(tmp_path / "again", "small", 6, 2, 2, video_seconds=0.5, seed=4, processes=1)
    other = write_rendered(tmp_path / "other", "small", 2, 1, 1, seed=5, processes=1)
    assert again["digest"] == written[1]["digest"]
    assert other["digest"] != again["digest"]


def files(root: Path) -> Any:
    """Every file but the attributes, which bear the time they were written at, by its path."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".mat"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_background_ids_are_written(tmp_path: Path) -> None:
    plain = write_rendered(tmp_path / "plain", "small", 6, 2, 1, seed=4, processes=1)
    with_behind = write_rendered(tmp_path / "with-behind", "small", 6, 2, 1, seed=4, processes=1, behind=True)
    before, after = files(tmp_path / "plain"), files(tmp_path / "with-behind")
    added = {name: content for name, content in after.items() if name not in before}
    assert {name: content for name, content in after.items() if name in before} == before
    assert {name.replace("regions-behind/", "regions/") for name in added} == {n for n in before if n.startswith("reg")}
    assert with_behind["digest"] != plain["digest"]
    differ = 0
    for name in filter(lambda name: name.endswith(".png"), added):
        behind = cv2.imread(str(tmp_path / "with-behind" / name), cv2.IMREAD_UNCHANGED)
        regions = cv2.imread(str(tmp_path / "with-behind" / name.replace("-behind", "")), cv2.IMREAD_UNCHANGED)
        assert behind.max() < 5
        assert np.array_equal(behind[regions != 5], regions[regions != 5])
        differ += np.count_nonzero(behind != regions)
    assert differ


def test_label_maps_are_matched_to_images(tmp_path: Path) -> None:
    write_rendered(tmp_path / "people", "small", 2, 1, 1, seed=4, processes=1)
    dataset = load_dataset(tmp_path / "people")
    (maps,) = region_maps(dataset.root, dataset.train.paths)
    assert maps == tmp_path / "people" / "regions" / "bounding_box_train" / f"{dataset.train.paths[0].stem}.png"
    with pytest.raises(DatasetError, match="`vestigo render --behind` writes such"):
        region_maps(dataset.root, dataset.train.paths, BEHIND)
    maps.unlink()
    with pytest.raises(DatasetError, match="1 images have no label map"):
        region_maps(dataset.root, dataset.train.paths)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "nothing"}, "unknown; choose one of"),
        ({"identities": 1}, "identities=1"),
        ({"cameras": 10}, "one digit"),
        ({"images_per_camera": 0}, "images-per-camera=0"),
        ({"video_seconds": -1.0}, "negative"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(tmp_path: Path, arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        write_rendered(tmp_path / "out", **arguments)


def test_non_empty_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new or empty"):
        write_rendered(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_killed_render_worker_is_reported_in_one_line(tmp_path: Path) -> None:
    def kill(done: int, total: int | None) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(WorkError, match=f"rendering into {tmp_path / 'out'} was killed"):
        write_rendered(tmp_path / "out", "small", 20, 2, 2, seed=4, progress=kill, processes=1)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, sys, time; from pathlib import Path\n"
        "from vestigo.datasets.synthetic import write_rendered\n"
        "def report(done, total):\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True); time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    write_rendered(Path(sys.argv[1]), 'small', 20, 2, 2, progress=report, processes=2)\n"
    )
    script = tmp_path / "render.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script, tmp_path / "out"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        assert all(map(is_running, workers))
        process.kill()
    for _ in range(200):
        if not any(map(is_running, workers)):
            return
        time.sleep(0.05)
    pytest.fail("workers are still running")


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
