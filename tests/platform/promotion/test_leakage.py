from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.promotion.leakage import TrainingImage, find_leaks, require_no_leak
from vestigo.promotion.splits import identity_key, is_test
from vestigo_models.errors import DatasetError

pytestmark = pytest.mark.slow

Write = Callable[..., Path]


@pytest.fixture
def dataset(write_dataset: Write) -> ReidDataset:
    return load_dataset(write_dataset())


def correction(path: Path, *, source: str = "", pid: int | None = None) -> TrainingImage:
    return TrainingImage(name=f"crop of {path.name}", content=path.read_bytes(), source=source, pid=pid)


def test_disjoint_splits_have_no_leak(dataset: ReidDataset, tmp_path: Path) -> None:
    learnt = [correction(path, source=str(dataset.root), pid=7) for path in dataset.train.paths]
    elsewhere = TrainingImage(name="crop", content=b"another", source=str(tmp_path / "other"), pid=1)
    unknown = TrainingImage(name="crop", content=b"yet another", source="", pid=1)
    unrelated = TrainingImage(name="crop", content=b"and another", source=str(dataset.root), pid=0)
    images = [*learnt, elsewhere, unknown, unrelated]
    assert find_leaks(dataset, images) == ()
    require_no_leak(dataset, images, base=dataset.train.paths)


def test_identity_in_both_splits_is_a_leak(write_dataset: Write) -> None:
    root = write_dataset(train=((9, 1), (2, 1), (3, 4), (3, 1)))
    leaks = {leak.kind: leak for leak in find_leaks(load_dataset(root))}
    by_identity = leaks["identity"]
    assert (by_identity.pid, Path(by_identity.training).name) == (3, "0003_c1s1_000003_00.jpg")
    assert Path(by_identity.test) == root / "query" / "0003_c2s1_000001_00.jpg"
    with pytest.raises(DatasetError, match=r"^identity 3 is in training and in test: .*bounding_box_train.*query"):
        require_no_leak(load_dataset(root))


def test_equal_image_with_other_name_is_a_leak(dataset: ReidDataset, tmp_path: Path) -> None:
    tested = dataset.gallery.paths[-1]
    copy = tmp_path / "renamed.jpg"
    copy.write_bytes(tested.read_bytes())
    for leaks in (find_leaks(dataset, [correction(copy)]), find_leaks(dataset, base=[copy])):
        (leak,) = leaks
        assert (leak.kind, leak.pid) == ("content", 3)
        assert "renamed.jpg" in leak.training
        assert "0003" in leak.test
        assert str(leak).startswith("identity 3 is in training and in test")
        assert str(leak).endswith("show the same image")
    (dataset.train.paths[0]).write_bytes(dataset.gallery.paths[0].read_bytes())
    (leak,) = find_leaks(dataset)
    assert (leak.kind, leak.pid, str(leak).split(" is ")[0]) == ("content", 0, "a distractor")


def test_label_of_test_identity_is_a_leak(dataset: ReidDataset) -> None:
    shrunk = TrainingImage(name="crop 3f", content=b"encoded again", source=f"{dataset.root}/../dataset/", pid=1)
    (leak,) = find_leaks(dataset, [shrunk, shrunk])
    assert (leak.kind, leak.pid, leak.training) == ("label", 1, "crop 3f")
    with pytest.raises(DatasetError, match=r"crop 3f and .*0001_c1s1.* show one person: take the person out of one"):
        require_no_leak(dataset, [shrunk])


def test_images_are_read_one_at_a_time(dataset: ReidDataset) -> None:
    """Every image is released before the next one is made."""
    alive: list[weakref.ref[TrainingImage]] = []

    def images() -> Iterator[TrainingImage]:
        for number in range(50):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1
            image = TrainingImage(name=str(number), content=number.to_bytes(2, "big"))
            alive.append(weakref.ref(image))
            yield image

    assert find_leaks(dataset, images()) == ()


def test_error_counts_leaks_and_names_missing_file(dataset: ReidDataset) -> None:
    learnt = [correction(path) for path in dataset.query.paths]
    with pytest.raises(DatasetError, match=r"\(1 more like it\)"):
        require_no_leak(dataset, learnt)
    dataset.query.paths[0].unlink()
    with pytest.raises(DatasetError, match=r"0001_c1s1_000000_00\.jpg cannot be read"):
        find_leaks(dataset)


def test_store_split_is_fixed_by_identity() -> None:
    keys = [identity_key(pid=None, tracklet=f"t{number}", crop="") for number in range(4000)]
    assert sum(map(is_test, keys)) / len(keys) == pytest.approx(0.2, abs=0.02)
    # Written down: these people must be on their side for ever.
    assert [number for number in range(20) if is_test(f"pid {number}")] == [2, 5]
    assert identity_key(pid=5, tracklet="t", crop="a") == identity_key(pid=5, tracklet="", crop="b") == "pid 5"
    assert identity_key(pid=None, tracklet="t", crop="a") == identity_key(pid=0, tracklet="t", crop="b")
    assert identity_key(pid=-1, tracklet="", crop="a") != identity_key(pid=None, tracklet="", crop="b")
