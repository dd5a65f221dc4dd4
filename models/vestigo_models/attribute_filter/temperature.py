"""Temperature scaling of attribute probabilities (docs/method.md, section "Temperature scaling").

A temperature sharpens or flattens a softmax and never changes the predicted class.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from vestigo_models.arrays import Float32Array, Float64Array, FloatArray, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema

COLDEST, HOTTEST = 0.05, 20.0
"""Range of temperatures: without it, labels that are all predicted would drive the temperature to zero."""
BINS = 15
"""Bins of the calibration error, as in Guo et al., ICML 2017."""


def fit_temperatures(
    scores: FloatArray, labels: Int64Array, schema: AttributeSchema, *, identities: Int64Array | None = None
) -> dict[str, float]:
    """Fit one temperature for each attribute by maximum likelihood; it is 1 without labels.

    The likelihood is convex in 1 / T, so one bounded search over log T finds its maximum. Scores are logits or
    log-probabilities, (N, M), which give the same temperatures, and labels class ids, (N, n), -1 if missing. If the
    identity of each image, (N,), is given, identities have equal weight, else images.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float, group: Float64Array, truth: Int64Array, weights: Float64Array) -> float:
        log_likelihood = log_softmax(group / np.exp(log_temperature), axis=1)[np.arange(len(truth)), truth]
        return -float(weights @ log_likelihood)

    temperatures = dict.fromkeys(schema.names, 1.0)
    bounds = (np.log(COLDEST), np.log(HOTTEST))
    for name, group, truth, weights in _labelled(scores, labels, schema, identities):
        if len(truth):
            best = minimize_scalar(loss, bounds=bounds, args=(group, truth, weights), method="bounded")
            # The search ends near the optimum, not on it; where 1 is as good, 1 is kept.
            if best.fun < loss(0.0, group, truth, weights):
                temperatures[name] = float(np.exp(best.x))
    return temperatures


def apply_temperatures(
    probabilities: Float32Array, temperatures: Mapping[str, float], schema: AttributeSchema
) -> Float32Array:
    """Calibrate probabilities, (N, M): p^(1/T), normalised within each attribute that has a temperature.

    Raises:
        ConfigError: If the schema has no attribute of a name.
    """
    from scipy.special import log_softmax

    calibrated = np.array(probabilities, dtype=np.float32)
    for name, temperature in temperatures.items():
        group = schema.slice(name)
        if temperature != 1:
            # A float32 softmax rounds smaller probabilities to 0.
            least = np.finfo(np.float32).tiny
            logs = np.log(np.maximum(probabilities[:, group].astype(np.float64), least))
            calibrated[:, group] = np.exp(log_softmax(logs / temperature, axis=1))
    return calibrated


def calibration_error(
    probabilities: Float32Array,
    labels: Int64Array,
    schema: AttributeSchema,
    *,
    bins: int = BINS,
    identities: Int64Array | None = None,
) -> dict[str, float | None]:
    """Compute the expected calibration error of each attribute (Guo et al., ICML 2017, equation 3).

    It is the mean gap of confidence and accuracy, a fraction; None without labels. Probabilities are (N, M); labels and
    `identities` are those of `fit_temperatures`, and `bins` have equal width.
    """
    errors: dict[str, float | None] = {}
    for name, group, truth, weights in _labelled(probabilities, labels, schema, identities):
        confidence = group.max(axis=1)
        correct = group.argmax(axis=1) == truth
        # A bin contains its upper edge, so that confidence 1 is in the last one.
        positions = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        gaps = np.bincount(positions, weights=weights * (correct - confidence), minlength=bins)
        errors[name] = float(np.abs(gaps).sum()) if len(truth) else None
    return errors


def _labelled(
    scores: FloatArray, labels: Int64Array, schema: AttributeSchema, identities: Int64Array | None
) -> Iterator[tuple[str, Float64Array, Int64Array, Float64Array]]:
    """Yield each attribute's name, and scores, class ids and weights (sum 1) of its labelled rows."""
    for position, name in enumerate(schema.names):
        rows = np.flatnonzero(labels[:, position] >= 0)
        weights: Float64Array = np.ones(len(rows))
        if identities is not None:
            _, owners, counts = np.unique(identities[rows], return_inverse=True, return_counts=True)
            weights = 1.0 / counts[owners]
        weights /= max(weights.sum(), 1.0)
        yield name, scores[rows, schema.slice(name)].astype(np.float64), labels[rows, position], weights
