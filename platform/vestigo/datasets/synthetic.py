"""Write rendered people to disk: the Market-1501 layout with attributes and regions, and footage with its truth.

bounding_box_train/  query/  bounding_box_test/    PPPP_cCsS_FFFFFF_II.jpg
regions/<split>/NAME.png                           region ids 0-5, one channel; labels.json names the ids
regions-behind/<split>/NAME.png                    optional: ids 0-4, without belongings
market_attribute.mat                               as the public file (docs/method.md, "Attribute annotations")
videos/camera-C.mp4, truth.parquet                 H.264; columns video, frame, pid, x, y, w, h
"""

import hashlib
import json
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vestigo.datasets.attributes_csv import ATTRIBUTES_CSV, write_attributes_csv
from vestigo.datasets.attributes_mat import IdentityLabels, write_annotations
from vestigo.datasets.files import GALLERY, QUERY, TRAIN
from vestigo.datasets.reid import BEHIND, JUNK_PID, REGIONS
from vestigo_models.errors import ConfigError, WorkError
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.parsing.label_folder import DESCRIPTION
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import REGIONS as REGION_SCHEMA
from vestigo_models.synthetic.crops import render_crop, render_junk
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.video import render_video
from vestigo_models.synthetic.world import World

FPS = 10
MAX_CAMERAS = 9
"""The layout's file names have one digit for the camera."""
JPEG_QUALITY = 95
TRUTH = pa.schema(
    [("video", pa.string()), ("frame", pa.int64()), ("pid", pa.int64()), *((key, pa.float32()) for key in "xywh")]
)


def write_rendered(
    out: Path,
    preset: str = "default",
    identities: int | None = None,
    cameras: int | None = None,
    images_per_camera: int | None = None,
    video_seconds: float = 0.0,
    seed: int = 0,
    progress: ProgressCallback = ignore_progress,
    processes: int | None = None,
    *,
    behind: bool = False,
    schema: AttributeSchema | None = None,
) -> dict[str, Any]:
    """Render a dataset into `out`.

    The first half of the identities trains, the rest is tested: the first image of each of them under each camera is a
    query, the others are gallery, with distractors (pid 0000, other people) and junk (-1, boxes without a person).

    `out` is an empty or new folder, `preset` a name of `PRESETS`; its counts are used where an argument is None.
    `images_per_camera` are those of each identity, `video_seconds` of 0 write no footage, `seed` fixes every random
    choice, and `processes` are by default one for each core. `behind` also writes the region maps without belongings;
    no other file changes. The attributes of `schema`, which must be of Market-1501, are also written to
    `attributes.csv`. `progress` receives files done and files in total.

    Returns:
        `identities`, `images`, `videos` and `digest`: SHA-256 over everything written, decoded, in order of name;
        equal for equal arguments, whatever the number of processes. Processors with other vector units round
        differently: of 480 crops, 3 differed by up to 4 grey levels with AVX-512 and without.

    Raises:
        ConfigError: If the preset is unknown, the schema has other attributes, a count is out of range, or the folder
            is not empty.
        WorkError: If a render process was killed.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r} is unknown; choose one of {', '.join(sorted(PRESETS))}")
    defaults = PRESETS[preset]
    identities = defaults.identities if identities is None else identities
    cameras = defaults.cameras if cameras is None else cameras
    images_per_camera = defaults.images_per_camera if images_per_camera is None else images_per_camera
    if schema is not None:
        _check_schema(schema)
    _check(out, identities, cameras, images_per_camera, video_seconds)
    for folder in (TRAIN, QUERY, GALLERY):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for maps in (REGIONS, BEHIND) if behind else (REGIONS,):
            (out / maps / folder).mkdir(parents=True, exist_ok=True)
            described = {"name": REGION_SCHEMA.name, "classes": list(REGION_SCHEMA.names)}
            (out / maps / folder / DESCRIPTION).write_text(json.dumps(described) + "\n", encoding="utf-8")
    scene = _Scene(out, preset, seed, identities, cameras, behind)
    planned = scene.plan(images_per_camera)
    videos = cameras if video_seconds > 0 else 0
    labels = scene.world().labels[:identities]
    total = len(planned) + videos
    parts: dict[str, str] = {}
    tables: list[pa.Table] = []
    # Spawned workers share nothing with this process, so threads and open files here cannot hang them.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_end_with_parent) as pool:
        try:
            for done, (name, digest) in enumerate(pool.map(scene.write_crop, planned, chunksize=16), start=1):
                parts[name] = digest
                progress(done, total)
            films = pool.map(scene.write_video, range(videos), repeat(video_seconds))
            for done, (name, digest, table) in enumerate(films, start=len(planned) + 1):
                parts[name] = digest
                tables.append(table)
                progress(done, total)
        except BrokenProcessPool as error:
            raise WorkError(
                f"a process rendering into {out} was killed (is memory short?): remove the folder and render again"
            ) from error
    if tables:
        pq.write_table(pa.concat_tables(tables), out / "truth.parquet")
    pids = np.arange(1, len(labels) + 1)
    halves = {"train": slice(identities // 2), "test": slice(identities // 2, None)}
    people = {name: IdentityLabels.from_labels(MARKET_1501, pids[rows], labels[rows]) for name, rows in halves.items()}
    write_annotations(out / "market_attribute.mat", people)
    if schema is not None:
        columns = [MARKET_1501.index(name) for name in schema.names]
        write_attributes_csv(out / ATTRIBUTES_CSV, [IdentityLabels.from_labels(schema, pids, labels[:, columns])])
    parts["market_attribute.mat"] = hashlib.sha256(labels.tobytes()).hexdigest()
    whole = hashlib.sha256("".join(f"{name} {parts[name]}\n" for name in sorted(parts)).encode())
    return {"identities": identities, "images": len(planned), "videos": videos, "digest": whole.hexdigest()}


def _end_with_parent() -> None:
    """Let this worker end when its parent does: the parent's queue does not close if it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _check_schema(schema: AttributeSchema) -> None:
    for attribute in schema.attributes:
        known = attribute.name in MARKET_1501.names
        if not known or attribute.values != MARKET_1501[attribute.name].values:
            values = f" with the values {', '.join(attribute.values)}" if known else ""
            raise ConfigError(
                f"rendered people have no attribute {attribute.name!r}{values} (schema {schema.name}); they have those "
                f"of {MARKET_1501.name}: {', '.join(MARKET_1501.names)}"
            )


def _check(out: Path, identities: int, cameras: int, images_per_camera: int, video_seconds: float) -> None:
    if not 2 <= identities <= 9999:
        raise ConfigError(f"identities={identities}: choose 2 to 9999 (half train, half test, four digits in a name)")
    if not 1 <= cameras <= MAX_CAMERAS:
        raise ConfigError(f"cameras={cameras}: choose 1 to {MAX_CAMERAS} (one digit in a file name)")
    if not 1 <= images_per_camera <= 99:
        raise ConfigError(f"images-per-camera={images_per_camera}: choose 1 to 99")
    if video_seconds < 0:
        raise ConfigError(f"video-seconds={video_seconds}: cannot be negative")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} already holds something; name a new or empty folder")


@dataclass(frozen=True)
class _PlannedCrop:
    """One crop to render: its person (or JUNK_PID), camera and view, and its file."""

    split: str
    name: str
    person: int
    camera: int
    view: int


@lru_cache(maxsize=1)
def _world(preset: str, seed: int, people: int, cameras: int) -> World:
    return World(PRESETS[preset], seed, people, cameras)


@dataclass(frozen=True)
class _Scene:
    """What fixes the content of a dataset. Its methods run in processes, each of which makes the world once."""

    out: Path
    preset: str
    seed: int
    identities: int
    cameras: int
    behind: bool

    @property
    def people(self) -> int:
        """The identities and a tenth more people, who are distractors."""
        return self.identities + max(1, self.identities // 10)

    def world(self) -> World:
        return _world(self.preset, self.seed, self.people, self.cameras)

    def plan(self, images_per_camera: int) -> list[_PlannedCrop]:
        planned: list[_PlannedCrop] = []

        def add(split: str, pid: str, person: int, camera: int, view: int) -> None:
            frame = 1 + (person * 37 + view * 211) % 99991
            planned.append(_PlannedCrop(split, f"{pid}_c{camera + 1}s1_{frame:06d}_{view:02d}", person, camera, view))

        for person in range(self.identities):
            for camera in range(self.cameras):
                for view in range(images_per_camera):
                    split = TRAIN if person < self.identities // 2 else (QUERY if view == 0 else GALLERY)
                    add(split, f"{person + 1:04d}", person, camera, view)
        for person in range(self.identities, self.people):
            for camera in range(self.cameras):
                add(GALLERY, "0000", person, camera, 0)
                add(GALLERY, "-1", JUNK_PID, camera, person)
        return planned

    def write_crop(self, planned: _PlannedCrop) -> tuple[str, str]:
        """Render one crop and write it and its label maps; return its name and the digest of the decoded content."""
        cv2.setNumThreads(1)
        if planned.person == JUNK_PID:
            crop = render_junk(self.world(), planned.camera, planned.view, with_body=self.behind)
        else:
            crop = render_crop(self.world(), planned.person, planned.camera, planned.view, with_body=self.behind)
        encoded = encode_jpeg(crop.image, quality=JPEG_QUALITY)
        (self.out / planned.split / f"{planned.name}.jpg").write_bytes(encoded)
        content = hashlib.sha256(decode_image(encoded).tobytes())
        for folder, labels in ((REGIONS, crop.regions), (BEHIND, crop.body)):
            if labels is not None:
                png = cv2.imencode(".png", labels)[1]
                (self.out / folder / planned.split / f"{planned.name}.png").write_bytes(png.tobytes())
                content.update(labels.tobytes())
        return f"{planned.split}/{planned.name}", content.hexdigest()

    def write_video(self, camera: int, seconds: float) -> tuple[str, str, pa.Table]:
        """Render one camera's footage; return its name, the digest of its frames before compression, and its truth."""
        cv2.setNumThreads(1)
        world = World(PRESETS[self.preset], self.seed, self.identities, self.cameras)
        name = f"camera-{camera + 1}.mp4"
        path = self.out / "videos" / name
        path.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        rows: list[dict[str, Any]] = []
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(FPS))
            stream.width, stream.height = world.preset.frame_width, world.preset.frame_height
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1
            stream.options = {"crf": "21", "preset": "fast", "g": str(5 * FPS)}
            for number, frame in enumerate(render_video(world, camera, seconds, FPS)):
                digest.update(frame.image.tobytes() + frame.boxes.tobytes() + frame.pids.tobytes())
                for pid, box in zip(frame.pids.tolist(), frame.boxes.tolist(), strict=True):
                    rows.append({"video": name, "frame": number, "pid": pid + 1, **dict(zip("xywh", box, strict=True))})
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
            container.mux(stream.encode())
        return f"videos/{name}", digest.hexdigest(), pa.Table.from_pylist(rows, schema=TRUTH)
