"""Calibrated attribute probabilities: one temperature an attribute (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017), and how far confidence and accuracy are apart.

A temperature sharpens or flattens a softmax and never changes which class is likeliest, so accuracy stays and only a
threshold on confidence gets its meaning. Symbols: N crops, n attributes, M classes of all attributes together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures are looked for in between: where every prediction is right, the likelihood alone would freeze."""
BINS = 15
"""Of the calibration error; the paper's number."""


def fit_temperatures(
    scores: NDArray[np.floating], labels: Labels, schema: AttributeSchema, *, identities: Labels | None = None
) -> dict[str, float]:
    """Find for each attribute the temperature under which the labels are likeliest; 1 where nothing is labelled.

    The likelihood is convex in 1/T, so one bounded search in log T finds its peak.

    Args:
        scores: (N, M) logits or log-probabilities; a constant within a group changes nothing, so both give the same.
        labels: (N, n) int64, -1 = missing.
        identities: (N,) int64; with them every identity weighs the same, however many images it has.
    """
    found: dict[str, float] = {}
    for name, group, truth, weights in _labelled(scores, labels, schema, identities):

        def loss(
            log_temperature: float, group: Doubles = group, truth: Labels = truth, weights: Doubles = weights
        ) -> float:
            return _nll(group / np.exp(log_temperature), truth, weights)

        bounds = (np.log(COLDEST), np.log(HOTTEST))
        best = minimize_scalar(loss, bounds=bounds, method="bounded") if len(truth) else None
        # The search ends near its peak, not on it: where 1 is as good, nothing is changed.
        better = best is not None and best.fun < loss(0.0)
        found[name] = float(np.exp(best.x)) if best is not None and better else 1.0
    return found


def apply_temperatures(probabilities: Floats, temperatures: Mapping[str, float], schema: AttributeSchema) -> Floats:
    """Calibrate (N, M) probabilities: p^(1/T), normalised again within each group.

    An attribute without a temperature stays as it is. Raises ConfigError for one that the schema does not have.
    """
    calibrated = np.array(probabilities, dtype=np.float32)
    for name, temperature in temperatures.items():
        place = schema.slice(name)
        if temperature != 1:
            calibrated[:, place] = np.exp(log_softmax(_log(probabilities[:, place]) / temperature, axis=1))
    return calibrated


def likelihood_loss(
    probabilities: Floats, labels: Labels, schema: AttributeSchema, *, identities: Labels | None = None
) -> dict[str, float | None]:
    """Mean negative log-likelihood (nats) of each attribute's labels; None where nothing is labelled."""
    return {
        name: _nll(group, truth, weights) if len(truth) else None
        for name, group, truth, weights in _labelled(_log(probabilities), labels, schema, identities)
    }


def calibration_error(
    probabilities: Floats,
    labels: Labels,
    schema: AttributeSchema,
    *,
    bins: int = BINS,
    identities: Labels | None = None,
) -> dict[str, float | None]:
    """Expected calibration error of each attribute (fraction): the mean gap of confidence and accuracy over `bins`
    of equal width, weighted by what falls into them (Guo et al., equation 3); None where nothing is labelled.
    """
    errors: dict[str, float | None] = {}
    for name, group, truth, weights in _labelled(probabilities, labels, schema, identities):
        confidence = group.max(axis=1)
        right = group.argmax(axis=1) == truth
        # A bin holds its upper edge, so that certainty falls into the last one.
        place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        gaps = np.bincount(place, weights=weights * (right - confidence), minlength=bins)
        errors[name] = float(np.abs(gaps).sum()) if len(truth) else None
    return errors


def _labelled(
    scores: NDArray[np.floating], labels: Labels, schema: AttributeSchema, identities: Labels | None
) -> Iterator[tuple[str, Doubles, Labels, Doubles]]:
    """Of each attribute: its name, and scores, classes and weights (sum 1) of the rows where it is labelled."""
    for position, name in enumerate(schema.names):
        rows = np.flatnonzero(labels[:, position] >= 0)
        weights: Doubles = np.ones(len(rows))
        if identities is not None:
            _, whose, counts = np.unique(identities[rows], return_inverse=True, return_counts=True)
            weights = 1.0 / counts[whose]
        weights /= max(weights.sum(), 1.0)
        yield name, scores[rows, schema.slice(name)].astype(np.float64), labels[rows, position], weights


def _nll(scores: Doubles, truth: Labels, weights: Doubles) -> float:
    log_likelihood = log_softmax(scores, axis=1)[np.arange(len(truth)), truth]
    return -float(weights @ log_likelihood)


def _log(probabilities: NDArray[np.floating]) -> Doubles:
    # A float32 softmax rounds what is less likely than this to 0.
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)))
