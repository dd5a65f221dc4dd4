"""Crops per second of a Ray run with 2 CPU actors, compared with two plain processes, start-up excluded.

Both do the same work on the same crops with one thread of arithmetic each: read, decode, embed, write Parquet. The
Ray side also plans, schedules and commits to the catalogue. With `bare` the plain processes only
read, decode and embed. The rounds alternate, so that drift of the machine affects both.

    python benchmarks/ray_throughput.py [--crops 4000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
import numpy as np
import torch

from vestigo.ingest.shards import ImageShard, plan_shards, shard_to_json
from vestigo.ingest.sources.discover import discover
from vestigo.store.open import Store
from vestigo.store.runs.records import ShardTask
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.tracking.config import TrackingConfig
from vestigo_workers.executors.ray import RayExecutor
from vestigo_workers.indexing.plan import shard_plan
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.worker import ExtractionWorker
from vestigo_workers.runs.driver import drive

SHARD = 256


def write_crops(folder: Path, count: int) -> None:
    folder.mkdir()
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 255, (16, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i:06d}.jpg"), cv2.resize(noise, (64, 128), interpolation=cv2.INTER_CUBIC))


def shards_of(folder: Path) -> list[ImageShard]:
    items = discover(folder)
    planned = plan_shards(items, shard_size=SHARD, slice_s=30.0, tracking=TrackingConfig())  # type: ignore[arg-type]
    return [shard for shard in planned if isinstance(shard, ImageShard)]


def factory(data: str) -> Callable[[], ExtractionWorker]:
    model = str(resolve_model("default"))
    request = IndexRequest(sources=("crops",), model=model, detector="none", device="cpu", batch_size=32)
    return partial(ExtractionWorker, data, request)


def plain_process(data: str, shards: list[ImageShard], bare: bool, barrier: Barrier) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    worker = factory(data)()
    extractor = Extractor(ModelPackage.from_pretrained(resolve_model("default")), batch_size=32)
    extractor.extract([np.zeros((128, 64, 3), np.uint8)])
    tasks = [
        ShardTask(
            index, "plain", "images", "crops", None, {"shard": shard_to_json(shard)}, 0, ("",) * len(shard.inputs)
        )
        for index, shard in enumerate(shards)
    ]
    barrier.wait()
    for shard, task in zip(shards, tasks, strict=True):
        if bare:
            paths = [Path(item.locator.path) for item in shard.inputs]
            for i in range(0, len(paths), 32):
                extractor.extract([read_image(path) for path in paths[i : i + 32]])
        else:
            worker.process(task)
    barrier.wait()


def time_plain(folder: Path, bare: bool) -> float:
    shards = shards_of(folder)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as data:
        barrier = context.Barrier(3)
        processes = [context.Process(target=plain_process, args=(data, shards[i::2], bare, barrier)) for i in range(2)]
        for process in processes:
            process.start()
        barrier.wait()
        begin = time.perf_counter()
        barrier.wait()
        seconds = time.perf_counter() - begin
        for process in processes:
            process.join()
    return seconds


def time_ray(folder: Path) -> float:
    with tempfile.TemporaryDirectory() as place, Store.open(place) as store:
        store.models.register("m" * 64, name="default", location="")
        run = store.runs.create(fingerprint="f" * 64, config={}, model="m" * 64, command="{}")
        store.shards.plan(run.id, (shard_plan("crops", shard) for shard in shards_of(folder)))
        executor = RayExecutor(factory(store.data), actors=2)
        begin = time.perf_counter()
        ended: list[float] = []
        drive(store, run.id, lambda: executor, lambda *_: ended.append(time.perf_counter()))
        assert store.check().intact
        return ended[-1] - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "crops"
        write_crops(folder, arguments.crops)
        rounds = []
        for _ in range(arguments.rounds):
            ray, plain, bare = time_ray(folder), time_plain(folder, bare=False), time_plain(folder, bare=True)
            rates = {name: arguments.crops / s for name, s in (("ray", ray), ("plain", plain), ("bare", bare))}
            rounds.append(rates)
            print(json.dumps({name: round(rate, 1) for name, rate in rates.items()}), flush=True)
    for peer in ("plain", "bare"):
        ratio = statistics.median(rates["ray"] / rates[peer] for rates in rounds)
        print(f"ray / {peer}: {ratio:.3f} (median of {len(rounds)} rounds)")


if __name__ == "__main__":
    main()
