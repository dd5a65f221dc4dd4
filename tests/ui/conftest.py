from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tests.support.signed_in import enter as enter
from tests.support.signed_in import screen as screen
from tests.support.signed_in import visit as visit
from vestigo.ingest.crops import crop_id
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg
from vestigo_models.inference.package import ModelPackage
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.video import VideoFrame, render_video
from vestigo_models.synthetic.world import World

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
CAMERAS = ("gate", "hall")


@dataclass(frozen=True)
class Archive:
    """A store of rendered people, and the folder of frames that it was made from."""

    store: Path
    footage: Path
    crops: list[dict[str, Any]]

    def copy(self, to: Path) -> Path:
        """Copy the store; returns where the copy is."""
        return Path(shutil.copytree(self.store, to))


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit runs a page as `__main__` and leaves it so, and then every process that is spawned begins with it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def archive(pristine: Archive, tmp_path: Path) -> Archive:
    """The rendered people in a store of this test alone."""
    return replace(pristine, store=pristine.copy(tmp_path / "archive"))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Frames of two cameras as PNG files, their people as crops under their true boxes, one tracklet a person.

    Nothing opens its store: what looks at a person leaves an entry in the audit log. Use a copy.
    """
    root = tmp_path_factory.mktemp("pristine")
    footage = root / "footage"
    footage.mkdir()
    package = ModelPackage.from_pretrained("default")
    rows = [row for camera, name in enumerate(CAMERAS) for row in _camera(footage, camera, name)]
    images = [cv2.cvtColor(cv2.imdecode(np.frombuffer(row["image"], np.uint8), 1), cv2.COLOR_BGR2RGB) for row in rows]
    outputs = Extractor(package).extract(images)
    columns = feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
    for name, column in columns.items():
        for row, value in zip(rows, column.to_pylist(), strict=True):
            row[name] = value
    with Store.open(root / "store") as store:
        store.models.register(package.digest, name=package.name, location="default", facts=ModelFacts.of(package))
        run = store.runs.create(fingerprint="f" * 64, config={}, model=package.digest, command="test")
        names = sorted({row["input"] for row in rows})
        inputs = tuple(InputPlan(name, name) for name in names)
        store.shards.plan(run.id, [ShardPlan("images", str(footage), None, {}, inputs)])
        (task,) = store.shards.pending(run.id, 1)
        file = store.root.write(
            "crops", run.id, task.id, pa.Table.from_pylist(rows, schema=crop_schema(package.embedding_dim))
        )
        counts = [sum(row["input"] == name for row in rows) for name in names]
        outcomes = [InputOutcome(place, "done", count) for place, count in enumerate(counts)]
        store.runs.take_lease(run.id)
        store.shards.commit(task.id, files=[file], outcomes=outcomes)
        store.runs.finish(run.id, "succeeded")
    return Archive(store=root / "store", footage=footage, crops=rows)


def _camera(footage: Path, camera: int, name: str) -> Iterator[dict[str, Any]]:
    world = World(PRESETS["clean"], seed=5, identities=8, cameras=len(CAMERAS))
    for number, frame in enumerate(render_video(world, camera, seconds=4.0, fps=1.0)):
        path = footage / f"{name}-{number}.png"
        cv2.imwrite(str(path), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        yield from _people(path, frame, name, START + timedelta(seconds=number))


def _people(path: Path, frame: VideoFrame, camera: str, time: datetime) -> Iterator[dict[str, Any]]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    height, width = frame.image.shape[:2]
    for box, pid in zip(frame.boxes, frame.pids, strict=True):
        x, y, w, h = box.round().astype(int)
        if w < 16 or h < 48:
            continue
        crop = frame.image[y : y + h, x : x + w]
        box = np.array([x, y, w, h], np.float32)
        yield {
            "crop_id": crop_id(path.name, digest, -1, box),
            "source": str(path.parent),
            "input": path.name,
            "frame": -1,
            "time": time,
            "offset_s": None,
            "camera": camera,
            "tracklet": f"{camera}-{pid}",
            **dict(zip("xywh", box.tolist(), strict=True)),
            "frame_width": width,
            "frame_height": height,
            "score": 1.0,
            "quality": float(h / height),
            "dhash": int.from_bytes(hashlib.sha256(crop.tobytes()).digest()[:8], "little", signed=True),
            "pid": int(pid),
            "image": encode_jpeg(crop),
        }
