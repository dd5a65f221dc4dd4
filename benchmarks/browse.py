"""The browse index of a large store: times of building and querying it, compared with the store without it.

    python benchmarks/browse_store.py STORE [--crops 1000000]
    python benchmarks/browse.py STORE [--rounds 9]

Each query runs `--rounds` times, with arguments sampled anew outside the clock; the median of time and of CPU
time, all threads together, and the slowest are shown. The peer computes a query from the store alone, once, after
all queries, so that peak memory is that of the index.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vestigo.resolve import resolve_review_model
from vestigo.sightings.database import index_path
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS, SightingFilter
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix

PAGE = 48
CARD = ("crop_id", "camera", "time", "image")


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def build_index(store: Store) -> BrowseIndex:
    for path in index_path(store.ref).parent.glob(f"{index_path(store.ref).name}*"):
        path.unlink()
    before = peak_memory_mb()
    index = BrowseIndex.open(store)
    wall, cpu = (ms / 1e3 for ms in time_call(lambda _: index.refresh(), None))
    size = sum(path.stat().st_size for path in index_path(store.ref).parent.glob(f"{index_path(store.ref).name}*"))
    print(
        f"built in {wall:.1f} s, {cpu:.1f} s of CPU; {size / 1e6:.0f} MB;"
        f" peak memory {before:.0f}, {peak_memory_mb():.0f} MB"
    )
    return index


@dataclass(frozen=True)
class Query:
    """A query of a page: `run` takes the arguments that `sample` returns; `peer` computes it without an index."""

    name: str
    run: Callable[[Any], object]
    sample: Callable[[], Any] = lambda: None
    peer: Callable[[Any], object] | None = None


class ArgumentSampler:
    """Random arguments of queries."""

    def __init__(self, store: Store, index: BrowseIndex) -> None:
        self.model = resolve_review_model(store)
        self.index = index
        self.rng = np.random.default_rng(0)
        self.cameras = index.cameras(self.model.digest)
        self.sightings = index.count(self.model.digest)

    def crops(self) -> list[str]:
        return [self._page(1)[0] for _ in range(PAGE)]

    def same_page(self) -> list[str]:
        return self._page(PAGE)

    def offset(self) -> int:
        return int(self.rng.integers(self.sightings - PAGE))

    def pid(self) -> int:
        return 1 + 4 * int(self.rng.integers(12_500))

    def where(self) -> SightingFilter:
        schema = self.model.facts.attributes
        assert schema is not None
        names = self.rng.choice(schema.names, 2, replace=False)
        return SightingFilter(where=",".join(f"{name}={self.rng.choice(schema[name].values)}" for name in names))

    def hour(self) -> SightingFilter:
        camera = self.cameras[int(self.rng.integers(len(self.cameras)))]
        assert camera.first is not None
        return SightingFilter(cameras=(camera.name,), since=camera.first, until=camera.first + timedelta(hours=1))

    def middle(self) -> tuple[SightingFilter, int]:
        choice = self.where()
        return choice, self.index.count(self.model.digest, choice) // 2

    def _page(self, limit: int) -> list[str]:
        page = self.index.page(self.model.digest, ALL_SIGHTINGS, offset=self.offset(), limit=limit)
        return [sighting.crop for sighting in page]


def list_queries(store: Store, index: BrowseIndex) -> list[Query]:
    sampler, peers = ArgumentSampler(store, index), Peers(store)
    model, names = sampler.model.digest, index.attribute_counts(sampler.model.digest).keys()
    return [
        Query("refresh with nothing new", lambda _: index.refresh()),
        Query("pending", lambda _: index.pending()),
        Query("snapshot", lambda _: index.snapshot),
        Query("cameras", lambda _: index.cameras(model), peer=peers.cameras),
        Query("presence by 10 minutes", lambda _: index.presence(model, 600), peer=peers.presence),
        Query("count of all", lambda _: index.count(model)),
        Query("count where", lambda choice: index.count(model, choice), sampler.where, peers.count_where),
        Query("page of all", lambda at: index.page(model, ALL_SIGHTINGS, offset=at, limit=PAGE), sampler.offset),
        Query("page of a camera's hour", lambda choice: index.page(model, choice, offset=0, limit=PAGE), sampler.hour),
        Query("page where", lambda pair: index.page(model, pair[0], offset=pair[1], limit=PAGE), sampler.middle),
        Query(
            "page of a person",
            lambda pid: index.page(model, SightingFilter(pid=pid), offset=0, limit=PAGE),
            sampler.pid,
        ),
        Query("attribute counts", lambda _: index.attribute_counts(model)),
        Query("attribute counts where", lambda choice: index.attribute_counts(model, choice), sampler.where),
        Query("find", lambda ids: index.find(ids[0], model), sampler.crops),
        Query("neighbours", lambda ids: index.neighbours(ids[0], model), sampler.crops),
        Query("pids of 48", lambda ids: index.pids(ids, model), sampler.crops),
        Query("confidence histograms", lambda _: index.confidence_histograms(model)),
        Query(
            "page of the least sure",
            lambda choice: index.by_confidence(model, choice, next(iter(names)), first="least", offset=0, limit=PAGE),
            sampler.where,
        ),
        Query("48 crops anywhere", lambda ids: index.rows(ids, CARD, model=model), sampler.crops, peers.crops),
        Query("their embeddings", lambda ids: index.rows(ids, ("embedding",), model=model), sampler.crops),
        Query("48 crops of a page", lambda ids: index.rows(ids, CARD, model=model), sampler.same_page),
    ]


class Peers:
    """The same queries, computed from the store alone."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.model = resolve_review_model(store)

    def cameras(self, _: object) -> object:
        counts: Counter[str] = Counter()
        for batch in self.store.crops.scan(["camera", "time"], model=self.model.digest):
            counts.update(batch.column("camera").to_pylist())
        return counts

    def presence(self, _: object) -> object:
        counts: Counter[Any] = Counter()
        for batch in self.store.crops.scan(["camera", "time"], model=self.model.digest):
            starts = batch.column("time").cast("int64").to_numpy() // 600_000_000
            counts.update(zip(batch.column("camera").to_pylist(), starts.tolist(), strict=True))
        return counts

    def count_where(self, choice: SightingFilter) -> object:
        schema = self.model.facts.attributes
        assert schema is not None
        sums: dict[tuple[str, str], Any] = {}
        for batch in self.store.crops.scan(["source", "tracklet", "attributes"], model=self.model.digest):
            names = zip(batch.column("source").to_pylist(), batch.column("tracklet").to_pylist(), strict=True)
            for name, row in zip(names, matrix(batch.column("attributes")), strict=True):
                sums[name] = sums[name] + row if name in sums else row
        table = np.array(list(sums.values()))
        meets = np.ones(len(table), bool)
        for name, value in schema.parse(choice.where).items():
            meets &= table[:, schema.slice(name)].argmax(axis=1) == schema[name].values.index(value)
        return int(meets.sum())

    def crops(self, ids: list[str]) -> object:
        return self.store.crops.get(ids, CARD, model=self.model.digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with Store.open(arguments.store, create=False) as store, build_index(store) as index:
        queries = list_queries(store, index)
        times = {query.name: np.array([time_query(query) for _ in range(arguments.rounds)]) for query in queries}
        print(f"peak memory after {len(queries)} queries {peak_memory_mb():.0f} MB")
        print(f"{'query':26} median ms   CPU ms  slowest ms    peer ms")
        for query in queries:
            (wall, cpu), slowest = np.median(times[query.name], axis=0), times[query.name][:, 0].max()
            peer = "" if query.peer is None else f"{time_call(query.peer, query.sample())[0]:10.0f}"
            print(f"{query.name:26} {wall:9.1f} {cpu:8.1f} {slowest:11.1f} {peer}", flush=True)


def time_query(query: Query) -> tuple[float, float]:
    return time_call(query.run, query.sample())


def time_call(run: Callable[[Any], object], argument: Any) -> tuple[float, float]:
    """Return milliseconds of wall time and of CPU time."""
    cpu, started = time.process_time(), time.perf_counter()
    run(argument)
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - cpu)


if __name__ == "__main__":
    main()
