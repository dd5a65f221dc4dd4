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
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vestigo.datasets.attributes_csv import ATTRIBUTES_CSV, write_attributes_csv
from vestigo.datasets.attributes_mat import IdentityLabels, write_annotations
from vestigo.datasets.reid import BEHIND, REGIONS
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

TRAIN, QUERY, TEST = "bounding_box_train", "query", "bounding_box_test"
FPS = 10
MAX_CAMERAS = 9
"""The layout's file names have one digit for the camera."""
JPEG_QUALITY = 95

JUNK = -1


@dataclass(frozen=True)
class _PlannedCrop:
    """One crop to render: its person (or JUNK), camera and view, and its file."""

    split: str
    name: str
    person: int
    camera: int
    view: int


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

    Args:
        out: An empty or new folder.
        preset: A name of `PRESETS`; its counts are used where an argument is None.
        identities: Number of identities.
        cameras: Number of cameras.
        images_per_camera: Images of each identity under each camera.
        video_seconds: Length of the footage of each camera; 0 writes none.
        seed: Fixes every random choice.
        progress: Receives files done and files in total.
        processes: Worker processes; None takes one for each core.
        behind: Whether to write the region maps without belongings too; no other file changes.
        schema: Also write the attributes of this schema to `attributes.csv`; they must be attributes of Market-1501.

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
    for folder in (TRAIN, QUERY, TEST):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for maps in (REGIONS, BEHIND) if behind else (REGIONS,):
            (out / maps / folder).mkdir(parents=True, exist_ok=True)
            described = {"name": REGION_SCHEMA.name, "classes": list(REGION_SCHEMA.names)}
            (out / maps / folder / DESCRIPTION).write_text(json.dumps(described) + "\n", encoding="utf-8")
    planned = _plan(identities, cameras, images_per_camera)
    videos = cameras if video_seconds > 0 else 0
    labels = _world(preset, seed, identities, cameras).labels[:identities]
    total = len(planned) + videos
    parts: dict[str, str] = {}
    tables: list[pa.Table] = []
    render = partial(_write_crop, str(out), preset, seed, identities, cameras, behind)
    film = partial(_write_video, str(out), preset, seed, identities, cameras, video_seconds)
    # Spawned workers share nothing with this process, so threads and open files here cannot hang them.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            for done, (name, digest) in enumerate(pool.map(render, planned, chunksize=16), start=1):
                parts[name] = digest
                progress(done, total)
            for done, (name, digest, table) in enumerate(pool.map(film, range(videos)), start=len(planned) + 1):
                parts[name] = digest
                tables.append(table)
                progress(done, total)
        except BrokenProcessPool as error:
            raise WorkError(
                f"a process rendering into {out} was killed (is memory short?): remove the folder and render again"
            ) from error
    if tables:
        pq.write_table(pa.concat_tables(tables), out / "truth.parquet")
    _write_attributes(out / "market_attribute.mat", labels)
    if schema is not None:
        columns = [MARKET_1501.index(name) for name in schema.names]
        pids = np.arange(1, len(labels) + 1)
        write_attributes_csv(out / ATTRIBUTES_CSV, [IdentityLabels.from_labels(schema, pids, labels[:, columns])])
    parts["market_attribute.mat"] = hashlib.sha256(labels.tobytes()).hexdigest()
    whole = hashlib.sha256("".join(f"{name} {parts[name]}\n" for name in sorted(parts)).encode())
    return {"identities": identities, "images": len(planned), "videos": videos, "digest": whole.hexdigest()}


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


@lru_cache(maxsize=1)
def _world(preset: str, seed: int, identities: int, cameras: int) -> World:
    """Return the world of one process; it has a tenth more people than identities, who are distractors."""
    return World(PRESETS[preset], seed, identities + _distractors(identities), cameras)


def _distractors(identities: int) -> int:
    return max(1, identities // 10)


def _plan(identities: int, cameras: int, images_per_camera: int) -> list[_PlannedCrop]:
    planned: list[_PlannedCrop] = []

    def add(split: str, pid: str, person: int, camera: int, view: int) -> None:
        frame = 1 + (person * 37 + view * 211) % 99991
        planned.append(_PlannedCrop(split, f"{pid}_c{camera + 1}s1_{frame:06d}_{view:02d}", person, camera, view))

    for person in range(identities):
        for camera in range(cameras):
            for view in range(images_per_camera):
                split = TRAIN if person < identities // 2 else (QUERY if view == 0 else TEST)
                add(split, f"{person + 1:04d}", person, camera, view)
    for person in range(identities, identities + _distractors(identities)):
        for camera in range(cameras):
            add(TEST, "0000", person, camera, 0)
            add(TEST, "-1", JUNK, camera, person)
    return planned


def _write_crop(
    out: str, preset: str, seed: int, identities: int, cameras: int, behind: bool, planned: _PlannedCrop
) -> tuple[str, str]:
    """Render one crop and write it and its label maps; return its name and the digest of the decoded content."""
    cv2.setNumThreads(1)
    world = _world(preset, seed, identities, cameras)
    if planned.person == JUNK:
        crop = render_junk(world, planned.camera, planned.view, with_body=behind)
    else:
        crop = render_crop(world, planned.person, planned.camera, planned.view, with_body=behind)
    encoded = encode_jpeg(crop.image, quality=JPEG_QUALITY)
    (Path(out) / planned.split / f"{planned.name}.jpg").write_bytes(encoded)
    content = hashlib.sha256(decode_image(encoded).tobytes())
    for folder, labels in ((REGIONS, crop.regions), (BEHIND, crop.body)):
        if labels is not None:
            png = cv2.imencode(".png", labels)[1]
            (Path(out) / folder / planned.split / f"{planned.name}.png").write_bytes(png.tobytes())
            content.update(labels.tobytes())
    return f"{planned.split}/{planned.name}", content.hexdigest()


def _write_video(
    out: str, preset: str, seed: int, identities: int, cameras: int, seconds: float, camera: int
) -> tuple[str, str, pa.Table]:
    """Render one camera's footage; return its name, the digest of its frames before compression, and its truth."""
    cv2.setNumThreads(1)
    world = World(PRESETS[preset], seed, identities, cameras)
    name = f"camera-{camera + 1}.mp4"
    path = Path(out) / "videos" / name
    path.parent.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    rows: list[tuple[float, ...]] = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height = world.preset.frame_width, world.preset.frame_height
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": "21", "preset": "fast", "g": str(5 * FPS)}
        for number, frame in enumerate(render_video(world, camera, seconds, FPS)):
            digest.update(frame.image.tobytes() + frame.boxes.tobytes() + frame.pids.tobytes())
            for pid, box in zip(frame.pids, frame.boxes, strict=True):
                rows.append((number, int(pid) + 1, *map(float, box)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        container.mux(stream.encode())
    columns = list(zip(*rows, strict=True)) or [()] * 6
    table = pa.table(
        {
            "video": pa.array([name] * len(rows), pa.string()),
            "frame": pa.array(columns[0], pa.int64()),
            "pid": pa.array(columns[1], pa.int64()),
            **{key: pa.array(values, pa.float32()) for key, values in zip("xywh", columns[2:], strict=True)},
        }
    )
    return f"videos/{name}", digest.hexdigest(), table


def _write_attributes(path: Path, labels: NDArray[np.int64]) -> None:
    """Write labels (identities, 12) in the structure of the public file, the first half of the people in `train`."""
    half = len(labels) // 2
    pids = np.arange(1, len(labels) + 1)
    splits = {"train": slice(half), "test": slice(half, None)}
    people = {name: IdentityLabels.from_labels(MARKET_1501, pids[rows], labels[rows]) for name, rows in splits.items()}
    write_annotations(path, people)
