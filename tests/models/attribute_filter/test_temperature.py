"""Temperature scaling agrees with its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vestigo_models.attribute_filter.temperature import (
    COLDEST,
    HOTTEST,
    apply_temperatures,
    calibration_error,
    fit_temperatures,
)
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET

SMALL = AttributeSchema.from_dict(
    {
        "name": "small",
        "attributes": [
            {"name": "hat", "values": ["no", "yes"]},
            {"name": "colour", "values": ["red", "blue", "green"], "fields": ["red", "blue", "green"]},
        ],
    }
)


def softmax(logits: np.ndarray, schema: AttributeSchema) -> np.ndarray:
    groups = [
        np.exp(logits[:, schema.slice(n)] - logits[:, schema.slice(n)].max(1, keepdims=True)) for n in schema.names
    ]
    return np.concatenate([g / g.sum(1, keepdims=True) for g in groups], axis=1).astype(np.float32)


def overconfident(schema: AttributeSchema, count: int, seed: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times those the labels were drawn from: the right temperature is `factor`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, schema.classes)) * 2
    probabilities = softmax(logits, schema)
    labels = np.stack(
        [
            [rng.choice(len(row), p=row / row.sum()) for row in probabilities[:, schema.slice(name)].astype(float)]
            for name in schema.names
        ],
        axis=1,
    )
    labels[rng.random(labels.shape) < 0.1] = -1
    return logits * factor, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_fit_recovers_known_temperature(factor: float) -> None:
    logits, labels = overconfident(SMALL, 4000, 0, factor)
    temperatures = fit_temperatures(logits, labels, SMALL)
    assert list(temperatures) == ["hat", "colour"]
    assert list(temperatures.values()) == pytest.approx([factor, factor], rel=0.12)


def test_logits_and_log_probabilities_give_same_temperatures() -> None:
    logits, labels = overconfident(MARKET, 300, 1, 2.0)
    logs = np.log(softmax(logits, MARKET).astype(float))
    first, second = (fit_temperatures(scores, labels, MARKET) for scores in (logits, logs))
    assert list(first.values()) == pytest.approx(list(second.values()), rel=1e-3)


def test_calibration_raises_likelihood_and_keeps_predictions() -> None:
    logits, labels = overconfident(MARKET, 500, 2, 2.5)
    raw = softmax(logits, MARKET)
    calibrated = apply_temperatures(raw, fit_temperatures(logits, labels, MARKET), MARKET)
    errors = [calibration_error(p, labels, MARKET) for p in (raw, calibrated)]
    for position, name in enumerate(MARKET.names):
        place = MARKET.slice(name)
        assert errors[1][name] < errors[0][name]
        np.testing.assert_array_equal(calibrated[:, place].argmax(1), raw[:, place].argmax(1))
        np.testing.assert_allclose(calibrated[:, place].sum(1), 1, atol=1e-6)
        rows = np.flatnonzero(labels[:, position] >= 0)
        before, after = (
            sum(-math.log(float(p[row, place][labels[row, position]])) for row in rows) for p in (raw, calibrated)
        )
        assert after < before


def test_identities_have_equal_weight() -> None:
    """One identity of 900 images whose logits are far too hot, 30 of 10 images whose logits are right."""
    hot, hot_labels = overconfident(SMALL, 900, 3, 4.0)
    fine, fine_labels = overconfident(SMALL, 300, 4, 1.0)
    logits, labels = np.concatenate([hot, fine]), np.concatenate([hot_labels, fine_labels])
    identities = np.concatenate([np.zeros(900, dtype=np.int64), 1 + np.arange(300) // 10])
    by_image = fit_temperatures(logits, labels, SMALL)
    by_identity = fit_temperatures(logits, labels, SMALL, identities=identities)
    assert all(by_image[name] > by_identity[name] + 0.5 for name in SMALL.names)


def test_attribute_without_labels_keeps_temperature_one() -> None:
    logits, labels = overconfident(SMALL, 50, 5, 2.0)
    labels[:, 0] = -1
    assert fit_temperatures(logits, labels, SMALL)["hat"] == 1.0
    assert calibration_error(softmax(logits, SMALL), labels, SMALL)["hat"] is None


def test_temperature_of_perfect_classifier_is_bounded() -> None:
    logits = np.tile([[5.0, 0.0, 5.0, 0.0, 0.0]], (20, 1))
    temperatures = fit_temperatures(logits, np.zeros((20, 2), dtype=np.int64), SMALL)
    assert all(COLDEST <= temperature <= HOTTEST for temperature in temperatures.values())


def test_temperature_keeps_certainty_and_other_attributes() -> None:
    raw = np.array([[1.0, 0.0, 0.2, 0.3, 0.5]], dtype=np.float32)
    scaled = apply_temperatures(raw, {"hat": 3.0}, SMALL)
    assert scaled[0, 0] == pytest.approx(1.0)
    np.testing.assert_array_equal(scaled[0, 2:], raw[0, 2:])
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        apply_temperatures(raw, {"shoes": 2.0}, SMALL)


def test_calibration_error_agrees_with_hand_computation() -> None:
    """Two bins of ten: confidence 0.9 right in one of two, 0.6 right in two of two."""
    hat = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    probabilities = np.concatenate([hat, np.tile([[1.0, 0.0, 0.0]], (4, 1))], axis=1).astype(np.float32)
    labels = np.array([[0, 0], [0, 0], [0, 0], [1, 0]])
    errors = calibration_error(probabilities, labels, SMALL, bins=10)
    assert errors["hat"] == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6), abs=1e-6)
    assert errors["colour"] == pytest.approx(0.0, abs=1e-6)
