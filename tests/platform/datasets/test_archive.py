from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vestigo.datasets.archive import NOT_PLAIN, open_folder
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import dataset_digest
from vestigo_models.errors import DatasetError

Writer = Callable[..., Path]


@pytest.mark.parametrize("kind", ["tar", "gztar", "zip"])
@pytest.mark.parametrize("nested", [False, True])
def test_archive_reads_like_its_folder(write_dataset: Writer, tmp_path: Path, kind: str, nested: bool) -> None:
    root = write_dataset(columns={"train": {"hat": [1, 2]}})
    where = {"root_dir": tmp_path, "base_dir": root.name} if nested else {"root_dir": root}
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), kind, **where))
    before = archive.read_bytes()
    packed, plain = load_dataset(archive), load_dataset(root)
    assert dataset_digest(packed) == dataset_digest(plain)
    assert packed.without_labels == ""
    assert packed.source == archive
    assert f"{archive.name} is unpacked into " in packed.notes[0]
    assert load_dataset(archive).root == packed.root
    assert archive.read_bytes() == before
    files = [path for path in packed.root.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert tmp_path not in packed.root.parents


def test_annotation_is_found_in_folder_of_archive(write_dataset: Writer, tmp_path: Path) -> None:
    root = write_dataset(columns={"train": {"hat": [1, 2]}})
    labels = load_dataset(root).train.labels
    (root / "market_attribute.mat").rename(tmp_path / "market_attribute.mat")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "tar", root_dir=root))
    assert (load_dataset(archive).train.labels == labels).all()


def pack_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../outside.jpg", "/tmp/outside.jpg", "a/../../outside.jpg", "..\\outside.jpg"])
def test_member_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="points outside its archive"):
        load_dataset(pack_tar(tmp_path / "a.tar", ("query/0001_c1_1.jpg", b""), (name, b"")))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(DatasetError, match="points outside its archive"):
        load_dataset(path)
    assert not (tmp_path / "outside.jpg").exists()


def test_links_are_counted_and_not_made(write_dataset: Writer, tmp_path: Path) -> None:
    root = write_dataset()
    (root / "query" / "0009_c1s1_000000_00.jpg").symlink_to("/etc/hostname")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "tar", root_dir=root))
    dataset = load_dataset(archive)
    assert dataset.passed_over == {NOT_PLAIN: 1}
    assert len(dataset.query) == 2


def test_damaged_archives_are_refused_in_one_line(write_dataset: Writer, tmp_path: Path) -> None:
    root = write_dataset()
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), "tar", root_dir=root)).read_bytes()
    cut = tmp_path / "cut.tar"
    with tarfile.open(tmp_path / "whole.tar") as archive:
        ends = [member.offset_data + 512 * -(-member.size // 512) for member in archive]
    for size in (700, len(whole) // 2, ends[-1]):
        cut.write_bytes(whole[:size])
        with pytest.raises(DatasetError, match=r"cut\.tar cannot be unpacked \(.*\); get it again"):
            load_dataset(cut)
    (tmp_path / "text.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"text\.zip cannot be unpacked \(File is not a zip file\)"):
        load_dataset(tmp_path / "text.zip")
    twice = pack_tar(tmp_path / "twice.tar", ("query/0001_c1_1.jpg", b"a"), ("query/0001_c1_1.jpg", b"b"))
    with pytest.raises(DatasetError, match=r"twice\.tar has query/0001_c1_1\.jpg more than once"):
        load_dataset(twice)


def test_archive_without_or_with_several_datasets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset: none of bounding_box_train, query and"):
        load_dataset(pack_tar(tmp_path / "a.tar", ("pictures/0001_c1_1.jpg", b"")))
    members = [(f"{name}/bounding_box_train/0001_c1_1.jpg", b"") for name in ("duke", "market", "__MACOSX")]
    with pytest.raises(DatasetError, match="holds several datasets, duke and market; give an archive of one"):
        load_dataset(pack_tar(tmp_path / "b.tar", *members))
    with pytest.raises(DatasetError, match="neither a folder nor a"):
        load_dataset(Path(__file__))


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_unpacked_folder_is_removed_when_process_ends(write_dataset: Writer, tmp_path: Path, end: str) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "tar", root_dir=write_dataset())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = (
        "import sys; from pathlib import Path; from vestigo.datasets.archive import open_folder\n"
        "print(open_folder(Path(sys.argv[1])).root, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, archive],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    root = Path(process.stdout.readline().decode().strip())
    assert root.is_dir()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    if end == "kill":
        process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(temporary.iterdir()))
    assert open_folder(Path(archive)).root != root


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for a process that outlives the one that was killed."""
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 10 s")
