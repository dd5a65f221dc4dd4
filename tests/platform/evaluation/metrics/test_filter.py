"""The cost of a filter and the calibration of a package against naive loops."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.filter_people import people
from vestigo.evaluation.calibrate import calibrate, fit_soft_filter
from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.filter import FilterScores, filtered_distances, score_filtered
from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo.ranking.screening import DistanceBlock
from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import conflict_penalty, count_conflicts, encode_predictions, survivors
from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, ImageSet, ImageSet]:
    rng = np.random.default_rng(seed)

    def images(count: int) -> ImageSet:
        return ImageSet(pids=rng.integers(-1, 7, count), camids=rng.integers(0, 3, count))

    distances = rng.integers(0, 9, (25, 70)) / 4
    clashes = rng.integers(0, 3, (25, 70))
    kept = (clashes == 0) | (rng.random((25, 70)) < 0.1)
    return distances, clashes, kept, images(25), images(70)


@pytest.mark.parametrize("seed", range(4))
def test_cost_equals_loop(seed: int) -> None:
    distances, clashes, kept, query, gallery = drawn(seed)
    summary = score_filtered(DistanceBlock.of(distances), clashes, kept, query, gallery).summary()
    compared = stay = matches = lost = 0
    aps, shares = [], {}
    for q, (pid, camera) in enumerate(zip(query.pids.tolist(), query.camids.tolist(), strict=True)):
        others = [
            g
            for g in range(70)
            if gallery.pids[g] != -1 and not (gallery.pids[g] == pid and gallery.camids[g] == camera)
        ]
        compared += len(others)
        stay += sum(kept[q, g] for g in others)
        true = [g for g in others if gallery.pids[g] == pid]
        if pid < 1 or not true:
            continue
        matches += len(true)
        missing = sum(not kept[q, g] for g in true)
        lost += missing
        shares.setdefault(pid, []).append(missing / len(true))
        ranked = sorted((g for g in others if kept[q, g]), key=lambda g, q=q: (distances[q, g], g))
        ranked += sorted((g for g in others if not kept[q, g]), key=lambda g, q=q: (clashes[q, g], g))
        hits = [rank for rank, g in enumerate(ranked, start=1) if g in true]
        aps.append(sum(number / rank for number, rank in enumerate(hits, start=1)) / len(true))
    assert summary.kept_fraction == pytest.approx(stay / compared)
    assert summary.true_matches_lost == pytest.approx(lost / matches)
    means = [sum(values) / len(values) for values in shares.values()]
    assert summary.identity_loss == pytest.approx(sum(means) / len(means))
    assert summary.with_filter.mAP == pytest.approx(100 * sum(aps) / len(aps))
    assert summary.without == score_queries(distances, query, gallery).summary()


def test_filter_that_keeps_everything_changes_no_score() -> None:
    distances, clashes, _, query, gallery = drawn(5)
    summary = score_filtered(
        DistanceBlock.of(distances), clashes, np.ones_like(clashes, dtype=bool), query, gallery
    ).summary()
    assert summary.kept_fraction == 1
    assert summary.true_matches_lost == 0
    assert summary.with_filter == summary.without


def test_cost_does_not_depend_on_splitting() -> None:
    distances, clashes, kept, query, gallery = drawn(6)
    whole = score_filtered(DistanceBlock.of(distances), clashes, kept, query, gallery).summary()
    parts = [
        score_filtered(DistanceBlock.of(distances[rows]), clashes[rows], kept[rows], query[rows], gallery)
        for rows in np.array_split(np.random.default_rng(0).permutation(25), 6)
    ]
    assert FilterScores.merge(parts).summary() == whole
    nothing = FilterScores.merge([]).summary()
    assert (nothing.kept_fraction, nothing.true_matches_lost, nothing.identity_loss) == (None, None, None)


def test_discarded_images_rank_behind_kept_images() -> None:
    distances = DistanceBlock.of(np.array([[7.0, 0.1, 0.2, 0.3]]))
    filtered = filtered_distances(distances, np.array([[0, 2, 1, 1]]), np.array([[True, False, False, False]]))
    for ranked in (filtered.rough, filtered.dense()):
        assert np.argsort(ranked[0], kind="stable").tolist() == [0, 2, 3, 1]


def sample(identities: int, crops: int, seed: int, *, labelled: bool = True) -> ImageFeatures:
    """Overconfident predictions, whose truth they were drawn from; descriptors that tell people apart, a little."""
    who = people(MARKET, identities, crops, seed)
    rng = np.random.default_rng(seed + 1)
    labels = np.stack(
        [
            np.array([group[who.pids == pid].mean(axis=0).argmax() for pid in range(1, identities + 1)])[who.pids - 1]
            for group in (who.probabilities[:, MARKET.slice(name)] for name in MARKET.names)
        ],
        axis=1,
    )
    vectors = rng.normal(size=(identities, 24))[who.pids - 1] + 1.8 * rng.normal(size=(len(who.pids), 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return ImageFeatures(
        images=ImageSet(pids=who.pids, camids=who.camids),
        labels=labels if labelled else np.full_like(labels, -1),
        features=CropFeatures(
            descriptors=Descriptors(vectors=vectors, visible=np.zeros((len(vectors), 0), dtype=bool), always=1),
            probabilities=apply_temperatures(who.probabilities, dict.fromkeys(MARKET.names, 0.4), MARKET),
            areas=np.empty((len(vectors), 0), np.float32),
        ),
    )


@pytest.fixture(scope="module")
def measured() -> tuple[ImageFeatures, Calibration]:
    crops = sample(180, 4, 0)
    return crops, calibrate(crops, crops, MARKET, "drawn people", seed=1)


def test_calibration_supports_every_filter_mode(measured: tuple[ImageFeatures, Calibration]) -> None:
    crops, calibration = measured
    assert Calibration.read(json.loads(calibration.model_dump_json())) == calibration
    assert calibration.filter is not None
    assert calibration.filter.identities <= 120
    cooler = apply_temperatures(crops.features.probabilities, calibration.temperatures, MARKET)
    for position, name in enumerate(MARKET.names):
        rows = np.flatnonzero(crops.labels[:, position] >= 0)
        before, after = (
            -np.log(p[:, MARKET.slice(name)][rows, crops.labels[rows, position]]).mean()
            for p in (crops.features.probabilities, cooler)
        )
        assert after < before
    auto = choose_filter(FilterConfig(filter="auto", max_lost=0.05), calibration)
    assert auto.discards
    soft = choose_filter(FilterConfig(filter="soft"), calibration)
    assert soft.weight > 0


def test_soft_weight_has_best_map_of_grid(measured: tuple[ImageFeatures, Calibration]) -> None:
    crops, calibration = measured
    assert calibration.soft is not None
    calibrated = apply_temperatures(crops.features.probabilities, calibration.temperatures, MARKET)
    distances = part_visible_distance(crops.features.descriptors, crops.features.descriptors)
    rows = np.sort(np.random.default_rng(1).permutation(len(crops.images))[:500])

    def reached(weight: float, threshold: float) -> float:
        penalty = conflict_penalty(calibrated[rows], calibrated, MARKET, threshold)
        changed = distances[rows] + np.float32(weight) * penalty
        return score_queries(changed, crops.images[rows], crops.images).summary().mAP

    assert calibration.soft.mAP == pytest.approx(reached(calibration.soft.weight, calibration.soft.threshold), abs=1e-6)
    assert calibration.soft.mAP_without == pytest.approx(reached(0.0, 1.0), abs=1e-6)
    assert calibration.soft.mAP > calibration.soft.mAP_without + 1
    for weight, threshold in ((0.005, 0.5), (0.2, 0.9)):
        assert calibration.soft.mAP >= reached(weight, threshold)


def test_measured_miss_rate_is_that_of_filter(measured: tuple[ImageFeatures, Calibration]) -> None:
    """On the people that the curve was measured on, up to the crops that come back."""
    crops, calibration = measured
    assert calibration.filter is not None
    auto = choose_filter(FilterConfig(filter="auto", max_lost=0.05), calibration)
    p = apply_temperatures(crops.features.probabilities, calibration.temperatures, MARKET)
    words = encode_predictions(p, MARKET, auto.threshold)
    counts = count_conflicts(words, words, MARKET)
    penalties = conflict_penalty(p, p, MARKET, auto.threshold)
    kept = survivors(counts, lambda row, columns: penalties[row, columns])
    cost = score_filtered(
        DistanceBlock.of(part_visible_distance(crops.features.descriptors, crops.features.descriptors)),
        counts,
        kept,
        crops.images,
        crops.images,
    ).summary()
    assert cost.identity_loss is not None
    assert cost.identity_loss < 0.05


def test_no_identity_fits_temperatures_without_labels() -> None:
    crops = sample(30, 4, 3, labelled=False)
    calibration = calibrate(crops, crops, MARKET, "drawn people")
    assert set(calibration.temperatures.values()) == {1.0}
    assert calibration.filter is not None
    assert calibration.filter.identities > 25
    assert calibration.filter.max_lost["0.01"].threshold == OFF


def test_calibration_without_identities_is_rejected() -> None:
    crops = sample(6, 3, 4)
    alone = ImageFeatures(
        images=ImageSet(pids=crops.images.pids, camids=np.zeros(18, dtype=np.int64)),
        labels=crops.labels,
        features=crops.features,
    )
    with pytest.raises(ConfigError, match="no query has a true match"):
        calibrate(alone, alone, MARKET, "one camera")
    assert fit_soft_filter(alone, alone, (alone.features.probabilities,) * 2, MARKET) is None
