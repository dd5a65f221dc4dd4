"""Measure searches of a store: plain, filtered, by conditions and cold, against what limits them.

    python benchmarks/browse_store.py STORE --crops 1000000
    python benchmarks/search.py STORE [--rounds 5] [--json FILE]

The limit of a plain search is one pass over the upper halves of the descriptors, which it reads, at the bandwidth with
which the same threads add them up. Conditions are compared with pandas on the same columns. A cold search is the
command in a new process, without a running `vestigo serve`. Rounds alternate; medians of wall and processor time are
shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vestigo.ranking.top_k import CORES
from vestigo.resolve import require_attributes, resolve_search_model
from vestigo.retrieval.bulk import crop_queries
from vestigo.retrieval.filter import FilteredScan
from vestigo.retrieval.gallery import EVERYWHERE, Gallery, Scope
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_conditions, search_query
from vestigo.store.open import Store
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_ui.cli.options import SearchedModel
from vestigo_ui.search.client import AuditedSearch, request_search
from vestigo_ui.search.request import SearchRequest

WHERE = "gender=female,backpack=yes"
TEN = 10

Work = Callable[[], Any]


def measure(works: dict[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """Call each work in each round; return the medians of wall and processor time, in milliseconds."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    # The first round warms up.
    medians = {
        name: [1e3 * statistics.median(column) for column in zip(*rows[1:], strict=True)]
        for name, rows in times.items()
    }
    return {name: {"wall_ms": wall, "processor_ms": processor} for name, (wall, processor) in medians.items()}


def add_up(gallery: Gallery) -> int:
    """Read what a plain search reads, on as many threads."""
    blocks = [block for pack in gallery.index.packs for block in pack.crops.crops.upper]
    with ThreadPoolExecutor(CORES) as pool:
        sums = pool.map(
            lambda block: int(np.bitwise_xor.reduce(block.reshape(-1)[: block.size // 4 * 4].view(np.uint64))), blocks
        )
        return sum(sums)


def measure_store(store: Store, rounds: int) -> dict[str, Any]:
    model = resolve_search_model(store)
    schema = require_attributes(model)
    gallery = Gallery.of(store, model)
    ids = [name.decode() for name in gallery.index.packs[0].ids[:TEN]]
    query = Query(crops=(ids[0],))
    people = crop_queries(store, ids)
    results: dict[str, Any] = {"crops": len(gallery.index), "numbers": sum(model.facts.blocks), "threads": CORES}
    filters = {name: FilterConfig(filter=name) for name in ("strict", "0.5", "0.8", "0.9", "0.95", "soft")}
    for name, config in filters.items():
        found = search_query(store, query, filter_config=config)
        results.setdefault("kept", {})[name] = found.kept_fraction
        results.setdefault("read", {})[name] = found.read
    works: dict[str, Work] = {
        "one pass over the bytes": lambda: add_up(gallery),
        "plain": lambda: search_query(store, query),
        **{
            f"--filter {name}": lambda config=config: search_query(store, query, filter_config=config)
            for name, config in filters.items()
        },
        "one query, ranking alone": lambda: FilteredScan.of(gallery, people.features[:1], EVERYWHERE).rank(
            people.features.descriptors[:1], 50
        ),
        "ten queries, ranking alone": lambda: FilteredScan.of(gallery, people.features, EVERYWHERE).rank(
            people.features.descriptors, 50
        ),
        "--where with a query": lambda: search_query(store, query, scope=Scope(where=WHERE)),
        "--where alone": lambda: search_conditions(store, WHERE),
    }
    results["searches"] = measure(works, rounds)
    results["where"] = measure_conditions(gallery, schema, rounds)
    return results


def measure_conditions(gallery: Gallery, schema: Any, rounds: int) -> dict[str, Any]:
    """Select by conditions in the index, and with pandas on columns of the predicted values."""
    columns: dict[str, Any] = {}
    for name in ("gender", "backpack"):
        part = schema.slice(name)
        codes = np.concatenate([pack.probabilities[:, part].argmax(axis=1) for pack in gallery.index.packs])
        columns[name] = np.array(schema[name].values, object)[codes]
    strings = pd.DataFrame(columns)
    categories = strings.astype("category")

    def select() -> int:
        return sum(map(len, gallery.select(Scope(where=WHERE), "crops")))

    def by_pandas(frame: pd.DataFrame) -> int:
        return len(np.flatnonzero((frame["gender"] == "female") & (frame["backpack"] == "yes")))

    assert select() == by_pandas(strings) == by_pandas(categories)
    works = {
        "index": select,
        "pandas, strings": lambda: by_pandas(strings),
        "pandas, categories": lambda: by_pandas(categories),
    }
    return measure(works, rounds)


def measure_cold(ref: str, crop: str, rounds: int) -> dict[str, float]:
    """Search in a new process."""
    command = [sys.executable, "-m", "vestigo_ui.cli.main", "search", crop, "--store", ref, "--json"]
    walls, processors = [], []
    for _ in range(rounds):
        before, started = os.times(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        walls.append(time.perf_counter() - started)
        processors.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"wall_ms": 1e3 * statistics.median(walls), "processor_ms": 1e3 * statistics.median(processors)}


def measure_served(ref: str, crop: str, rounds: int) -> dict[str, Any]:
    """Search through `vestigo serve`, from the request on its socket to the answer, audit entry included."""
    command = [sys.executable, "-m", "vestigo_ui.cli.main", "serve", "--store", ref, "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        status = Path(f"/proc/{server.pid}/status")
        usage = Path(f"/proc/{server.pid}/stat")

        def search(name: str = "off") -> bool:
            request = SearchRequest(crops=(crop,), searched=SearchedModel(filter=name))
            found = request_search(ref, request, AuditedSearch(), device="auto", report=lambda _: None)
            return found is not None

        def processor_s() -> float:
            user, system = usage.read_text().rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

        try:
            while not search():
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
            results: dict[str, Any] = {}
            for name in ("off", "strict", "0.8", "0.9"):
                walls, before = [], processor_s()
                for _ in range(4 * rounds):
                    started = time.perf_counter()
                    assert search(name)
                    walls.append(time.perf_counter() - started)
                used = (processor_s() - before) / len(walls)
                results[name] = {"wall_ms": 1e3 * statistics.median(walls), "processor_ms": 1e3 * used}
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            results["resident_mb"] = int(lines["VmHWM"].split()[0]) / 1024
        finally:
            server.terminate()
    return results


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with Store.open(arguments.store) as store:
        results = measure_store(store, arguments.rounds)
        crop = Gallery.of(store, resolve_search_model(store)).index.packs[0].ids[0].decode()
    results["searches"]["cold, as a command"] = measure_cold(str(arguments.store), crop, min(3, arguments.rounds))
    results["served"] = measure_served(str(arguments.store), crop, arguments.rounds)
    results["machine"] = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2))
    plain = results["searches"]["plain"]
    print(f"{results['crops']:,} crops of {results['numbers']} numbers, {results['threads']} threads")
    print(f"{'':28s} {'wall ms':>9s} {'CPU ms':>9s}  plain / this (CPU)")
    for group in ("searches", "where"):
        for name, times in results[group].items():
            ratio = "" if group == "where" else f"{plain['processor_ms'] / times['processor_ms']:8.2f}"
            kept = results["kept"].get(name.removeprefix("--filter "))
            note = "" if kept is None else f"  keeps {kept:.1%}"
            print(f"{name:28s} {times['wall_ms']:9.1f} {times['processor_ms']:9.1f}  {ratio}{note}")
    served = results["served"]
    resident = served.pop("resident_mb")
    for name, times in served.items():
        ratio = served["off"]["wall_ms"] / times["wall_ms"]
        label = "plain" if name == "off" else f"--filter {name}"
        print(f"{'serve, ' + label:28s} {times['wall_ms']:9.1f} {times['processor_ms']:9.1f}  {ratio:8.2f} (wall)")
    print(f"resident memory of the server at most {resident:.0f} MB")


if __name__ == "__main__":
    main()
