"""The browse index of a large store: times of building and querying it, compared with the store without it.

    python benchmarks/browse_store.py STORE [--crops 1000000]
    python benchmarks/browse.py STORE [--rounds 9]

Each query runs `--rounds` times, with arguments sampled anew outside the clock; the median of time and of CPU
time, all threads together, and the slowest are shown. The peer answers a question from the store alone, once, after
all questions, so that peak memory is the index's.
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


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def make(store: Store) -> BrowseIndex:
    for path in index_path(store).parent.glob(f"{index_path(store).name}*"):
        path.unlink()
    before = peak_mb()
    index = BrowseIndex.open(store)
    wall, cpu = (ms / 1e3 for ms in timed(lambda _: index.refresh(), None))
    size = sum(path.stat().st_size for path in index_path(store).parent.glob(f"{index_path(store).name}*"))
    print(
        f"made in {wall:.1f} s, {cpu:.1f} s of CPU; {size / 1e6:.0f} MB; peak memory {before:.0f}, {peak_mb():.0f} MB"
    )
    return index


@dataclass(frozen=True)
class Question:
    """What a page asks with arguments that `draw` gives; `peer` answers it without an index."""

    name: str
    ask: Callable[[Any], object]
    draw: Callable[[], Any] = lambda: None
    peer: Callable[[Any], object] | None = None


class Draws:
    """Arguments of questions."""

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
        found = self.index.page(self.model.digest, ALL_SIGHTINGS, offset=self.offset(), limit=limit)
        return [one.crop for one in found]


def questions(store: Store, index: BrowseIndex) -> list[Question]:
    draws, peers = Draws(store, index), Peers(store)
    model, names = draws.model.digest, index.attribute_counts(draws.model.digest).keys()
    return [
        Question("refresh with nothing new", lambda _: index.refresh()),
        Question("pending", lambda _: index.pending()),
        Question("snapshot", lambda _: index.snapshot),
        Question("cameras", lambda _: index.cameras(model), peer=peers.cameras),
        Question("presence by 10 minutes", lambda _: index.presence(model, 600), peer=peers.presence),
        Question("count of all", lambda _: index.count(model)),
        Question("count where", lambda choice: index.count(model, choice), draws.where, peers.count_where),
        Question("page of all", lambda at: index.page(model, ALL_SIGHTINGS, offset=at, limit=PAGE), draws.offset),
        Question("page of a camera's hour", lambda choice: index.page(model, choice, offset=0, limit=PAGE), draws.hour),
        Question("page where", lambda it: index.page(model, it[0], offset=it[1], limit=PAGE), draws.middle),
        Question(
            "page of a person", lambda pid: index.page(model, SightingFilter(pid=pid), offset=0, limit=PAGE), draws.pid
        ),
        Question("attribute counts", lambda _: index.attribute_counts(model)),
        Question("attribute counts where", lambda choice: index.attribute_counts(model, choice), draws.where),
        Question("find", lambda ids: index.find(ids[0], model), draws.crops),
        Question("neighbours", lambda ids: index.neighbours(ids[0], model), draws.crops),
        Question("pids of 48", lambda ids: index.pids(ids, model), draws.crops),
        Question("confidence histograms", lambda _: index.confidence_histograms(model)),
        Question(
            "page of the least sure",
            lambda choice: index.by_confidence(model, choice, next(iter(names)), first="least", offset=0, limit=PAGE),
            draws.where,
        ),
        Question("48 crops anywhere", lambda ids: index.rows(ids, CARD, model=model), draws.crops, peers.crops),
        Question("their embeddings", lambda ids: index.rows(ids, ("embedding",), model=model), draws.crops),
        Question("48 crops of a page", lambda ids: index.rows(ids, CARD, model=model), draws.same_page),
    ]


class Peers:
    """The same answers from the store alone."""

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
    given = parser.parse_args()
    with Store.open(given.store, create=False) as store, make(store) as index:
        queries = questions(store, index)
        times = {question.name: np.array([asking(question) for _ in range(given.rounds)]) for question in queries}
        print(f"peak memory after {len(queries)} queries {peak_mb():.0f} MB")
        print(f"{'question':26} median ms   CPU ms  slowest ms    peer ms")
        for question in queries:
            (wall, cpu), slowest = np.median(times[question.name], axis=0), times[question.name][:, 0].max()
            peer = "" if question.peer is None else f"{timed(question.peer, question.draw())[0]:10.0f}"
            print(f"{question.name:26} {wall:9.1f} {cpu:8.1f} {slowest:11.1f} {peer}", flush=True)


def asking(question: Question) -> tuple[float, float]:
    return timed(question.ask, question.draw())


def timed(ask: Callable[[Any], object], drawn: Any) -> tuple[float, float]:
    """Milliseconds by the clock and of CPU."""
    cpu, started = time.process_time(), time.perf_counter()
    ask(drawn)
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - cpu)


if __name__ == "__main__":
    main()
