"""Retrieval metrics and re-ranking compared with torchreid: processor time, memory and scores.

    python benchmarks/evaluation.py [--torchreid CHECKOUT --torchreid-python PYTHON] [--rerank] [--rounds 3]

Drawn features of the size of Market-1501 are scored by `vestigo score`, as users do, and by torchreid's compiled
evaluation, in rounds that alternate; medians of processor time of whole processes, with start and distances, and of
the steps alone. The bound is the one matrix product of all features that distances cost. torchreid is a checkout of
github.com/KaiyangZhou/deep-person-reid with `torchreid/metrics/rank_cylib` compiled, its Python one with torch, NumPy
and Cython.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo.evaluation.ranking import EvaluationOptions, evaluation_distances

QUERIES, GALLERY, IDENTITIES, CAMERAS, DIM = 3368, 15913, 750, 6, 512
"""Images and identities of Market-1501's test split, and numbers of a feature."""
NOISE = 2.5
PEER = Path(__file__).with_name("torchreid_evaluation.py")
Sides = dict[str, NDArray[Any]]
RUN_MEASURED = """
import json, resource, subprocess, sys
print(subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode())
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([use.ru_utime + use.ru_stime, use.ru_maxrss / 2**20]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchreid", type=Path, help="checkout of torchreid")
    parser.add_argument("--torchreid-python", type=Path, help="Python of torchreid's environment")
    parser.add_argument("--rerank", action="store_true", help="measure k-reciprocal re-ranking")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--gallery", type=int, default=GALLERY)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file that the results are written to")
    arguments = parser.parse_args()
    sides = drawn_features(np.random.default_rng(0), arguments.queries, arguments.gallery)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(sides, features := Path(folder) / "features.parquet")
        np.savez(arrays := Path(folder) / "features.npz", **sides)
        for _ in range(arguments.rounds):
            rows["matrix product"].append({"cpu_s": product_seconds(sides)})
            flags = ["--rerank"] if arguments.rerank else []
            command = [sys.executable, "-m", "vestigo_ui.cli.main", "score", features, "--json", *flags]
            result, cost = measured(command)
            steps = {} if arguments.rerank else step_seconds(sides)
            rows["vestigo score"].append(cost | steps | {"mAP": result["mAP"], "rank1": result["cmc"]["1"]})
            if arguments.torchreid:
                how = "rerank" if arguments.rerank else "cosine"
                result, cost = measured([arguments.torchreid_python, PEER, arrays, arguments.torchreid, how])
                rows["torchreid"].append(cost | result)
    medians = {
        name: {key: statistics.median(row[key] for row in each) for key in each[0]} for name, each in rows.items()
    }
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__}
    report = {"queries": arguments.queries, "gallery": arguments.gallery, "dim": DIM, **machine, "medians": medians}
    for name, values in medians.items():
        print(f"{name:15s}", "  ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if arguments.torchreid:
        ours, peer = medians["vestigo score"], medians["torchreid"]
        for key in ("cpu_s", "metrics_s"):
            if key in ours:
                print(f"torchreid / Vestigo, {key}: {peer[key] / ours[key]:.1f}")
        print(f"difference in mAP: {ours['mAP'] - peer['mAP']:+.7f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def drawn_features(rng: np.random.Generator, queries: int, gallery: int) -> Sides:
    """Draw identities, cameras and features around a centre for each identity; identity 0 has none."""
    centres = rng.normal(size=(IDENTITIES + 1, DIM)).astype(np.float32)
    centres[0] = 0
    sides: Sides = {}
    for name, count, first in (("query", queries, 1), ("gallery", gallery, 0)):
        pids = rng.integers(first, IDENTITIES + 1, count)
        sides[name] = centres[pids] + NOISE * rng.normal(size=(count, DIM)).astype(np.float32)
        sides |= {f"{name}_pids": pids, f"{name}_camids": rng.integers(0, CAMERAS, count)}
    return sides


def write_parquet(sides: Sides, path: Path) -> None:
    vectors = np.concatenate([sides["query"], sides["gallery"]])
    columns = {
        "pid": np.concatenate([sides["query_pids"], sides["gallery_pids"]]),
        "camid": np.concatenate([sides["query_camids"], sides["gallery_camids"]]),
        "split": np.repeat(["query", "gallery"], [len(sides["query"]), len(sides["gallery"])]),
        "embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIM),
    }
    pq.write_table(pa.table(columns), path)


def product_seconds(sides: Sides) -> float:
    started = time.process_time()
    sides["query"] @ sides["gallery"].T
    return time.process_time() - started


def step_seconds(sides: Sides) -> dict[str, float]:
    """Return the processor time of distances, and of the metrics on them."""
    query, gallery = (
        ImageSet(pids=sides[f"{name}_pids"], camids=sides[f"{name}_camids"]) for name in ("query", "gallery")
    )
    started = time.process_time()
    blocks = list(evaluation_distances(sides["query"], sides["gallery"], EvaluationOptions()))
    between = time.process_time()
    start = 0
    for block in blocks:
        score_queries(block, query[start : start + len(block)], gallery)
        start += len(block)
    return {"distances_s": between - started, "metrics_s": time.process_time() - between}


def measured(command: list[Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a command; return what it printed, and its processor time, with children, and peak memory."""
    # Of a process of its own, as the children of this one are counted together.
    done = subprocess.run([sys.executable, "-c", RUN_MEASURED, *map(str, command)], capture_output=True, check=True)
    lines = done.stdout.decode().strip().splitlines()
    seconds, memory = json.loads(lines[-1])
    return json.loads("\n".join(lines[:-1])), {"cpu_s": seconds, "peak_gib": memory}


if __name__ == "__main__":
    main()
