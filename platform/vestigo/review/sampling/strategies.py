"""The registry of sampling strategies; reading it imports no numerical library."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vestigo_models.errors import ConfigError
from vestigo_models.registry import Component, ComponentRegistry

if TYPE_CHECKING:
    from vestigo.review.sampling.scores import TaskFeatures
    from vestigo_models.arrays import Float64Array

DEFAULT_STRATEGY = "entropy"  # measured in `benchmarks/review.md`
Score = Callable[["TaskFeatures"], "Float64Array"]
Combine = Callable[["Float64Array"], "Float64Array"]


def _scores(name: str) -> Callable[[Any], Float64Array]:
    """Return a function that calls `name` of `vestigo.review.sampling.scores`, imported on the first call."""

    def call(argument: Any) -> Float64Array:
        function = getattr(importlib.import_module("vestigo.review.sampling.scores"), name)
        result: Float64Array = function(argument)
        return result

    return call


_mean_over_attributes = _scores("mean_over_attributes")


@dataclass(frozen=True, kw_only=True)
class SamplingStrategy(Component[Score]):
    """A named scoring function.

    Attributes:
        factory: Returns scores of at least 0: (N,), or (n, N) with the part that each attribute contributes.
        reason: Why a task has a high score. Fields: `title` of the attribute, `prediction`, `vote`, `label`.
        combine: Reduces (n, N) scores to (N,).
    """

    reason: str = "{title}: {prediction}"
    combine: Combine = _mean_over_attributes

    def score(self, features: TaskFeatures) -> Float64Array:
        """Return the score of each task, (N,), at least 0."""
        scores = self.factory(features)
        return self.combine(scores) if scores.ndim == 2 else scores


STRATEGIES: ComponentRegistry[Score] = ComponentRegistry(
    "strategy",
    "vestigo.sampling_strategies",
    [
        SamplingStrategy(
            name="entropy",
            factory=_scores("normalised_entropy"),
            help="Tasks with the highest entropy over all attributes first.",
            reason="{title} uncertain: {prediction}",
            combine=_scores("decayed_mean_over_attributes"),
        ),
        SamplingStrategy(
            name="least-confident",
            factory=_scores("uncertainty"),
            help="Tasks with the lowest confidence of the predicted values first.",
            reason="{title} uncertain: {prediction}",
        ),
        SamplingStrategy(
            name="disagreement",
            factory=_scores("crop_disagreement"),
            help="Tracklets whose crops have different predictions first.",
            reason="crops differ in {title}: {vote}",
        ),
        SamplingStrategy(
            name="neighbours",
            factory=_scores("neighbour_distance"),
            help="Tasks that differ from tasks with similar embeddings first.",
            reason="neighbours differ in {title}: {prediction} here",
        ),
        SamplingStrategy(
            name="label-errors",
            factory=_scores("label_margin"),
            help="Tasks whose prediction contradicts a label first.",
            reason="{title} is labelled {label}, predicted {prediction}",
        ),
        SamplingStrategy(
            name="rare",
            factory=_scores("rarity"),
            help="Tasks with values that are rare in the archive first.",
            reason="{title} {prediction} is rare",
        ),
        SamplingStrategy(
            name="diverse",
            factory=_scores("inverse_cluster_size"),
            help="Tasks with embeddings that differ from one another.",
            reason="few crops are similar",
        ),
        SamplingStrategy(
            name="mix",
            factory=_scores("mixture"),
            help="Uncertainty, disagreement and rarity in equal parts.",
            reason="{title} uncertain or rare: {prediction}",
            combine=_scores("sum_over_attributes"),
        ),
        SamplingStrategy(
            name="random",
            factory=_scores("equal_scores"),
            help="Every task with the same probability.",
            reason="by chance",
        ),
    ],
)


def register_strategy(
    name: str,
    function: Score,
    *,
    help: str,
    reason: str = SamplingStrategy.reason,
    combine: Combine = SamplingStrategy.combine,
) -> None:
    """Add a sampling strategy that `--strategy NAME` selects; see `SamplingStrategy` for the arguments.

    Installed packages add one with an entry point of the group `vestigo.sampling_strategies` that names a
    `SamplingStrategy`.

    Raises:
        ConfigError: If the name is taken.
    """
    STRATEGIES.register(SamplingStrategy(name=name, factory=function, help=help, reason=reason, combine=combine))


def find_strategy(name: str) -> SamplingStrategy:
    """Return a strategy by name; raise ConfigError if it is unknown."""
    strategy, _ = STRATEGIES.find(name)
    if not isinstance(strategy, SamplingStrategy):
        raise ConfigError(f"{STRATEGIES.group}: entry point {name!r} is not a SamplingStrategy")
    return strategy
