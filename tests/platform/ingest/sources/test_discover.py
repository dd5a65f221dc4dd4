import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.support import hostile
from tests.support.footage import numbered, write_video
from vestigo.ingest.decoding import read_image_input
from vestigo.ingest.inputs import (
    IgnoredFile,
    ImageInput,
    Input,
    InvalidInput,
    Locator,
    VideoInput,
    input_from_json,
    input_to_json,
)
from vestigo.ingest.sources import containers as members_module
from vestigo.ingest.sources import discover as discover_module
from vestigo.ingest.sources.containers import read_member
from vestigo.ingest.sources.discover import MAX_DEPTH, discover, source_kind
from vestigo.ingest.sources.naming import NamingRules
from vestigo_models.errors import BadInput, ConfigError, SourceError
from vestigo_models.inference.images import encode_jpeg


def jpeg(seed: int = 0) -> bytes:
    return encode_jpeg(np.random.default_rng(seed).integers(0, 255, (32, 16, 3), dtype=np.uint8))


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def images(items: list[Input]) -> dict[str, ImageInput]:
    return {item.name: item for item in items if isinstance(item, ImageInput)}


def problems(items: list[Input]) -> dict[str, str]:
    return {item.name: item.reason for item in items if isinstance(item, InvalidInput)}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with all that a folder may hold."""
    root = put(
        tmp_path / "site",
        {
            "b.jpg": jpeg(1),
            "a.JPG": jpeg(2),
            "camera=door/c.png": jpeg(3),
            "hall/deep/d.jpg": jpeg(4),
            "text.jpg": b"this is a text",
            "nothing.jpg": b"",
            "notes.txt": b"left alone",
            "bad.mp4": b"no video",
        },
    )
    write_video(root / "gate.mp4", numbered, 12)
    return root


def test_folder_is_walked_in_order(archive: Path) -> None:
    items = list(discover(archive))
    assert [item.name for item in items] == [
        "a.JPG",
        "b.jpg",
        "bad.mp4",
        "camera=door/c.png",
        "gate.mp4",
        "hall/deep/d.jpg",
        "notes.txt",
        "nothing.jpg",
        "text.jpg",
    ]
    assert problems(items) == {"bad.mp4": "not-a-video"}
    assert [item.name for item in items if isinstance(item, IgnoredFile)] == ["notes.txt"]
    assert {item.camera for item in images(items).values()} == {"site", "door"}
    assert images(items)["b.jpg"].digest == hashlib.sha256(jpeg(1)).hexdigest()


def test_empty_camera_folder_and_packed_archive_are_reported(archive: Path) -> None:
    (archive / "camera=yard").mkdir()
    (archive / "old.tar.gz").write_bytes(b"")
    (archive / "older.ZIP").write_bytes(b"")
    reported = problems(list(discover(archive)))
    assert reported == {
        "bad.mp4": "not-a-video",
        "camera=yard": "empty-folder",
        "old.tar.gz": "archive-in-folder",
        "older.ZIP": "archive-in-folder",
    }


def test_folder_without_images_is_empty(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    assert problems(list(discover(tmp_path))) == {tmp_path.name: "empty-source"}


def test_inputs_round_trip_through_json(archive: Path) -> None:
    for item in discover(archive):
        assert input_from_json(json.loads(json.dumps(input_to_json(item)))) == item
    with pytest.raises(ConfigError, match="unknown kind of input 'sound'"):
        input_from_json({"kind": "sound"})


def test_images_are_read_in_place(archive: Path) -> None:
    inputs = images(list(discover(archive)))
    assert read_image_input(inputs["b.jpg"])[0].shape == (32, 16, 3)
    for name, reason in (("text.jpg", "not-an-image"), ("nothing.jpg", "empty-file")):
        with pytest.raises(BadInput) as caught:
            read_image_input(inputs[name])
        assert caught.value.reason == reason
    (archive / "b.jpg").write_bytes(jpeg(9))
    with pytest.raises(BadInput, match="changed"):
        read_image_input(inputs["b.jpg"])


def test_cameras_and_times(archive: Path) -> None:
    (archive / "bad.mp4").unlink()
    items = {i.name: i for i in discover(archive, camera="yard", start=datetime(2024, 5, 1, 12))}
    video = items["gate.mp4"]
    assert isinstance(video, VideoInput)
    assert (video.camera, video.start) == ("yard", "2024-05-01T12:00:00+00:00")
    assert images(list(items.values()))["camera=door/c.png"].camera == "door"
    assert images(list(items.values()))["a.JPG"].time is None
    (alone,) = discover(archive / "gate.mp4", start=datetime(2024, 5, 1, tzinfo=UTC))
    assert isinstance(alone, VideoInput)
    assert (alone.name, alone.camera) == ("gate.mp4", "gate")


def test_pattern_gives_cameras(tmp_path: Path) -> None:
    root = put(tmp_path / "s", {"c3_001.jpg": jpeg(), "lobby.jpg": jpeg(1)})
    items = images(list(discover(root, name_pattern=r"(?P<camera>c\d)_", camera="rest")))
    assert {name: item.camera for name, item in items.items()} == {"c3_001.jpg": "c3", "lobby.jpg": "rest"}
    with pytest.raises(ConfigError, match="needs a group named camera"):
        discover(root, name_pattern=r"c\d")
    with pytest.raises(ConfigError, match="no regular expression"):
        discover(root, name_pattern="(")


def test_empty_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "void" / "deeper").mkdir(parents=True)
    assert problems(list(discover(tmp_path / "void"))) == {"deeper": "empty-folder", "void": "empty-source"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such source"),
        ("a.xyz", "unknown ending"),
        ("a.tar.gz", "decompress it"),
        ("a.tgz", "decompress it"),
    ],
)
def test_invalid_sources_are_rejected(name: str, message: str, tmp_path: Path) -> None:
    if name != "missing":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=message):
        discover(tmp_path / name)


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", {"secret.jpg": jpeg(5)})
    root = put(tmp_path / "site", {"a.jpg": jpeg(1)})
    (root / "inside.jpg").symlink_to(root / "a.jpg")
    (root / "loop").symlink_to(root)
    (root / "leak.jpg").symlink_to(outside / "secret.jpg")
    (root / "leaks").symlink_to(outside)
    (root / "broken.jpg").symlink_to("absent.jpg")
    (root / "itself").symlink_to("itself")
    os.mkfifo(root / "pipe.jpg")
    (root / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(6))
    items = list(discover(root))
    assert list(images(items)) == ["a.jpg"]
    assert problems(items) == {
        "leak.jpg": "outside-source",
        "leaks": "outside-source",
        "broken.jpg": "broken-link",
        "itself": "broken-link",
        "pipe.jpg": "not-a-file",
        "caf\\xe9.jpg": "undecodable-name",
    }
    json.dumps([input_to_json(item) for item in items], ensure_ascii=False).encode()


def test_depth_of_folders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(tmp_path / "site", {"a.jpg": jpeg(1)})
    monkeypatch.chdir(root)
    for _ in range(1200):
        os.mkdir("a")
        os.chdir("a")
    Path("b.jpg").write_bytes(jpeg(2))
    monkeypatch.chdir(root)
    items = list(discover(root))
    assert list(images(items)) == ["a.jpg"]
    assert problems(items) == {"/".join("a" * (MAX_DEPTH + 1)): "too-deep"}
    subprocess.run(["rm", "-r", str(root)], check=True)  # shutil would recurse as deep


def test_dataset_gives_identities_and_cameras(tmp_path: Path) -> None:
    root = put(
        tmp_path / "market",
        {
            "query/0002_c1s1_000451_00.jpg": jpeg(1),
            "bounding_box_test/-1_c3s2_000001_00.jpg": jpeg(2),
            "bounding_box_test/0000_c6s1_000002_00.jpg": jpeg(3),
            "bounding_box_test/Thumbs.db": b"x",
            "bounding_box_train/0007_c2_f0046182.jpg": jpeg(4),
            "gt_bbox/0007_c2.jpg": jpeg(5),
            "regions/query/0002_c1s1_000451_00.png": b"x",
        },
    )
    assert source_kind(root) == "dataset"
    inputs = images(list(discover(root)))
    assert {Path(name).name[:4]: (item.camera, item.pid) for name, item in inputs.items()} == {
        "-1_c": ("c3", None),
        "0000": ("c6", 0),
        "0007": ("c2", 7),
        "0002": ("c1", 2),
    }


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


HOSTILE = {
    "ok/camera=gate/a.jpg": jpeg(1),
    "../escape.jpg": jpeg(2),
    "/absolute.jpg": jpeg(3),
    "ok/../../b.jpg": jpeg(4),
    "clip.mp4": b"x",
    "inner.zip": b"x",
    "readme.md": b"x",
    "__MACOSX/._a.jpg": b"x",
    "empty.jpg": b"",
}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archive_members_are_read_safely_in_place(kind: str, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    path = (make_tar if kind == "tar" else make_zip)(box / f"crops.{kind}", HOSTILE)
    items = list(discover(path))
    assert problems(items) == {
        "../escape.jpg": "unsafe-name",
        "/absolute.jpg": "unsafe-name",
        "ok/../../b.jpg": "unsafe-name",
        "clip.mp4": "unsupported-member",
        "inner.zip": "archive-in-archive",
    }
    assert {item.name: item.file_kind for item in items if isinstance(item, IgnoredFile)} == {
        "readme.md": ".md",
        "__MACOSX/._a.jpg": "system file",
    }
    inputs = images(items)
    assert set(inputs) == {"ok/camera=gate/a.jpg", "empty.jpg"}
    assert inputs["ok/camera=gate/a.jpg"].camera == "gate"
    assert inputs["empty.jpg"].camera == "crops"
    assert read_member(inputs["ok/camera=gate/a.jpg"].locator) == jpeg(1)
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {path.name}


def test_links_and_devices_in_a_tar_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("l.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.CHRTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
    assert problems(list(discover(path))) == dict.fromkeys(("l.jpg", "h.jpg", "d.jpg"), "not-a-file")


def test_repeated_name_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for seed in (1, 2):
            header = tarfile.TarInfo("a.jpg")
            header.size = len(jpeg(seed))
            archive.addfile(header, io.BytesIO(jpeg(seed)))
    items = list(discover(path))
    assert [type(item) for item in items] == [ImageInput, InvalidInput]
    assert problems(items) == {"a.jpg": "duplicate-name"}


def test_truncated_tar_keeps_earlier_members(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {f"{n}.jpg": jpeg(n) for n in range(6)})
    path.write_bytes(path.read_bytes()[: 3 * (512 + 1024) + 700])
    items = list(discover(path))
    assert 1 <= len(images(items)) < 6
    assert "truncated" in problems(items).values() or "unreadable" in problems(items).values()


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_unreadable_archive_is_rejected(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"garbage" * 500)
    assert problems(list(discover(tmp_path / name))) == {name: "unreadable"}


def test_zip_bomb_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MAX_MEMBER_BYTES", 10_000)
    path = make_zip(tmp_path / "a.zip", {"honest.jpg": b"\0" * 20_000, "liar.jpg": b"\0" * 5_000})
    members = members_module.list_zip(path, NamingRules.create(None, None, None))
    assert problems(list(members)) == {"honest.jpg": "too-large"}
    # A liar: the directory promises 100 bytes, the stream inflates to 5,000.
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("liar.jpg")
    lie = Locator("zip", str(path), "liar.jpg", entry.header_offset, 100, entry.compress_size)
    with pytest.raises(BadInput, match="does not hold the 100 bytes"):
        read_member(lie)


def test_zip_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A thousand names of one large member would be decompressed a thousand times."""
    path = make_zip(tmp_path / "a.zip", {"a.jpg": jpeg(1), "b.jpg": jpeg(2), "c.jpg": jpeg(3)})
    data = bytearray(path.read_bytes())
    last = data.rindex(b"PK\1\2")
    data[last + 42 : last + 46] = bytes(4)
    path.write_bytes(data)
    items = list(discover(path))
    assert problems(items) == {"c.jpg": "overlapping-members"}
    assert set(images(items)) == {"a.jpg", "b.jpg"}


def test_encrypted_or_unsupported_zip_members_are_reported(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": jpeg(1)})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    path.write_bytes(data)
    assert problems(list(discover(path))) == {"a.jpg": "encrypted"}
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", jpeg(1))
    assert problems(list(discover(tmp_path / "b.zip"))) == {"a.jpg": "unsupported-compression"}


def test_damaged_zip_member_is_skipped(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    data = bytearray(path.read_bytes())
    data[60:200] = b"\xff" * 140
    path.write_bytes(data)
    items = list(discover(path))
    assert problems(items) == {"a.jpg": "unreadable"}
    assert set(images(items)) == {"b.jpg"}


@pytest.mark.parametrize(("reader", "name"), [("list_zip", "a.zip"), ("list_tar", "a.tar")])
def test_archive_that_crashes_its_reader_is_an_invalid_input(
    reader: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"archive")
    monkeypatch.setattr(discover_module, reader, hostile.crash)
    assert problems(list(discover(tmp_path / name))) == {name: "decoder-crashed"}


def test_file_of_unknown_ending_that_crashes_its_reader_is_an_invalid_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.jpg").write_bytes(jpeg(1))
    (tmp_path / "recording.dat").write_bytes(b"recording")
    monkeypatch.setattr(discover_module, "content_kind", hostile.crash)
    items = list(discover(tmp_path))
    assert problems(items) == {"recording.dat": "decoder-crashed"}
    assert set(images(items)) == {"good.jpg"}
