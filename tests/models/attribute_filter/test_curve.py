"""The filter's curve agrees with the rule, and conformal risk control holds its bound."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.filter_people import people
from vestigo_models.attribute_filter.curve import (
    OFF,
    THRESHOLDS,
    FilterCurve,
    IdentifiedCrops,
    measure_curve,
    pair_limits,
    true_pairs,
)
from vestigo_models.attribute_filter.record import CurveRecord, FilterRecord, record_filter
from vestigo_models.attribute_filter.rule import count_conflicts, encode_predictions, survivors
from vestigo_models.attribute_filter.threshold import choose_threshold, estimate_filter
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.builtin import DUKEMTMC_REID as DUKE
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET

SOME_TAUS = (0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0, 1.01)


@pytest.mark.parametrize("max_conflicts", [0, 1, 2, 12])
@pytest.mark.parametrize("names", [(), ("gender", "upper_colour", "hat")])
def test_pair_limits_agree_with_filter_at_every_threshold(max_conflicts: int, names: tuple[str, ...]) -> None:
    query, gallery = people(MARKET, 8, 3, 0), people(MARKET, 8, 5, 1)
    rows, columns = (index.reshape(-1) for index in np.indices((24, 40)))
    limits = pair_limits(query, gallery, rows, columns, MARKET, names=names, max_conflicts=max_conflicts)
    for tau in (*SOME_TAUS, *np.unique(limits)[:20].tolist()):
        if tau == 0:
            continue
        words = [encode_predictions(side.probabilities, MARKET, tau, names) for side in (query, gallery)]
        discarded = count_conflicts(*words, MARKET) > max_conflicts
        np.testing.assert_array_equal(limits.reshape(24, 40) >= np.float32(tau), discarded)


@pytest.mark.parametrize("max_conflicts", [0, 1])
def test_curve_agrees_with_naive_loop(max_conflicts: int) -> None:
    query, gallery = people(DUKE, 9, 3, 2), people(DUKE, 9, 6, 3)
    query.pids[:2] = 0
    gallery.pids[5:9] = (0, -1, 0, -1)
    taus = np.array(SOME_TAUS)
    curve = measure_curve(query, gallery, DUKE, max_conflicts=max_conflicts, thresholds=taus)
    for at, tau in enumerate(SOME_TAUS):
        words = [encode_predictions(side.probabilities, DUKE, tau) for side in (query, gallery)]
        discarded = count_conflicts(*words, DUKE) > max_conflicts
        losses: dict[int, list[float]] = {}
        strangers = []
        for q, pid in enumerate(query.pids.tolist()):
            if pid < 1:
                continue
            true = [
                g for g in range(len(gallery.pids)) if gallery.pids[g] == pid and gallery.camids[g] != query.camids[q]
            ]
            if true:
                losses.setdefault(pid, []).append(sum(discarded[q, g] for g in true) / len(true))
            strangers += [not discarded[q, g] for g, other in enumerate(gallery.pids) if other not in (pid, -1)]
        assert curve.pids.tolist() == sorted(losses)
        expected = [sum(losses[pid]) / len(losses[pid]) for pid in sorted(losses)]
        assert curve.miss_rates[:, at].tolist() == pytest.approx(expected, abs=1e-12)
        # 200,000 pairs drawn with replacement: three standard errors are below 0.004.
        assert curve.kept_fractions[at] == pytest.approx(sum(strangers) / len(strangers), abs=0.004)


def test_curve_is_monotonic() -> None:
    crops = people(MARKET, 40, 6, 4)
    curve = measure_curve(crops, crops, MARKET)
    assert (np.diff(THRESHOLDS) > 0).all()
    assert curve.thresholds[-1] == OFF
    assert (np.diff(curve.miss_rates, axis=1) <= 0).all()
    assert (np.diff(curve.kept_fractions) >= 0).all()
    assert not curve.miss_rates[:, -1].any()
    assert curve.kept_fractions[-1] == 1
    assert curve.miss_rates[:, 0].max() > 0.3


def test_returning_crops_only_lower_miss_rate() -> None:
    """The real filter leaves at least 50 crops of a gallery; the curve counts as if it did not."""
    crops = people(MARKET, 30, 6, 5)
    curve = measure_curve(crops, crops, MARKET, thresholds=np.array([0.6, OFF]))
    words = encode_predictions(crops.probabilities, MARKET, 0.6)
    kept = survivors(count_conflicts(words, words, MARKET))
    rows, columns = true_pairs(crops, crops)
    lost = ~kept[rows, columns]
    shares = [lost[rows == row].mean() for row in np.unique(rows)]
    owners = crops.pids[np.unique(rows)]
    real = np.array([np.mean([s for s, o in zip(shares, owners, strict=True) if o == pid]) for pid in curve.pids])
    assert (real <= curve.miss_rates[:, 0] + 1e-12).all()
    assert real.sum() < curve.miss_rates[:, 0].sum()


@pytest.mark.parametrize("max_lost", [0.02, 0.05, 0.1])
def test_mean_miss_rate_stays_below_bound(max_lost: float) -> None:
    """400 random halvings: calibrate on one half, measure the loss on the other."""
    crops = people(MARKET, 300, 6, 6)
    whole = measure_curve(crops, crops, MARKET)
    rng = np.random.default_rng(0)
    lost, chosen = [], []
    for _ in range(400):
        order = rng.permutation(len(whole.pids))
        ours, others = order[:150], order[150:]
        half = FilterCurve(
            thresholds=whole.thresholds,
            miss_rates=whole.miss_rates[ours],
            pids=whole.pids[ours],
            kept_fractions=whole.kept_fractions,
        )
        at = record_filter(half).curve.find_threshold(max_lost)
        chosen.append(whole.thresholds[at])
        lost.append(whole.miss_rates[others, at].mean())
    assert np.mean(lost) <= max_lost
    # And not for free: the promise is used, not undercut by a filter that is off.
    assert np.mean(lost) > 0.4 * max_lost
    assert max(chosen) <= 1


def test_few_identities_switch_filter_off() -> None:
    certain = people(MARKET, 99, 4, 7, certainty=40.0, cameras=1000)
    assert not measure_curve(certain, certain, MARKET).miss_rates.any()
    record = record_filter(measure_curve(certain, certain, MARKET))
    choice = choose_threshold(record, 0.01)
    assert choice.threshold > 1
    assert not choice.guaranteed
    assert choice.expected.kept_fraction == 1
    assert "99 identities" in choice.reason
    assert "at least 100" in choice.reason
    more = people(MARKET, 100, 4, 8, certainty=40.0, cameras=1000)
    enough = choose_threshold(record_filter(measure_curve(more, more, MARKET)), 0.01)
    assert enough.guaranteed
    assert enough.threshold == THRESHOLDS[0]
    assert enough.reason == ""


def test_unreachable_bound_switches_filter_off_with_reason() -> None:
    record = CurveRecord(tau=(0.5, 1.0, 1.01), loss=(0.5, 0.3, 0.0), bound=(0.5, 0.3, 0.005), kept=(0.1, 0.2, 1.0))
    choice = choose_threshold(FilterRecord(identities=200, max_lost={}, curve=record), 0.1)
    assert (choice.threshold, choice.expected.miss_rate, choice.expected.kept_fraction, choice.guaranteed) == (
        1.01,
        0.0,
        1.0,
        False,
    )
    assert "allow a larger loss" in choice.reason


@pytest.mark.parametrize("max_lost", [0.0, 1.0, -0.1, float("nan")])
def test_bound_outside_zero_to_one_raises(max_lost: float) -> None:
    crops = people(MARKET, 20, 4, 9)
    record = record_filter(measure_curve(crops, crops, MARKET))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        choose_threshold(record, max_lost)


def test_record_gives_threshold_for_any_bound() -> None:
    crops = people(MARKET, 200, 5, 10)
    curve = measure_curve(crops, crops, MARKET)
    record = record_filter(curve)
    n = len(curve.pids)
    for max_lost in (0.01, 0.013, 0.02, 0.05, 0.2):
        choice = choose_threshold(record, max_lost)
        expected = OFF
        for at in range(len(curve.thresholds) - 1):
            if (sum(curve.miss_rates[:, at]) + 1) / (n + 1) < max_lost:
                expected = curve.thresholds[at]
                break
        assert choice.threshold == pytest.approx(expected, abs=1e-9)
        assert choice.bound < max_lost
        assert choice.expected.identities == n
    assert set(record.max_lost) == {"0.01", "0.02", "0.05"}
    assert record.max_lost["0.05"].threshold == choose_threshold(record, 0.05).threshold


def test_estimate_between_thresholds_takes_larger_values() -> None:
    curve = CurveRecord(tau=(0.5, 0.9, 1.01), loss=(0.4, 0.1, 0.0), bound=(0.4, 0.1, 0.0), kept=(0.1, 0.3, 1.0))
    record = FilterRecord(identities=10, max_lost={}, curve=curve)

    def cost(tau: float) -> tuple[float, float]:
        estimate = estimate_filter(record, tau)
        return estimate.miss_rate, estimate.kept_fraction

    assert cost(0.9) == (0.1, 0.3)
    assert cost(0.7) == (0.4, 0.3)
    assert cost(0.2) == (0.4, 0.1)
    assert cost(1.0) == (0.1, 1.0)
    assert cost(5.0) == (0.0, 1.0)


def test_missing_pairs_raise() -> None:
    crops = people(MARKET, 3, 2, 11, cameras=1)
    with pytest.raises(ConfigError, match="no query has a true match on another camera"):
        measure_curve(crops, crops, MARKET)
    alone = people(MARKET, 1, 8, 12)
    with pytest.raises(ConfigError, match="show one person only"):
        measure_curve(alone, alone, MARKET)


def test_true_pairs_agree_with_naive_loop() -> None:
    rng = np.random.default_rng(0)
    sides = [
        IdentifiedCrops(
            pids=rng.integers(-1, 5, n), camids=rng.integers(0, 2, n), probabilities=np.empty((n, 0), np.float32)
        )
        for n in (15, 30)
    ]
    query, gallery = sides
    expected = [
        (q, g)
        for q in range(15)
        for g in range(30)
        if query.pids[q] > 0 and query.pids[q] == gallery.pids[g] and query.camids[q] != gallery.camids[g]
    ]
    pairs = true_pairs(query, gallery)
    assert sorted(zip(*(side.tolist() for side in pairs), strict=True)) == expected
