"""Names of recorders, and cameras and times of whole folders."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.footage import numbered, write_video
from vestigo.ingest.inputs import IgnoredFile, InvalidInput, VideoInput
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.sources.naming import NamingRules, read_name
from vestigo_models.errors import SourceError
from vestigo_models.inference.images import encode_jpeg

NAMES = {
    "ch01_20260501080000.mp4": "ch01",
    "NVR_ch1_main_20260501080000_20260501081500.mp4": "NVR_ch1_main",
    "Camera 01_NVR_20260501080000_20260501081500_123.mp4": "Camera 01_NVR",
    "192.168.1.64_01_20260501080000123_1.mp4": "192.168.1.64_01",
    "2026-05-01/001/dav/08/08.00.00-08.15.00[M][0@0][0].dav": "001",
    "NVR5216/2026-05-01/garage/jpg/08.00.00-08.00.01[M][0@0][0].jpg": "garage",
    "20260501/08/20260501_080000_1A2B_ACCC8E012345.mkv": "ACCC8E012345",
    "Gate_01_20260501080000.mp4": "Gate_01",
    "RecM01_20260501_080000_080015_0_A71A_1.mp4": "RecM01",
    "2026-05-01/08/front/00.00.mp4": "front",
    "recordings/2026-05/01/08/back yard/00.00.mp4": "back yard",
    "front-1777622400.0-abc123.mp4": "front",
    "Gate 2026-05-01 08.00.00.mkv": "Gate",
    "Camera 1_2026-05-01_08-00-00.mkv": "Camera 1",
    "Gate - 2026-05-01 08h00m00s.mp4": "Gate",
    "gate_20260501_080000.mp4": "gate",
    "VID_20260501_080000.mp4": None,
    "hall/VID_20260501_080000.mp4": "hall",
    "hall/20260501/20260501_080000.jpg": "hall",
    "PXL_20260501_080000123.mp4": None,
    "Front Door-01-20260501080000-20260501081500.mp4": "Front Door-01",
    "D1_S20260501080000_E20260501081500.mp4": "D1",
    "Camera1_20260501080000(1).mp4": "Camera1",
    "DH/2026-05-01/pic_001/08/00/00[M][0@0][0].jpg": "pic_001",
    "gate/2026-05-01/001/08.00.00-08.15.00[R][@1][0].h264": "001",
    "Camera1/2026-05-01/08-00-00.mp4": "Camera1",
    "20260501_080000_AB12_ACCC8E012345/20260501_08/20260501_080000_1A2B.mkv": "ACCC8E012345",
    "Camera 1_2026-05-01_08h00min00s000ms.mp4": "Camera 1",
    "Gate.20260501_080000.mp4": "Gate",
    "20260501AM/Gate20260501-080000-1777622400.mp4": "Gate",
    "front-1777622400.0-abc123-clean.png": "front",
    "VID20260501080000.mp4": None,
    "WhatsApp Video 2026-05-01 at 08.00.00.mp4": "WhatsApp Video",
}


@pytest.mark.parametrize("path", NAMES)
def test_names_give_camera_and_time(path: str) -> None:
    named = read_name(path)
    assert named.camera == NAMES[path]
    assert named.start is not None
    assert named.start.replace(tzinfo=None) == datetime(2026, 5, 1, 8, 0, 0)
    in_utc = path.startswith(("PXL", "front-", "2026-05-01/08/front", "recordings/"))
    assert named.start.tzinfo == (UTC if in_utc else None)


@pytest.mark.parametrize(
    ("path", "hours"),
    [
        ("gate_20260501T080000Z.mp4", 0),
        ("Gate - 2026-05-01 - 08.00.00+0200.mp4", 2),
        ("gate_2026-05-01T08:00:00.123-07:00.mp4", -7),
        ("gate_20260501_080000-0815.mp4", None),
    ],
)
def test_offset_in_a_name_is_that_of_its_time(path: str, hours: int | None) -> None:
    zone = None if hours is None else timezone(timedelta(hours=hours))
    assert read_name(path).start == datetime(2026, 5, 1, 8, tzinfo=zone)


@pytest.mark.parametrize(
    "path", ["gate.mp4", "0002_c1s1_000451_03.jpg", "12345678_999999.mp4", "gate_20261399_080000.mp4", "a/b/00.00.mp4"]
)
def test_other_names_have_no_camera_or_time(path: str) -> None:
    named = read_name(path)
    assert named.camera is None
    assert named.start is None


def footage(root: Path, *names: str, frames: int = 20) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, numbered, frames)
    return root


def places(root: Path, **options: object) -> dict[str, tuple[str, str | None]]:
    items = discover(root, **options)  # type: ignore[arg-type]
    return {item.name: (item.camera, item.start) for item in items if isinstance(item, VideoInput)}


def test_segments_keep_their_times(tmp_path: Path) -> None:
    root = footage(tmp_path / "nvr", *(f"gate_20260501_08000{second}.mp4" for second in (0, 2, 4)))
    starts = [start for _, start in places(root, camera="gate", start=datetime(2026, 5, 1, 10, tzinfo=UTC)).values()]
    assert starts == [f"2026-05-01T10:00:0{second}+00:00" for second in (0, 2, 4)]
    berlin = places(root, zone=ZoneInfo("Europe/Berlin"))
    assert berlin["gate_20260501_080002.mp4"] == ("gate", "2026-05-01T06:00:02+00:00")


def test_segments_without_times_are_refused(tmp_path: Path) -> None:
    root = footage(tmp_path / "nvr", "a.mp4", "b.mp4", "c.mp4")
    with pytest.raises(SourceError, match="3 videos of camera gate would all begin at 2026-05-01T08:00:00"):
        discover(root, camera="gate", start=datetime(2026, 5, 1, 8, tzinfo=UTC))
    assert {start for _, start in places(root, start=datetime(2026, 5, 1, 8, tzinfo=UTC)).values()} == {
        "2026-05-01T08:00:00+00:00"
    }


def test_folders_of_cameras_are_not_merged(tmp_path: Path) -> None:
    names = ("2026-05-01/08/front/00.00.mp4", "2026-05-01/08/front/00.10.mp4", "2026-05-01/08/garage/00.00.mp4")
    cameras = places(footage(tmp_path / "rec", *names))
    assert cameras[names[1]] == ("front", "2026-05-01T08:00:10+00:00")
    assert cameras[names[2]] == ("garage", "2026-05-01T08:00:00+00:00")
    with pytest.raises(SourceError, match=r"clip\.mp4 is in front and in garage"):
        discover(footage(tmp_path / "other", "front/clip.mp4", "garage/clip.mp4"))


def test_second_stream_of_a_camera_is_quarantined(tmp_path: Path) -> None:
    names = ("gate_20260501080000.mp4", "sub/gate_20260501080000.mp4")
    items = list(discover(footage(tmp_path / "rec", *names)))
    assert [item.reason for item in items if isinstance(item, InvalidInput)] == ["overlapping-videos"]


def test_own_pattern_comes_first(tmp_path: Path) -> None:
    root = footage(tmp_path / "rec", "x7-gate_20260501_080000.mp4")
    assert places(root, name_pattern=r"^(?P<camera>x\d)-") == {
        "x7-gate_20260501_080000.mp4": ("x7", "2026-05-01T08:00:00+00:00")
    }


def test_single_file_is_read_with_its_folders(tmp_path: Path) -> None:
    root = footage(tmp_path, "rec/2026-05-01/08/front/00.10.mp4")
    (item,) = discover(root / "rec/2026-05-01/08/front/00.10.mp4")
    assert isinstance(item, VideoInput)
    assert (item.camera, item.start) == ("front", "2026-05-01T08:00:10+00:00")


def test_every_file_is_read_or_counted(tmp_path: Path) -> None:
    root = footage(tmp_path / "cams", "one.mp4")
    write_video(tmp_path / "a.h264", numbered, 20)
    (root / "two.dav").write_bytes((tmp_path / "a.h264").read_bytes())
    (root / "three.xyz").write_bytes((root / "one.mp4").read_bytes())
    for name in ("._one.mp4", "Thumbs.db", "__MACOSX/x.mp4", "notes.txt", "data.bin", "README"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"some bytes that are neither image nor video")
    items = list(discover(root))
    assert sorted(item.name for item in items if isinstance(item, VideoInput)) == ["one.mp4", "three.xyz", "two.dav"]
    kinds = {item.name: item.file_kind for item in items if isinstance(item, IgnoredFile)}
    assert kinds == {
        "._one.mp4": "system file",
        "Thumbs.db": "system file",
        "__MACOSX/x.mp4": "system file",
        "notes.txt": ".txt",
        "data.bin": ".bin",
        "README": "no ending",
    }


@pytest.mark.parametrize("start", [b"PK\3\4", b"%PDF-1.7", b"\xd0\xcf\x11\xe0", bytes(257) + b"ustar"])
def test_images_in_packed_files_of_unknown_ending_are_no_video(start: bytes, tmp_path: Path) -> None:
    images = b"".join(encode_jpeg(np.full((64, 32, 3), level, dtype=np.uint8)) for level in range(0, 250, 10))
    root = tmp_path / "cams"
    root.mkdir()
    (root / "images").write_bytes(images)
    (root / "packed").write_bytes(start + images)
    items = {item.name: item for item in discover(root)}
    assert not isinstance(items["images"], IgnoredFile)
    assert items["packed"] == IgnoredFile("packed", "no ending")


def test_empty_system_folders_are_passed_over(tmp_path: Path) -> None:
    root = footage(tmp_path / "drive", "one.mp4")
    for name in ("System Volume Information", ".Spotlight-V100", ".Trashes"):
        (root / name).mkdir()
    assert [item.name for item in discover(root)] == ["one.mp4"]


def test_camera_has_composed_accents() -> None:
    composed, decomposed = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"
    rules = NamingRules.create(decomposed, None, None)
    assert rules.origin("a.mp4", "a").camera == composed
    assert rules.origin(f"camera={decomposed}/a.mp4", "a").camera == composed
