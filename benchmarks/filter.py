"""Measure how much faster the attribute filter makes matching, and what it loses.

    OMP_NUM_THREADS=1 python benchmarks/filter.py [--crops 20000 200000] [--queries 1 64 512] [--kept 0.01 0.05 ...]

People are sampled with the attribute shares of Market-1501 (docs/method.md, section "Attribute annotations"), 20 crops
each, and predicted by a classifier that is calibrated by construction and about as accurate as table 7. Matching is the
ranking that a search runs: equation 14 (3 always-present features and 5 parts) and the nearest `--top` crops, of the
whole gallery without the filter, of each query's survivors with it. Both alternate in one process; processor time is
measured, and the median of the rounds is reported. The bound of a ratio is 1 / kept. Encoding the queries counts as
matching; encoding the gallery does not, because it is done once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.calibrate import fit_soft_filter
from vestigo.evaluation.filter import GalleryImages
from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.filter import FilterCost, score_filtered
from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo.ranking.screening import DistanceBlock
from vestigo.ranking.top_k import GalleryPart, rank
from vestigo.retrieval.filter import GalleryFilter, SoftFilter
from vestigo.vectors.refresh import PACK_ROWS
from vestigo_models.attribute_filter.choice import FilterChoice
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

CROPS_PER_PERSON, CAMERAS = 20, 6
CALIBRATION_PEOPLE, QUERIES = 400, 64
"""People that `auto` and `soft` are calibrated on, and queries that the loss is measured on."""
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
"""Distance of the true class's score from the others, in standard deviations: accuracies near table 7."""
SHARED_ERROR = 0.5
"""Share of a score's variance that all crops of a person have in common."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Identities, probabilities and descriptors of crops."""

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
"""Ranks the gallery for queries and returns the kept fraction."""


def sample_crops(rng: np.random.Generator, crops: int, width: int) -> Crops:
    pids = np.arange(crops) // CROPS_PER_PERSON + 1
    people = int(pids[-1])
    person = pids - 1
    groups = []
    for counts in SHARES.values():
        prior = np.array(counts) / sum(counts)
        truth = rng.choice(len(prior), people, p=prior)
        separation = COLOUR_SEPARATION if len(prior) > 4 else SEPARATION
        scores = np.sqrt(SHARED_ERROR) * rng.normal(size=(people, len(prior)))[person]
        scores += np.sqrt(1 - SHARED_ERROR) * rng.normal(size=(crops, len(prior)))
        scores[np.arange(crops), truth[person]] += separation
        posterior = prior * np.exp(separation * (scores - scores.max(axis=1, keepdims=True)))
        groups.append(posterior / posterior.sum(axis=1, keepdims=True))
    vectors = np.empty((crops, 8, width), dtype=np.float32)
    for block in range(8):
        centres = rng.normal(size=(people, width)).astype(np.float32)
        vectors[:, block] = centres[person]
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


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@dataclass(frozen=True, kw_only=True)
class MatchTimes:
    """Kept fraction, and seconds for one query with and without the filter."""

    kept: float
    filtered: float
    plain: float

    def __str__(self) -> str:
        return (
            f"{100 * self.kept:6.1f} %  {1e3 * self.filtered:9.2f}  {1e3 * self.plain:9.2f}"
            f"  {self.plain / self.filtered:6.1f}  {1 / self.kept:6.1f}"
        )


def time_matching(match: Match, gallery: Crops, pool: Crops, batch_size: int, top: int, rounds: int) -> MatchTimes:
    """Measure the matching with and without a filter, with `batch_size` queries of the pool at a time."""
    count = len(pool.people.pids)
    batches = [pool[np.arange(start, start + batch_size)] for start in range(0, count, batch_size)]
    kept: list[float] = []

    def filtered() -> None:
        kept.append(statistics.fmean(match(batch) for batch in batches))

    def unfiltered() -> None:
        for batch in batches:
            rank(batch.descriptors, parts_of(gallery), top)

    pairs = [(seconds(filtered), seconds(unfiltered)) for _ in range(rounds)]
    ours, theirs = (statistics.median(times) / count for times in zip(*pairs, strict=True))
    return MatchTimes(kept=kept[0], filtered=ours, plain=theirs)


@cache
def parts_of(gallery: Crops) -> list[GalleryPart]:
    """Return the gallery as a search reads it, in parts of a pack's size."""
    ids = np.char.zfill(np.arange(len(gallery.descriptors)).astype("S20"), 20)
    starts = range(0, len(ids), PACK_ROWS)
    return [GalleryPart.of(ids[at : at + PACK_ROWS], gallery.descriptors[at : at + PACK_ROWS]) for at in starts]


def images_of(gallery: Crops, choice: FilterChoice) -> list[GalleryImages]:
    """Return the predictions of the gallery's parts as the filter reads them."""
    probabilities = gallery.people.probabilities
    return [
        replace(GalleryImages.of(probabilities[at : at + PACK_ROWS], SCHEMA, choice), ids=part.ids)
        for at, part in zip(range(0, len(probabilities), PACK_ROWS), parts_of(gallery), strict=True)
    ]


def hard_matcher(gallery: Crops, threshold: float, top: int) -> Match:
    choice = FilterChoice(mode="fixed", threshold=threshold)
    images = images_of(gallery, choice)

    def match(query: Crops) -> float:
        decided = GalleryFilter.of(choice, SCHEMA, query.people.probabilities, lambda: images)
        pairs = zip(parts_of(gallery), images, strict=True)
        rank(query.descriptors, [replace(part, keeps=partial(decided.keeps, crops)) for part, crops in pairs], top)
        return decided.kept_fraction

    return match


def find_survivors(query: Crops, gallery: Crops, words: NDArray[np.uint64], threshold: float) -> NDArray[np.bool_]:
    ours, theirs = query.people.probabilities, gallery.people.probabilities
    conflicts = count_conflicts(encode_predictions(ours, SCHEMA, threshold), words, SCHEMA)
    return survivors(
        conflicts, lambda row, columns: conflict_penalty(ours[row : row + 1], theirs[columns], SCHEMA, threshold)[0]
    )


def soft_matcher(gallery: Crops, weight: float, threshold: float, top: int) -> Match:
    choice = FilterChoice(mode="soft", threshold=threshold, weight=weight)
    images = images_of(gallery, choice)

    def match(query: Crops) -> float:
        soft = SoftFilter(choice=choice, schema=SCHEMA, probabilities=query.people.probabilities)
        pairs = zip(parts_of(gallery), images, strict=True)
        parts = [replace(part, added=partial(soft.added_distances, crops)) for part, crops in pairs]
        rank(query.descriptors, parts, top)
        return 1.0

    return match


def print_speeds(arguments: argparse.Namespace, rng: np.random.Generator, crops: int) -> None:
    query, gallery = split_crops(sample_crops(rng, crops + max(32, *arguments.queries), arguments.width), rng, crops)
    curve = measure_curve(query.people, gallery.people, SCHEMA)
    print(f"\n{crops} crops of {8 * arguments.width} dimensions, {gallery.descriptors.vectors.nbytes / 1e6:.0f} MB")
    print("threshold  queries     kept  with, ms  without, ms  times as fast  bound")
    for kept_fraction in arguments.kept:
        threshold = float(THRESHOLDS[np.abs(curve.kept_fractions - kept_fraction).argmin()])
        for batch_size in arguments.queries:
            pool = query[np.arange(max(32, batch_size))]
            match = hard_matcher(gallery, threshold, arguments.top)
            times = time_matching(match, gallery, pool, batch_size, arguments.top, arguments.rounds)
            print(f"{threshold:9.4g}  {batch_size:7d}  {times}", flush=True)


def print_losses(arguments: argparse.Namespace, rng: np.random.Generator, crops: int) -> None:
    """Print the loss and the speed of every mode; `auto` and `soft` are calibrated on other people."""
    others = sample_crops(rng, CALIBRATION_PEOPLE * CROPS_PER_PERSON, arguments.width)
    sides = [image_features(side) for side in split_crops(others, rng, CALIBRATION_PEOPLE * CROPS_PER_PERSON * 3 // 4)]
    record = record_filter(measure_curve(others.people, others.people, SCHEMA))
    soft = fit_soft_filter(*sides, tuple(side.features.probabilities for side in sides), SCHEMA)
    query, gallery = split_crops(sample_crops(rng, crops + QUERIES, arguments.width), rng, crops)
    pool = query[np.arange(32)]
    images = [image_features(side).images for side in (query, gallery)]
    distances = DistanceBlock.of(part_visible_distance(query.descriptors, gallery.descriptors))
    print(f"\n{crops} crops, {QUERIES} queries, one at a time; calibrated on {record.identities} other people")
    print("mode         threshold     kept     lost      mAP  times as fast")
    modes = {"strict": STRICT, "quality": QUALITY}
    modes |= {f"auto {bound:g}": choose_threshold(record, bound).threshold for bound in arguments.max_lost}
    for mode, threshold in modes.items():
        ours, theirs = (encode_predictions(side.people.probabilities, SCHEMA, threshold) for side in (query, gallery))
        kept = find_survivors(query, gallery, theirs, threshold)
        cost = score_filtered(distances, count_conflicts(ours, theirs, SCHEMA), kept, *images).summary()
        match = hard_matcher(gallery, threshold, arguments.top)
        print_line(mode, threshold, cost, time_matching(match, gallery, pool, 1, arguments.top, arguments.rounds))
    if soft is not None:
        match = soft_matcher(gallery, soft.weight, soft.threshold, arguments.top)
        times = time_matching(match, gallery, pool, 1, arguments.top, arguments.rounds)
        penalty = conflict_penalty(query.people.probabilities, gallery.people.probabilities, SCHEMA, soft.threshold)
        all_kept = np.ones(penalty.shape, dtype=np.bool_)
        changed = distances.combined(1.0, soft.weight * penalty.astype(np.float64))
        cost = score_filtered(changed, np.zeros(penalty.shape, np.uint8), all_kept, *images).summary()
        print_line(f"soft {soft.weight:g}", soft.threshold, cost, times)
    unfiltered_map = score_queries(distances, *images).summary().mAP
    print(f"{'off':11}  {'':9}  {100:6.1f} %  {0:5.2f} %  {unfiltered_map:7.2f}  {1:6.1f}")


def print_line(mode: str, threshold: float, cost: FilterCost, times: MatchTimes) -> None:
    kept, lost = 100 * (cost.kept_fraction or 0.0), 100 * (cost.identity_loss or 0.0)
    ratio = times.plain / times.filtered
    print(
        f"{mode:11}  {threshold:9.4g}  {kept:6.1f} %  {lost:5.2f} %  {cost.with_filter.mAP:7.2f}  {ratio:6.1f}",
        flush=True,
    )


def split_crops(crops: Crops, rng: np.random.Generator, gallery_size: int) -> tuple[Crops, Crops]:
    """Return queries and a gallery of `gallery_size` crops of the same people."""
    order = rng.permutation(len(crops.people.pids))
    return crops[order[gallery_size:]], crops[np.sort(order[:gallery_size])]


def image_features(crops: Crops) -> ImageFeatures:
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
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    for crops in arguments.crops:
        print_speeds(arguments, rng, crops)
    for crops in arguments.crops:
        print_losses(arguments, rng, crops)


if __name__ == "__main__":
    main()
