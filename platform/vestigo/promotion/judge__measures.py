"""What the registry keeps of two models that were judged on the same test, measure by measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.promotion.gate import GATE, MEAN_AP, Differences

MEASURED = ("difference", "low", "high", "chance", "identities")
EXACT = 1e-6
"""Points by which a kept difference may miss that of the scores it was told with."""


def tests_of(scores: Mapping[str, Any]) -> list[str]:
    """The names of the tests that a model was judged on."""
    return [name for name, one in scores.items() if name != GATE and isinstance(one, dict)]


def stored_measures(
    first: Mapping[str, Any], second: Mapping[str, Any], differences: Differences
) -> dict[str, dict[str, Any]]:
    """Measure -> both scores (percent, None where there is none) and, where they are known, difference and interval."""
    before, after = ({MEAN_AP: scores.get(MEAN_AP), **scores.get("attributes", {})} for scores in (first, second))
    found = {}
    for name in dict.fromkeys((*before, *after)):
        one = differences.get(name)
        interval = dict.fromkeys(MEASURED) if one is None else asdict(one)
        found[name] = {"a": before.get(name), "b": after.get(name), **interval}
    return found


def kept_differences(scores: Mapping[str, Any]) -> dict[str, Difference | None]:
    """The differences that the gate decided on, as `recorded` kept them; none where it never did."""
    kept = scores.get(GATE, {}).get("differences", {})
    return {name: None if one is None else Difference(**one) for name, one in kept.items()}


def are_of(differences: Differences, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether differences are those of two models' scores on one test, which the registry does not say."""
    told = stored_measures(first, second, differences)
    found = [row for row in told.values() if None not in (row["a"], row["b"], row["difference"])]
    return bool(found) and all(abs(row["b"] - row["a"] - row["difference"]) <= EXACT for row in found)
