"""Matching behind the attribute filter beside matching without it, and what the filter loses for its speed.

    OMP_NUM_THREADS=1 python benchmarks/filter.py [--crops 20000 200000] [--queries 1 64 512] [--kept 0.01 0.05 0.14 0.3]

People are drawn from the attribute shares of Market-1501 (specification, section 2.3), 20 crops each, and predicted by a
classifier that is calibrated by construction and about as accurate as table 7. Both sides get the same descriptors
(equation 14, 3 features that are always present and 5 parts) in the same process and give the nearest `--top` crops,
alternating; the median of the rounds counts. The peer is one matrix product over the whole gallery and the same choice
of the nearest. The bound of a ratio is 1 / kept. Every query's own encoding counts as matching, grouping the gallery
does not: that is done once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation import ImageSet, score_queries
from vestigo_models.distance import Descriptors, part_visible_distance
from vestigo_models.filter_choice import choose_threshold
from vestigo_models.filter_curve import OFF, TAUS, People, measure_curve
from vestigo_models.filter_matching import FilteredGallery
from vestigo_models.filter_record import record_filter
from vestigo_models.gallery_filter import STRICT, conflict_penalty
from vestigo_models.schemas import MARKET_1501 as SCHEMA

PER_PERSON, CAMERAS = 20, 6
SHARES: dict[str, tuple[int, ...]] = {
    "gender": (414, 336),
    "age": (2, 640, 103, 5),
    "hair": (475, 275),
    "sleeve": (45, 705),
    "lower_length": (262, 488),
    "lower_type": (85, 665),
    "backpack": (563, 187),
    "handbag": (674, 76),
    "bag": (565, 185),
    "hat": (727, 23),
    "upper_colour": (109, 208, 76, 24, 106, 52, 45, 61),
    "lower_colour": (287, 50, 20, 126, 154, 20, 48, 2, 1),
}
"""Identities of Market-1501's test half with each value."""
SEPARATION, COLOUR_SEPARATION = 2.2, 2.8
"""Distance of the right class's score from the others, in standard deviations: accuracies near table 7."""
SHARED_ERROR = 0.5
"""Share of a score's variance that all crops of a person have in common."""


@dataclass(frozen=True, kw_only=True)
class Crops:
    people: People
    descriptors: Descriptors

    def __getitem__(self, rows: NDArray[np.int64]) -> Crops:
        people = self.people
        return Crops(
            people=People(
                pids=people.pids[rows], camids=people.camids[rows], probabilities=people.probabilities[rows]
            ),
            descriptors=Descriptors(
                vectors=self.descriptors.vectors[rows], visible=self.descriptors.visible[rows], always=3
            ),
        )


Match = Callable[[Crops], float]
"""Ranks for some queries; returns the share of the gallery that was compared."""


def draw(rng: np.random.Generator, crops: int, width: int) -> Crops:
    pids = np.arange(crops) // PER_PERSON + 1
    persons = int(pids[-1])
    who = pids - 1
    groups = []
    for name, counts in SHARES.items():
        prior = np.array(counts) / sum(counts)
        truth = rng.choice(len(prior), persons, p=prior)
        apart = COLOUR_SEPARATION if len(prior) > 4 else SEPARATION
        scores = np.sqrt(SHARED_ERROR) * rng.normal(size=(persons, len(prior)))[who]
        scores += np.sqrt(1 - SHARED_ERROR) * rng.normal(size=(crops, len(prior)))
        scores[np.arange(crops), truth[who]] += apart
        posterior = prior * np.exp(apart * (scores - scores.max(axis=1, keepdims=True)))
        groups.append(posterior / posterior.sum(axis=1, keepdims=True))
    vectors = np.empty((crops, 8, width), dtype=np.float32)
    for block in range(8):
        centres = rng.normal(size=(persons, width)).astype(np.float32)
        vectors[:, block] = centres[who]
        vectors[:, block] += 2.5 * rng.standard_normal((crops, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    visible = rng.random((crops, 5)) < 0.7
    vectors[:, 3:] *= visible[..., None]
    return Crops(
        people=People(
            pids=pids,
            camids=rng.integers(0, CAMERAS, crops),
            probabilities=np.concatenate(groups, axis=1).astype(np.float32),
        ),
        descriptors=Descriptors(vectors=vectors.reshape(crops, -1), visible=visible, always=3),
    )


def nearest(distances: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    found = np.argpartition(distances, top, axis=1)[:, :top]
    order = np.argsort(np.take_along_axis(distances, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def mean_ap(distances: NDArray[np.floating], query: People, gallery: People) -> float:
    images = [ImageSet(pids=people.pids, camids=people.camids) for people in (query, gallery)]
    return score_queries(distances, *images).summary().mAP or 0.0


@dataclass(frozen=True, kw_only=True)
class Timed:
    kept: float
    filtered: float
    plain: float

    def __str__(self) -> str:
        return (
            f"{100 * self.kept:6.1f} %  {1e3 * self.filtered:9.2f}  {1e3 * self.plain:9.2f}"
            f"  {self.plain / self.filtered:6.1f}  {1 / self.kept:6.1f}"
        )


def timed(match: Match, gallery: Crops, pool: Crops, together: int, top: int, rounds: int) -> Timed:
    """Seconds a query with and without a filter, the queries of the pool `together` at a time."""
    count = len(pool.people.pids)
    batches = [pool[np.arange(start, start + together)] for start in range(0, count, together)]
    kept: list[float] = []

    def filtered() -> None:
        kept.append(statistics.fmean(match(batch) for batch in batches))

    def plain() -> None:
        for batch in batches:
            nearest(part_visible_distance(batch.descriptors, gallery.descriptors), top)

    pairs = [(seconds(filtered), seconds(plain)) for _ in range(rounds)]
    ours, theirs = (statistics.median(times) / count for times in zip(*pairs, strict=True))
    return Timed(kept=kept[0], filtered=ours, plain=theirs)


def hard(grouped: FilteredGallery, top: int) -> Match:
    def match(query: Crops) -> float:
        found = grouped.match(query.descriptors, query.people.probabilities, top)
        return float(found.kept.mean()) / len(grouped.words)

    return match


def soft(gallery: Crops, weight: float, threshold: float, top: int) -> Match:
    def match(query: Crops) -> float:
        ours, theirs = query.people.probabilities, gallery.people.probabilities
        distances = part_visible_distance(query.descriptors, gallery.descriptors)
        nearest(distances + weight * conflict_penalty(ours, theirs, SCHEMA, threshold), top)
        return 1.0

    return match


def group(gallery: Crops, threshold: float) -> FilteredGallery:
    return FilteredGallery.of(gallery.descriptors, gallery.people.probabilities, SCHEMA, threshold)


def speeds(given: argparse.Namespace, rng: np.random.Generator, crops: int) -> None:
    everybody = draw(rng, crops + max(32, *given.queries), given.width)
    chosen = rng.permutation(len(everybody.people.pids))
    query, gallery = everybody[chosen[crops:]], everybody[np.sort(chosen[:crops])]
    del everybody
    curve = measure_curve(query.people, gallery.people, SCHEMA)
    print(f"\n{crops} crops of {8 * given.width} dimensions, {gallery.descriptors.vectors.nbytes / 1e6:.0f} MB")
    print("threshold  words  queries     kept  with, ms  without, ms  times as fast  bound")
    for wanted in given.kept:
        threshold = float(TAUS[np.abs(curve.kept - wanted).argmin()])
        grouped = group(gallery, threshold)
        for together in given.queries:
            pool = query[np.arange(max(32, together))]
            found = timed(hard(grouped, given.top), gallery, pool, together, given.top, given.rounds)
            print(f"{threshold:9.4g}  {len(grouped.words.words):5d}  {together:7d}  {found}", flush=True)
        del grouped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 512], help="at a time")
    parser.add_argument("--kept", type=float, nargs="+", default=[0.01, 0.05, 0.14, 0.3])
    parser.add_argument("--width", type=int, default=128, help="numbers a feature; 8 features")
    parser.add_argument("--top", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for crops in given.crops:
        speeds(given, rng, crops)


if __name__ == "__main__":
    main()
