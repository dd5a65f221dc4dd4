"""Measure how much faster the attribute filter makes matching, and what it loses.

    OMP_NUM_THREADS=1 python benchmarks/filter.py [--crops 20000 200000] [--queries 1 64 512] [--kept 0.01 0.05 ...]

People are drawn from the attribute shares of Market-1501 (docs/method.md, section "Attribute annotations"), 20 crops
each, and predicted by a classifier that is calibrated by construction and about as accurate as table 7. Matching
computes equation 14 (3 always-present features and 5 parts) and selects the nearest `--top` crops: without the filter
of the whole gallery, with it of each query's survivors. Both alternate in one process; processor time is measured, and
the median of the rounds counts. The bound of a ratio is 1 / kept. Encoding the queries counts as matching; encoding the
gallery does not, because it is done once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.calibrate import fit_soft_filter
from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.filter import FilterCost, score_filtered
from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo_models.attribute_filter.curve import THRESHOLDS, IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.record import record_filter
from vestigo_models.attribute_filter.rule import (
    QUALITY,
    STRICT,
    conflict_penalty,
    count_conflicts,
    encode_predictions,
    survivors,
)
from vestigo_models.attribute_filter.threshold import choose_threshold
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA

PER_PERSON, CAMERAS = 20, 6
CALIBRATED, QUERIES = 400, 64
"""People that `auto` and `soft` are chosen on, and queries that the loss is measured on."""
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
    """Who is on crops, and what is compared."""

    people: IdentifiedCrops
    descriptors: Descriptors

    def __getitem__(self, rows: NDArray[np.int64]) -> Crops:
        people = self.people
        return Crops(
            people=IdentifiedCrops(
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
    for counts in SHARES.values():
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
        people=IdentifiedCrops(
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


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Share that was compared, and seconds a query with and without the filter."""

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


def hard(gallery: Crops, threshold: float, top: int) -> Match:
    words = encode_predictions(gallery.people.probabilities, SCHEMA, threshold)

    def match(query: Crops) -> float:
        kept = survivors_of(query, gallery, words, threshold)
        for row, kept_row in enumerate(kept):
            crops = gallery.descriptors[np.flatnonzero(kept_row)]
            nearest(part_visible_distance(query.descriptors[row : row + 1], crops), min(top, len(crops) - 1))
        return float(kept.mean())

    return match


def survivors_of(query: Crops, gallery: Crops, words: NDArray[np.uint64], threshold: float) -> NDArray[np.bool_]:
    ours, theirs = query.people.probabilities, gallery.people.probabilities
    conflicts = count_conflicts(encode_predictions(ours, SCHEMA, threshold), words, SCHEMA)
    return survivors(
        conflicts, lambda row, columns: conflict_penalty(ours[row : row + 1], theirs[columns], SCHEMA, threshold)[0]
    )


def soft(gallery: Crops, weight: float, threshold: float, top: int) -> Match:
    def match(query: Crops) -> float:
        ours, theirs = query.people.probabilities, gallery.people.probabilities
        distances = part_visible_distance(query.descriptors, gallery.descriptors)
        nearest(distances + weight * conflict_penalty(ours, theirs, SCHEMA, threshold), top)
        return 1.0

    return match


def speeds(given: argparse.Namespace, rng: np.random.Generator, crops: int) -> None:
    query, gallery = halves(draw(rng, crops + max(32, *given.queries), given.width), rng, crops)
    curve = measure_curve(query.people, gallery.people, SCHEMA)
    print(f"\n{crops} crops of {8 * given.width} dimensions, {gallery.descriptors.vectors.nbytes / 1e6:.0f} MB")
    print("threshold  queries     kept  with, ms  without, ms  times as fast  bound")
    for wanted in given.kept:
        threshold = float(THRESHOLDS[np.abs(curve.kept_fractions - wanted).argmin()])
        for together in given.queries:
            pool = query[np.arange(max(32, together))]
            found = timed(hard(gallery, threshold, given.top), gallery, pool, together, given.top, given.rounds)
            print(f"{threshold:9.4g}  {together:7d}  {found}", flush=True)


def losses(given: argparse.Namespace, rng: np.random.Generator, crops: int) -> None:
    """Loss against speed of the modes; `auto` and `soft` are chosen on other people."""
    others = draw(rng, CALIBRATED * PER_PERSON, given.width)
    sides = [sample(side) for side in halves(others, rng, CALIBRATED * PER_PERSON * 3 // 4)]
    record = record_filter(measure_curve(others.people, others.people, SCHEMA))
    softly = fit_soft_filter(*sides, (sides[0].probabilities, sides[1].probabilities), SCHEMA)
    query, gallery = halves(draw(rng, crops + QUERIES, given.width), rng, crops)
    pool = query[np.arange(32)]
    images = [sample(side).images for side in (query, gallery)]
    distances = part_visible_distance(query.descriptors, gallery.descriptors)
    print(f"\n{crops} crops, {QUERIES} queries, one at a time; chosen on {record.identities} other people")
    print("mode         threshold     kept     lost      mAP  times as fast")
    modes = {"strict": STRICT, "quality": QUALITY}
    modes |= {f"auto {bound:g}": choose_threshold(record, bound).threshold for bound in given.max_lost}
    for mode, threshold in modes.items():
        ours, theirs = (encode_predictions(side.people.probabilities, SCHEMA, threshold) for side in (query, gallery))
        kept = survivors_of(query, gallery, theirs, threshold)
        cost = score_filtered(distances, count_conflicts(ours, theirs, SCHEMA), kept, *images).summary()
        match = hard(gallery, threshold, given.top)
        line(mode, threshold, cost, timed(match, gallery, pool, 1, given.top, given.rounds))
    if softly is not None:
        match = soft(gallery, softly.weight, softly.threshold, given.top)
        speed = timed(match, gallery, pool, 1, given.top, given.rounds)
        penalty = conflict_penalty(query.people.probabilities, gallery.people.probabilities, SCHEMA, softly.threshold)
        everything = np.ones(distances.shape, dtype=np.bool_)
        cost = score_filtered(
            distances + np.float32(softly.weight) * penalty, np.zeros(distances.shape, np.uint8), everything, *images
        ).summary()
        line(f"soft {softly.weight:g}", softly.threshold, cost, speed)
    without = score_queries(distances, *images).summary().mAP
    print(f"{'off':11}  {'':9}  {100:6.1f} %  {0:5.2f} %  {without:7.2f}  {1:6.1f}")


def line(mode: str, threshold: float, cost: FilterCost, speed: Timed) -> None:
    kept, lost = 100 * (cost.kept_fraction or 0.0), 100 * (cost.identity_loss or 0.0)
    ratio = speed.plain / speed.filtered
    print(
        f"{mode:11}  {threshold:9.4g}  {kept:6.1f} %  {lost:5.2f} %  {cost.with_filter.mAP:7.2f}  {ratio:6.1f}",
        flush=True,
    )


def halves(everybody: Crops, rng: np.random.Generator, crops: int) -> tuple[Crops, Crops]:
    """Queries and a gallery of `crops`, of the same people."""
    chosen = rng.permutation(len(everybody.people.pids))
    return everybody[chosen[crops:]], everybody[np.sort(chosen[:crops])]


def sample(crops: Crops) -> ImageFeatures:
    return ImageFeatures(
        images=ImageSet(pids=crops.people.pids, camids=crops.people.camids),
        labels=np.full((len(crops.people.pids), len(SCHEMA)), -1),
        features=CropFeatures(
            descriptors=crops.descriptors,
            probabilities=crops.people.probabilities,
            areas=np.empty((len(crops.descriptors), 0), np.float32),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 512], help="at a time")
    parser.add_argument("--kept", type=float, nargs="+", default=[0.01, 0.05, 0.14, 0.3])
    parser.add_argument("--max-lost", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--width", type=int, default=128, help="numbers a feature; 8 features")
    parser.add_argument("--top", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for crops in given.crops:
        speeds(given, rng, crops)
    for crops in given.crops:
        losses(given, rng, crops)


if __name__ == "__main__":
    main()
