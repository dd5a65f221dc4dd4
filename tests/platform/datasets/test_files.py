from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

from vestigo.datasets.files import GALLERY, QUERY, TRAIN, is_dataset, list_files, parse_name
from vestigo.datasets.recognise import load_dataset
from vestigo.ingest.inputs import ImageInput
from vestigo.ingest.sources.discover import discover
from vestigo_models.errors import DatasetError


def touch(path: Path, content: bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def msmt17(root: Path, *, prefix: str = "") -> Path:
    """Write the list files of MSMT17 and empty images; training and test identities are counted from 0 each."""
    lists = {
        "list_train.txt": ("train", [(0, 1), (0, 12), (1, 3)]),
        "list_val.txt": ("train", [(1, 4)]),
        "list_query.txt": ("test", [(0, 1), (2, 15)]),
        "list_gallery.txt": ("test", [(0, 2), (2, 1)]),
    }
    for file, (folder, members) in lists.items():
        lines = []
        for number, (pid, camera) in enumerate(members):
            name = f"{pid:04d}/{pid:04d}_{number + len(file):03d}_{camera:02d}_0303morning_0015_0.jpg"
            touch(root / folder / name)
            lines.append(f"{name} {pid}\r\n")
        (root / file).write_bytes((prefix + "".join(lines)).encode())
    return root


@pytest.mark.parametrize("prefix", ["", "\N{BYTE ORDER MARK}"])
def test_lists_of_msmt17_number_people_apart(tmp_path: Path, prefix: str) -> None:
    root = msmt17(tmp_path / "MSMT17_V1", prefix=prefix)
    dataset = load_dataset(root)
    assert dataset.name == "msmt17"
    assert dataset.train.pids.tolist() == [1, 1, 2, 2]
    assert dataset.query.pids.tolist() == dataset.gallery.pids.tolist() == [3, 5]
    assert dataset.query.camids.tolist() == [0, 14]
    assert list_files(root).raised == (1, 3)
    with pytest.raises(DatasetError, match=r"did you mean .*MSMT17_V1"):
        load_dataset(tmp_path)


def test_index_and_evaluate_read_the_same_identities_and_cameras(tmp_path: Path) -> None:
    root = msmt17(tmp_path / "people")
    touch(root / "train" / "0009" / "0009_000_07_0303noon_0015_0.jpg")
    images = [item for item in discover(root) if isinstance(item, ImageInput)]
    dataset = load_dataset(root)
    read = {
        path.relative_to(root).as_posix(): (int(pid), f"c{camid + 1}")
        for split in (dataset.train, dataset.query, dataset.gallery)
        for path, pid, camid in zip(split.paths, split.pids, split.camids, strict=True)
    }
    assert {item.name: (item.pid, item.camera) for item in images if item.pid is not None} == read
    assert [(item.pid, item.camera) for item in images if item.name not in read] == [(None, "c7")]
    assert list_files(root).passed_over == {"images in no list": 1}


def test_broken_line_of_a_list_is_named(tmp_path: Path) -> None:
    root = msmt17(tmp_path / "people")
    (root / "list_query.txt").write_text("0000/0000_000_01_0303morning_0015_0.jpg 0\n../secret.jpg 1\n")
    with pytest.raises(DatasetError, match=r"list_query\.txt, line 2: '\.\./secret\.jpg 1' is not an image"):
        load_dataset(root)


def converted(root: Path, names: dict[str, list[str]]) -> Path:
    for split in (TRAIN, QUERY, GALLERY):
        (root / split).mkdir(parents=True)
    for split, files in names.items():
        for name in files:
            touch(root / split / name)
    return root


def test_converted_names_are_read_by_evaluate_and_index(tmp_path: Path) -> None:
    names = {
        TRAIN: ["0001_c01_0000.jpg", "0002_c15_0001.jpg"],
        QUERY: ["0003_c1_1_01.png"],
        GALLERY: ["0003_c12_2_03.PNG", "0004_c2_0009.jpg", "-1_c3_0010.jpg", "0000_c3_0011.jpg"],
    }
    root = converted(tmp_path / "people", names)
    dataset = load_dataset(root)
    assert dataset.name == load_dataset(root, "market-1501").name == "market-1501"
    assert dataset.train.camids.tolist() == [0, 14]
    assert sorted(zip(dataset.gallery.pids.tolist(), dataset.gallery.camids.tolist(), strict=True)) == [
        (0, 2), (3, 11), (4, 1),
    ]  # fmt: skip
    indexed = {item.name: (item.pid, item.camera) for item in discover(root) if isinstance(item, ImageInput)}
    assert indexed["bounding_box_test/0003_c12_2_03.PNG"] == (3, "c12")
    assert indexed["bounding_box_test/-1_c3_0010.jpg"] == (None, "c3")
    assert len(indexed) == 7


def test_identities_counted_from_zero_are_people(tmp_path: Path) -> None:
    names = {TRAIN: ["0000_c1_0.jpg", "0004_c2_1.jpg"], QUERY: ["0000_c1_2.jpg"], GALLERY: ["0000_c2_3.jpg"]}
    dataset = load_dataset(converted(tmp_path / "people", names))
    assert dataset.train.pids.tolist() == [1, 5]
    assert dataset.query.pids.tolist() == dataset.gallery.pids.tolist() == [6]


@pytest.mark.parametrize("leftover", ["._0001_c1s1_000000_00.jpg", "Thumbs.db", "desktop.ini", ".DS_Store"])
def test_leftovers_are_passed_over_and_counted(tmp_path: Path, leftover: str) -> None:
    names = {split: ["0001_c1s1_000001_00.jpg"] for split in (TRAIN, QUERY, GALLERY)}
    root = converted(tmp_path / "people", names)
    touch(root / QUERY / leftover)
    touch(root / QUERY / "__MACOSX" / "._a.jpg")
    touch(root / GALLERY / "notes.txt")
    assert len(load_dataset(root).query) == 1
    assert load_dataset(root).passed_over == list_files(root).passed_over
    assert list_files(root).passed_over == {"leftovers of macOS or Windows": 2, "files of unknown kind (.txt)": 1}


def test_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = converted(tmp_path / "people", {split: ["0001_c1_0.jpg"] for split in (TRAIN, QUERY, GALLERY)})

    def refuse(folder: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"bounding_box_train cannot be read \(Permission denied\)"):
        load_dataset(root)


def test_other_folders_are_no_dataset(tmp_path: Path) -> None:
    assert not is_dataset(tmp_path)
    assert list_files(tmp_path).splits == {}
    touch(tmp_path / "list_query.txt")
    assert not is_dataset(tmp_path)


def test_archive_of_a_dataset_has_identities_and_cameras(tmp_path: Path) -> None:
    names = ("people/query/0002_c12_1_01.png", "people/bounding_box_test/-1_c3s1_000001_00.jpg", "people/0003_c1_1.jpg")
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "image")
    items = [item for item in discover(tmp_path / "people.zip") if isinstance(item, ImageInput)]
    labels = {item.name: (item.pid, item.camera) for item in items}
    assert labels[names[0]] == (2, "c12")
    assert labels[names[1]] == (None, "c3")
    assert labels[names[2]][0] is None


def test_part_of_a_dataset_keeps_its_cameras(tmp_path: Path) -> None:
    labels = {
        "query/0002_c12_1_01.png": (2, "c12"),
        "query/notes.png": (None, "parts"),
        "train/0000/0000_000_01_0303morning_0015_0.jpg": (None, "c1"),
        "camera=gate/query/0003_c2s1_000451_03.jpg": (None, "gate"),
    }
    for name in labels:
        touch(tmp_path / "parts" / name)
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        for name in labels:
            archive.writestr(name, "image")
    for source in ("parts", "parts.zip"):
        items = [item for item in discover(tmp_path / source) if isinstance(item, ImageInput)]
        assert {item.name: (item.pid, item.camera) for item in items} == labels
    cameras = {"parts/query": "c12", "parts/query/0002_c12_1_01.png": "c12", "parts/train": "c1"}
    for source, camera in cameras.items():
        assert next(iter(discover(tmp_path / source))).camera == camera
        assert next(iter(discover(tmp_path / source, camera="gate"))).camera == "gate"


@pytest.mark.parametrize(
    ("name", "pid", "camera"),
    [
        ("0002_c1s1_000451_03.jpg", 2, 1),
        ("-1_c6s4_000451_03.jpg", -1, 6),
        ("0001_c2_f0046182.jpg", 1, 2),
        ("0001_c1_1_01.png", 1, 1),
        ("0001_c1_1.png", 1, 1),
        ("1203_c15_0007.jpg", 1203, 15),
        ("0001_c012.png", 1, 12),
        ("0000_000_01_0303morning_0015_0.jpg", 0, 1),
        ("1040_012_15_0302afternoon_1172_1_ex.jpg", 1040, 15),
    ],
)
def test_names_of_public_datasets_tell_identity_and_camera(name: str, pid: int, camera: int) -> None:
    assert parse_name(name) == (pid, camera)


@pytest.mark.parametrize("name", ["holiday.jpg", "0001.jpg", "c1_0001.jpg", "2026_01_01_120000.jpg", "0001_cam1.jpg"])
def test_other_names_have_no_identity(name: str) -> None:
    assert parse_name(name) is None
