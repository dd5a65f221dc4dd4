"""Build a store of very many crops, on which the screen and its index are measured.

    python benchmarks/browse_store.py STORE [--crops 1000000]

Facts are those of the shipped model; descriptors and attribute probabilities are random. Images are a few dozen
rendered crops; each copy has a comment of its own, so that no two files are identical. An input is an hour of one of
`CAMERAS` cameras, with tracklets of `TRACKLET` crops; every fourth person has an identity. A million crops take about
8 GB.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.images import encode_jpeg
from vestigo_models.inference.package import ModelPackage
from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

CAMERAS, TRACKLET, FILE_ROWS, IMAGES, KNOWN = 40, 8, 4000, 48, 4
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
FRAME = (1920, 1080)
FPS, HOUR_S = 5, 3600


def build_store(ref: Path, crops: int, seed: int = 0) -> str:
    """Build the store and return the digest of its model."""
    package = ModelPackage.from_pretrained("default")
    facts, images = ModelFacts.of(package), render_images()
    with Store.open(ref) as store:
        store.models.register(package.digest, name=package.name, location="default", facts=facts)
        run = store.runs.create(fingerprint="b" * 64, config={}, model=package.digest, command="benchmark")
        sizes = [min(FILE_ROWS, crops - first) for first in range(0, crops, FILE_ROWS)]
        names = [f"{camera_of(file)}/{file // CAMERAS:03d}.mp4" for file in range(len(sizes))]
        store.shards.plan(
            run.id, (ShardPlan("images", "footage", None, {}, (InputPlan(name, name),)) for name in names)
        )
        store.runs.take_lease(run.id)
        for file, task in enumerate(store.shards.pending(run.id, len(sizes))):
            rows = crop_table(facts, images, file, names[file], sizes[file], np.random.default_rng([seed, file]))
            written = store.root.write("crops", run.id, task.id, rows)
            store.shards.commit(task.id, files=[written], outcomes=[InputOutcome(0, "done", sizes[file])])
        store.runs.finish(run.id, "succeeded")
    return package.digest


def camera_of(file: int) -> str:
    return f"cam{file % CAMERAS + 1:02d}"


def render_images() -> list[bytes]:
    world = World(PRESETS["default"], seed=7, identities=IMAGES, cameras=4)
    return [encode_jpeg(render_crop(world, number, number % 4, 0).image) for number in range(IMAGES)]


def crop_table(
    facts: ModelFacts, images: list[bytes], file: int, name: str, count: int, rng: np.random.Generator
) -> pa.Table:
    """Return `count` crops of one hour of one camera."""
    ids = [hashlib.sha256(b"%d/%d" % (file, number)).hexdigest()[:20] for number in range(count)]
    tracklet = np.arange(count) // TRACKLET
    begin = np.sort(rng.uniform(0, HOUR_S - 30, tracklet[-1] + 1))
    frame = ((begin[tracklet] + np.arange(count) % TRACKLET * 0.8) * FPS).astype(np.int64)
    start = START + timedelta(seconds=HOUR_S * (file // CAMERAS))
    height = rng.uniform(90, 300, count)
    person = (file * 7919 + tracklet) % 50_000
    regions = 0 if facts.regions is None else len(facts.regions)
    columns = {
        "crop_id": ids,
        "source": ["footage"] * count,
        "input": [name] * count,
        "frame": frame,
        "time": [start + timedelta(seconds=number / FPS) for number in frame.tolist()],
        "offset_s": frame / FPS,
        "camera": [camera_of(file)] * count,
        "tracklet": [f"{file:06x}{number:014x}" for number in tracklet.tolist()],
        "x": rng.uniform(0, FRAME[0] - 160, count),
        "y": rng.uniform(0, FRAME[1] - 310, count),
        "w": height / 2,
        "h": height,
        "frame_width": [FRAME[0]] * count,
        "frame_height": [FRAME[1]] * count,
        "score": rng.uniform(0.5, 1, count),
        "quality": rng.uniform(0, 1, count),
        "dhash": rng.integers(-(2**63), 2**63 - 1, count),
        "pid": [pid + 1 if pid % KNOWN == 0 else None for pid in person.tolist()],
        "image": [add_comment(images[pid % IMAGES], crop) for pid, crop in zip(person.tolist(), ids, strict=True)],
        **feature_columns(
            random_descriptors(facts, count, rng),
            random_probabilities(facts, tracklet, rng),
            random_areas(regions, count, rng),
        ),
    }
    schema = crop_schema(sum(facts.blocks))
    return pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def add_comment(jpeg: bytes, text: str) -> bytes:
    """Return the same JPEG with a comment after its first marker."""
    return jpeg[:2] + b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text.encode() + jpeg[2:]


def random_descriptors(facts: ModelFacts, count: int, rng: np.random.Generator) -> Descriptors:
    vectors = rng.standard_normal((count, sum(facts.blocks)), np.float32)
    visible = rng.random((count, facts.parts)) < 0.9
    first = 0
    for number, length in enumerate(facts.blocks):
        block = vectors[:, first : first + length]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        part = number - (len(facts.blocks) - facts.parts)
        if part >= 0:
            block *= visible[:, part : part + 1]
        first += length
    return Descriptors(vectors=vectors, visible=visible, always=facts.always)


def random_probabilities(
    facts: ModelFacts, tracklet: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return probabilities (N, M): those of the tracklet with noise for each crop."""
    assert facts.attributes is not None
    schema = facts.attributes
    logits_of_tracklet = 2 * rng.standard_normal((tracklet[-1] + 1, schema.classes)).astype(np.float32)
    logits = logits_of_tracklet[tracklet] + 0.5 * rng.standard_normal((len(tracklet), schema.classes), np.float32)
    for name in schema.names:
        part = logits[:, schema.slice(name)]
        np.exp(part - part.max(axis=1, keepdims=True), out=part)
        part /= part.sum(axis=1, keepdims=True)
    return logits


def random_areas(regions: int, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    shares = rng.random((count, regions), np.float32)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--crops", type=int, default=1_000_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    build_store(arguments.store, arguments.crops)
    size = sum(path.stat().st_size for path in arguments.store.rglob("*") if path.is_file())
    print(f"{arguments.crops} crops, {size / 1e9:.1f} GB, in {time.perf_counter() - started:.0f} s: {arguments.store}")


if __name__ == "__main__":
    main()
