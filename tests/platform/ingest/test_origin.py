"""The frame of a stored crop in folders, tars, zips and videos, present, changed and missing."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.support import hostile
from tests.support.archives import walkers_video
from vestigo.ingest import origin
from vestigo.ingest.crops import crop_id
from vestigo.ingest.origin import read_source_frame
from vestigo_models.errors import BadInput

BOX = (3.0, 4.0, 10.0, 20.0)


def picture(path: Path, value: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((48, 64, 3), value, np.uint8)
    image[:, 32:] = 255 - value
    assert cv2.imwrite(str(path), image)
    return path


def crop(source: Path, name: str, content: bytes, frame: int = -1) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    sides = dict(zip("xywh", BOX, strict=True))
    return {"crop_id": crop_id(name, digest, frame, BOX), "source": str(source), "input": name, "frame": frame, **sides}


def stored(root: Path, kind: str) -> dict[str, Any]:
    """One picture in a source of each kind, and the row of a crop of it."""
    path = picture(root / "pictures" / "camera=gate" / "one.png")
    name = "camera=gate/one.png"
    if kind == "folder":
        return crop(root / "pictures", name, path.read_bytes())
    if kind == "image":
        return crop(path, "one.png", path.read_bytes())
    source = root / f"pictures.{kind}"
    if kind == "tar":
        with tarfile.open(source, "w") as tar:
            tar.add(path, arcname=name)
    else:
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, name)
    return crop(source, name, path.read_bytes())


@pytest.mark.parametrize("kind", ["folder", "image", "tar", "zip"])
def test_still_frame_is_found(tmp_path: Path, kind: str) -> None:
    frame = read_source_frame(stored(tmp_path, kind))
    assert frame.shape == (48, 64, 3)
    assert frame[0, 0].tolist() == [80, 80, 80]


@pytest.mark.parametrize("kind", ["folder", "image", "tar", "zip"])
def test_missing_member_is_reported(tmp_path: Path, kind: str) -> None:
    row = stored(tmp_path, kind)
    with pytest.raises(BadInput, match=r"^moved: .*camera=gate/two.png|^changed: ") as caught:
        read_source_frame(row | {"input": "camera=gate/two.png"})
    assert str(tmp_path) not in str(caught.value)


def test_missing_source_is_reported(tmp_path: Path) -> None:
    row = stored(tmp_path, "folder")
    with pytest.raises(BadInput, match=r"^moved: camera=gate/one\.png is no longer where it was indexed") as caught:
        read_source_frame(row | {"source": str(tmp_path / "elsewhere")})
    assert str(tmp_path) not in str(caught.value)


def test_changed_file_is_reported(tmp_path: Path) -> None:
    row = stored(tmp_path, "folder")
    picture(Path(row["source"]) / row["input"], value=90)
    with pytest.raises(BadInput, match=r"^changed: .* is no longer the file that was indexed"):
        read_source_frame(row)


def test_damaged_archive_is_reported(tmp_path: Path) -> None:
    row = stored(tmp_path, "zip")
    source = Path(row["source"])
    source.write_bytes(source.read_bytes()[:40] + bytes(20) + source.read_bytes()[60:])
    with pytest.raises(BadInput):
        read_source_frame(row)


def test_video_frame_is_found(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10), options={"crf": "10", "g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for number in (0, 5, 11):
        row = crop(path, path.name, path.read_bytes(), frame=number)
        assert read_source_frame(row).mean() == pytest.approx(20 * number, abs=4)
    row = crop(tmp_path, path.name, path.read_bytes(), frame=5)
    assert read_source_frame(row).mean() == pytest.approx(100, abs=4)
    with pytest.raises(BadInput, match=r"^changed"):
        read_source_frame(row | {"frame": 6})
    with pytest.raises(BadInput, match=r"^no-such-frame"):
        read_source_frame(crop(path, path.name, path.read_bytes(), frame=40))


def test_still_that_crashes_its_decoder_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = stored(tmp_path, "folder")
    monkeypatch.setattr(origin, "_read_still", hostile.crash)
    with pytest.raises(BadInput, match="decoder-crashed"):
        read_source_frame(row)


def test_frame_that_crashes_its_decoder_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = walkers_video(tmp_path / "gate.mp4", seconds=1)
    monkeypatch.setattr(origin, "read_frame", hostile.crash)
    with pytest.raises(BadInput, match="decoder-crashed"):
        read_source_frame(crop(path, path.name, path.read_bytes(), frame=3))
