"""Modes of the filter and the effect that they state."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tests.support.filter_people import people
from vestigo_models.attribute_filter.curve import measure_curve
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration, CurveRecord, SoftRecord, record_filter
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    crops = people(MARKET, 250, 4, 0)
    return Calibration(
        temperatures={"gender": 1.5},
        filter=record_filter(measure_curve(crops, crops, MARKET)),
        soft=SoftRecord(weight=0.05, threshold=0.7, mAP=60.0, mAP_without=58.0),
        measured_on="rendered people",
    )


@pytest.mark.parametrize(
    ("text", "mode", "threshold"),
    [("strict", "strict", 0.7), ("quality", "quality", 0.95), ("0.8", "fixed", 0.8), (" Strict ", "strict", 0.7)],
)
def test_thresholds_need_no_calibration(text: str, mode: str, threshold: float) -> None:
    choice = choose_filter(FilterConfig(filter=text, filter_max_conflicts=1, filter_attributes=("hat",)), None)
    assert (choice.mode, choice.threshold, choice.names, choice.max_conflicts) == (mode, threshold, ("hat",), 1)
    assert choice.discards
    assert choice.expected is None
    assert "not measured" in choice.describe()
    assert "not guaranteed here" in choice.describe()


def test_threshold_above_one_is_off() -> None:
    off, above = (choose_filter(FilterConfig(filter=text), None) for text in ("off", "1.5"))
    assert (off.mode, off.discards, off.describe()) == ("off", False, "The filter is off.")
    assert (above.mode, above.discards, above.describe()) == ("fixed", False, "The filter is off.")


@pytest.mark.parametrize("text", ["lenient", "", "0", "-0.5", "nan", "inf", "0,7", "70%"])
def test_unknown_mode_raises_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="give off, strict, quality, auto, soft or a threshold above 0") as error:
        choose_filter(FilterConfig(filter=text), None)
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["auto", "soft"])
def test_missing_calibration_error_names_remedy(mode: str) -> None:
    for calibration in (None, Calibration(measured_on="nothing")):
        with pytest.raises(
            ConfigError, match=f"filter {mode}: the model package has no calibration.*vestigo calibrate"
        ):
            choose_filter(FilterConfig(filter=mode), calibration)


def test_auto_holds_bound_for_calibration_data(calibration: Calibration) -> None:
    choice = choose_filter(FilterConfig(filter="auto", max_lost=0.05), calibration)
    assert calibration.filter is not None
    assert choice.threshold == calibration.filter.max_lost["0.05"].threshold
    assert choice.guaranteed
    assert choice.expected is not None
    assert choice.expected.miss_rate < 0.05
    assert "at most 5 % is guaranteed for people like" in choice.describe()
    assert "not guaranteed here" in choice.describe()
    looser = choose_filter(FilterConfig(filter="auto", max_lost=0.2), calibration)
    assert looser.threshold < choice.threshold
    assert looser.expected is not None
    assert looser.expected.kept_fraction < choice.expected.kept_fraction


def test_auto_without_bound_is_off_with_reason(calibration: Calibration) -> None:
    choice = choose_filter(FilterConfig(filter="auto", max_lost=0.001), calibration)
    assert not choice.discards
    assert not choice.guaranteed
    assert "identities cannot bound a loss of 0.001" in choice.describe()


def test_fixed_threshold_has_estimate_for_measured_attributes_only(calibration: Calibration) -> None:
    known = choose_filter(FilterConfig(filter="strict"), calibration)
    assert known.expected is not None
    assert "not guaranteed here" in known.describe()
    assert f"{100 * known.expected.kept_fraction:.2g} %" in known.describe()
    assert choose_filter(FilterConfig(filter="strict", filter_attributes=("hat",)), calibration).expected is None
    assert choose_filter(FilterConfig(filter="strict", filter_max_conflicts=2), calibration).expected is None


def test_auto_with_other_attributes_raises(calibration: Calibration) -> None:
    with pytest.raises(ConfigError, match="calibrated with attributes all"):
        choose_filter(FilterConfig(filter="auto", filter_attributes=("hat",)), calibration)


def test_soft_discards_nothing(calibration: Calibration) -> None:
    choice = choose_filter(FilterConfig(filter="soft"), calibration)
    assert (choice.weight, choice.threshold, choice.discards) == (0.05, 0.7, False)
    assert "Nothing is discarded" in choice.describe()


def test_calibration_round_trips_through_json(calibration: Calibration) -> None:
    text = json.dumps(calibration.model_dump(mode="json"))
    assert Calibration.read(json.loads(text)) == calibration
    assert Calibration.read(None) is None
    assert len(text) < 10_000


def test_invalid_calibration_raises_one_line() -> None:
    with pytest.raises(ConfigError, match=r"calibration\.filter\.curve: .*calibrate the model again"):
        Calibration.read({"measured_on": "x", "filter": {"identities": 3, "max_lost": {}}})
    with pytest.raises(ConfigError, match="temperatures lie between"):
        Calibration.read({"measured_on": "x", "temperatures": {"hat": 0.0}})
    with pytest.raises(ConfigError, match=r"calibration\.measured_on"):
        Calibration.read({})


@pytest.mark.parametrize(
    ("tau", "loss", "kept"),
    [
        ((0.5, 1.01), (0.1, 0.2), (0.1, 1.0)),
        ((0.5, 0.9), (0.2, 0.0), (0.1, 1.0)),
        ((0.9, 0.5, 1.01), (0.2, 0.1, 0.0), (0.1, 0.2, 1.0)),
        ((0.5, 1.01), (0.2, 0.0), (0.1,)),
        ((0.5, 1.01), (1.2, 0.0), (0.1, 1.0)),
    ],
)
def test_invalid_curve_raises(tau: tuple[float, ...], loss: tuple[float, ...], kept: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        CurveRecord(tau=tau, loss=loss, bound=loss, kept=kept)
