from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from vestigo.evaluation.metrics.bootstrap import Difference, compare_means
from vestigo.promotion.gate import Margins, decide_promotion, select_significant

pytestmark = pytest.mark.slow


def difference(gain: float, error: float, identities: int = 100) -> Difference:
    """A difference whose draws were normal, with this standard error."""
    from scipy.stats import norm

    chance = max(2 / 2001, float(2 * norm.sf(abs(gain) / error))) if error else 1.0
    half = 1.96 * error
    return Difference(difference=gain, low=gain - half, high=gain + half, chance=chance, identities=identities)


def test_gain_without_loss_is_promoted() -> None:
    verdict = decide_promotion({"mAP": difference(4.0, 0.5), "hat": difference(-0.4, 0.5), "bag": difference(0.1, 0.3)})
    assert verdict.promoted
    assert (verdict.improved, verdict.worsened) == (("mAP",), ())
    assert verdict.reasons == ("mAP: +4.0 points (95 % +3.0 to +5.0 on 100 identities), better beyond chance among 3",)


def test_loss_beyond_margin_is_refused_with_reason() -> None:
    hat = Difference(difference=-7.3, low=-9.1, high=-5.2, chance=0.001, identities=40)
    verdict = decide_promotion({"mAP": difference(4.0, 0.5), "hat": hat})
    assert not verdict.promoted
    assert (verdict.improved, verdict.worsened) == (("mAP",), ("hat",))
    assert verdict.reasons[0] == "hat: -7.3 points (95 % -9.1 to -5.2 on 40 identities), beyond the margin of 1.0"
    assert decide_promotion({"mAP": difference(4.0, 0.5), "hat": hat}, Margins(attributes=8.0)).promoted
    assert not decide_promotion({"mAP": difference(4.0, 0.5), "hat": hat}, Margins(mAP=8.0)).promoted
    assert not decide_promotion({"mAP": difference(-4.0, 0.5), "hat": difference(9.0, 1.0)}).promoted
    assert asdict(verdict) == {
        "promoted": False,
        "reasons": verdict.reasons,
        "improved": ("mAP",),
        "worsened": ("hat",),
    }


def test_candidate_without_gain_is_refused() -> None:
    for gains in ({"mAP": difference(0.4, 0.3)}, {"mAP": difference(-0.4, 0.3)}, {"mAP": None}, {}):
        verdict = decide_promotion(gains)
        assert not verdict.promoted
        assert "nothing improved" in verdict.reasons[0]
    assert decide_promotion({"mAP": difference(0.4, 0.3)}).reasons == (
        "nothing improved beyond chance: the largest gain is mAP: +0.4 points (95 % -0.2 to +1.0 on 100 identities)",
    )


def test_gain_without_labels_passes_unless_a_measure_is_worse() -> None:
    gain = "silhouette across cameras 0.100 before, 0.200 after epoch 3"
    verdict = decide_promotion({"mAP": difference(0.1, 0.5)}, gain=gain)
    assert (verdict.promoted, verdict.improved, verdict.reasons) == (True, (), (gain,))
    assert decide_promotion({}, gain=gain).promoted
    refused = decide_promotion({"mAP": difference(0.1, 0.5), "rendered people: mAP": difference(-8.0, 0.5)}, gain=gain)
    assert not refused.promoted
    assert refused.worsened == ("rendered people: mAP",)


def test_margins_hold_in_every_test() -> None:
    margins = Margins(mAP=5.0, attributes=1.0)
    assert margins.of("own people: mAP") == margins.of("mAP") == 5.0
    assert margins.of("own people: hat") == margins.of("hat") == 1.0
    assert margins.of("rendered people: mAP") == margins.rendered


def test_significant_loss_within_margin_passes() -> None:
    assert decide_promotion({"mAP": difference(4.0, 0.5), "hat": difference(-0.8, 0.1)}).promoted


def test_chance_loss_is_reported_and_gross_loss_is_refused() -> None:
    doubtful = decide_promotion({"mAP": difference(9.0, 1.0), "hat": difference(-3.0, 2.5)})
    assert doubtful.promoted
    assert (
        "hat: -3.0 points (95 % -7.9 to +1.9 on 100 identities), beyond the margin of 1.0 but within chance"
        in (doubtful.reasons[-1])
    )
    gross = decide_promotion({"mAP": difference(9.0, 1.0), "hat": difference(-12.0, 10.0)})
    assert (gross.promoted, gross.worsened) == (False, ("hat",))


def test_measures_without_identities_are_reported() -> None:
    verdict = decide_promotion({"mAP": difference(9.0, 1.0), "hat": None})
    assert verdict.promoted
    assert verdict.reasons[-1] == "hat: not compared, as fewer than 2 identities count"


def test_more_measures_need_stronger_evidence() -> None:
    alone = {"mAP": difference(1.1, 0.5)}
    assert decide_promotion(alone).promoted
    many = {f"attribute {number}": difference(0.1, 0.5) for number in range(12)}
    assert not decide_promotion(alone | many).promoted
    unchanged = dict.fromkeys(many, difference(0.0, 0.0))
    assert decide_promotion(alone | unchanged).promoted


def test_few_identities_are_not_significant() -> None:
    assert not decide_promotion({"mAP": difference(3.0, 1.2, identities=4)}).promoted
    assert decide_promotion({"mAP": difference(3.0, 1.2, identities=40)}).promoted


def test_few_agreeing_identities_are_not_significant() -> None:
    """A sign test by hand: of 5 people all agree by chance once in 16 cases, of 6 once in 32."""
    for people, enough in ((2, False), (5, False), (6, True)):
        alike = Difference(difference=100.0, low=100.0, high=100.0, chance=0.001, identities=people)
        assert decide_promotion({"hat": alike}).promoted == enough


def test_select_significant_follows_holm() -> None:
    """p(k) <= level / (m - k + 1) for it and for all smaller ones."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        chances = {str(place): float(p) for place, p in enumerate(rng.beta(0.3, 4, rng.integers(1, 9)))}
        ordered = sorted(chances.values())
        fails = [k for k, p in enumerate(ordered) if p > 0.05 / (len(ordered) - k)]
        limit = ordered[fails[0]] if fails else 2.0
        assert select_significant(chances, 0.05) == {name for name, p in chances.items() if p < limit}


MEASURES = 8


def simulated(rng: np.random.Generator, people: int, losses: dict[int, float], *, flips: bool) -> dict[str, Difference]:
    """A candidate compared with a model that is truly as good, except for `losses` (percentage points, gains negative).

    An image is right or wrong, or has an average precision. With `flips` one person in ten changes sides as a whole,
    as attributes do, else everybody's mean moves a little.
    """
    differences: dict[str, Difference] = {}
    for number in range(MEASURES):
        loss = losses.get(number, 0.0) / 100
        if flips:
            draw = rng.random(people)
            gains = (draw < 0.05 + max(-loss, 0)).astype(float) - (draw > 0.95 - max(loss, 0))
        else:
            gains = rng.normal(-loss, 0.07, people)
        images = np.repeat(gains, 2)
        pids = np.repeat(np.arange(people), 2)
        differences[f"m{number}"] = compare_means(
            np.zeros_like(images), images, pids, seed=int(rng.integers(1 << 30)), resamples=999
        )
    return differences


@pytest.mark.parametrize(("people", "flips"), [(12, False), (40, False), (40, True), (200, True), (750, False)])
def test_equal_candidate_passes_at_most_one_time_in_twenty(people: int, flips: bool) -> None:
    rng = np.random.default_rng(people)
    trials = 30
    passed = sum(bool(decide_promotion(simulated(rng, people, {}, flips=flips)).improved) for _ in range(trials))
    # Three standard errors above 5 %.
    assert passed / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize(("people", "flips"), [(40, False), (200, True), (750, False), (750, True)])
def test_harmless_candidate_is_rarely_refused(people: int, flips: bool) -> None:
    rng = np.random.default_rng(people + 1)
    trials = 30
    refused = sum(
        bool(decide_promotion(simulated(rng, people, {0: -15.0}, flips=flips)).worsened) for _ in range(trials)
    )
    assert refused / trials <= 0.10 + 3 * np.sqrt(0.10 * 0.90 / trials)


@pytest.mark.parametrize(("people", "loss", "flips"), [(40, 7.0, False), (200, 15.0, True), (750, 2.0, False)])
def test_harmful_candidate_is_refused_despite_gains(people: int, loss: float, flips: bool) -> None:
    rng = np.random.default_rng(people + 2)
    for _ in range(20):
        verdict = decide_promotion(simulated(rng, people, {0: -20.0, 1: loss}, flips=flips))
        assert not verdict.promoted
        assert "m1" in verdict.worsened
