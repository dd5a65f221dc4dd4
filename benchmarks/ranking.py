"""Streaming ranking compared with the plain peer: the full distance matrix in NumPy and a sort of it.

    python benchmarks/ranking.py [--crops 100000] [--dim 512] [--queries 1 64 512] [--top 50]

Both sides rank the same embeddings in the same process, alternating; the median of the rounds is shown. The bound is
the time to read the embeddings once at the bandwidth that a copy of them reaches; no ranking that reads every crop can
be faster. Peak memory excludes the embeddings.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vestigo.ranking.top_k import GalleryPart, rank
from vestigo_models.inference.distance import Descriptors

BATCH = 16384


def random_unit_vectors(rng: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    vectors = rng.normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def descriptors(vectors: NDArray[np.float32]) -> Descriptors:
    return Descriptors(vectors=vectors, visible=np.empty((len(vectors), 0), np.bool_), always=1)


def cut(ids: NDArray[np.bytes_], gallery: Descriptors) -> list[GalleryPart]:
    """Return the gallery in halves, as the vector index has it."""
    starts = range(0, len(gallery), BATCH)
    return [GalleryPart.of(ids[start : start + BATCH], gallery[start : start + BATCH]) for start in starts]


def sort_distances(queries: NDArray[np.float32], gallery: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    return np.argsort(1.0 - queries @ gallery.T, axis=1, kind="stable")[:, :top]


def measure_seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_memory_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--top", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    gallery = random_unit_vectors(rng, arguments.crops, arguments.dim)
    ids = np.array([f"{number:020x}" for number in range(arguments.crops)], "S20")
    parts = cut(ids, descriptors(gallery))
    copy = min(measure_seconds(gallery.copy) for _ in range(arguments.rounds))
    # A copy reads every byte and writes it.
    bound = copy / 2
    print(f"{arguments.crops} crops of {arguments.dim} dimensions, {gallery.nbytes / 1e6:.0f} MB, top {arguments.top}")
    print(f"bound: {gallery.nbytes / bound / 1e9:.1f} GB/s, {1e3 * bound:.1f} ms a pass")
    print("queries  streaming ms  plain ms  ratio  of bound  streaming MB  plain MB")
    for count in arguments.queries:
        queries = random_unit_vectors(rng, count, arguments.dim)

        def streaming(queries: NDArray[np.float32] = queries) -> object:
            return rank(descriptors(queries), parts, arguments.top)

        def peer(queries: NDArray[np.float32] = queries) -> object:
            return sort_distances(queries, gallery, arguments.top)

        rounds = [(measure_seconds(streaming), measure_seconds(peer)) for _ in range(arguments.rounds)]
        ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(
            f"{count:7d}  {1e3 * ours:12.1f}  {1e3 * theirs:8.1f}  {ours / theirs:5.2f}  {bound / ours:8.2f}"
            f"  {peak_memory_mb(streaming):12.1f}  {peak_memory_mb(peer):8.1f}"
        )


if __name__ == "__main__":
    main()
