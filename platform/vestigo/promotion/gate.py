"""The gate: whether a candidate may replace the serving model (docs/method.md).

The candidate must be proven better in one measure and must not be seen worse in any. The percentiles of a bootstrap are
too narrow for few identities, so a gain must also pass Student's t-test. Losses are not corrected for the number of
measures: refusing a good candidate costs a few reviews, serving a worse one costs search results. A smaller loss beyond
the margin that may be chance passes and is named in the reasons.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from vestigo.evaluation.metrics.bootstrap import Difference

MEAN_AP = "mAP"
RENDERED = "rendered people"
"""Test of rendered people, which guards a model that learned from real ones against collapse."""
GATE = "gate"
"""Key of the gate's result in a model's scores; other keys are `vestigo.promotion.judge.split_name`."""
BETTER_LEVEL = 0.05
GROSS = 5.0
"""Margins of a gross loss."""

Differences = Mapping[str, Difference | None]
"""Measure (`mAP`, or an attribute for its accuracy) -> by how much the candidate is better, in percentage points; None
for fewer than two identities."""


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Largest acceptable losses, in percentage points."""

    mAP: float = 1.0
    attributes: float = 1.0
    rendered: float = 5.0  # of the mAP on rendered people

    def of(self, measure: str) -> float:
        """Return the margin of a measure, of a test `TEST: MEASURE` too."""
        test, _, name = measure.rpartition(": ")
        if test == RENDERED:
            return self.rendered
        return self.mAP if name == MEAN_AP else self.attributes


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """Whether a candidate model passes the gate."""

    promoted: bool
    reasons: tuple[str, ...]  # one sentence each; decisive ones first, remarks last
    improved: tuple[str, ...] = ()  # measures that are significantly better
    worsened: tuple[str, ...] = ()


def decide_promotion(
    differences: Differences, margins: Margins | None = None, *, gain: str | None = None
) -> GateDecision:
    """Decide whether a candidate passes, from how much better it is than the serving model on the same identities.

    Without `gain` a measure must have improved. `gain` says in a sentence what is better about a candidate that learned
    without labels, whose gain labels need not show; then no measure need improve.
    """
    margins = margins or Margins()
    known = {name: difference for name, difference in differences.items() if difference is not None}
    # A measure that did not change for any identity cannot be significant and is not counted (Tarone, 1990).
    changed = {name: difference for name, difference in known.items() if difference.low != 0 or difference.high != 0}
    p_values = {name: max(difference.chance, _t_test(difference)) for name, difference in changed.items()}
    significant = select_significant(p_values, BETTER_LEVEL)
    improved = tuple(name for name, gain in changed.items() if name in significant and gain.difference > 0)
    losses = {name: loss for name, loss in changed.items() if loss.difference < -margins.of(name)}
    gross = {name for name, loss in losses.items() if loss.difference < -GROSS * margins.of(name)}
    worsened = tuple(name for name, loss in losses.items() if loss.high < 0 or name in gross)

    reasons = [
        f"{describe_difference(name, losses[name])}, beyond the margin of {margins.of(name):.1f}" for name in worsened
    ]
    reasons += [
        f"{describe_difference(name, known[name])}, better beyond chance among {len(changed)}" for name in improved
    ]
    if gain is not None:
        reasons.append(gain)
    elif not improved:
        reasons.append(_explain_no_gain(known))
    reasons += [
        f"{describe_difference(name, loss)}, beyond the margin of {margins.of(name):.1f} but within chance: review "
        "more to be sure"
        for name, loss in losses.items()
        if name not in worsened
    ]
    reasons += [f"{name}: not compared, as fewer than 2 identities count" for name in differences if name not in known]
    return GateDecision(
        promoted=bool(improved or gain) and not worsened, reasons=tuple(reasons), improved=improved, worsened=worsened
    )


def gate_record(decision: GateDecision, against: str | None, differences: Differences) -> dict[str, Any]:
    """Return the gate's result as a score of the registry; `against` is the digest of the serving model."""
    stored = {name: None if difference is None else asdict(difference) for name, difference in differences.items()}
    return {GATE: {**asdict(decision), "against": against, "differences": stored}}


def has_passed(scores: Mapping[str, Any], serving: str | None) -> bool:
    """Return whether a model has passed the gate against the model that serves now."""
    gate = scores.get(GATE, {})
    return bool(gate.get("promoted")) and gate.get("against") == serving


def select_significant(p_values: Mapping[str, float], level: float) -> set[str]:
    """Return the names whose p-values are significant by Holm's procedure (1979) at a family-wise level."""
    significant: set[str] = set()
    for position, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        if p_values[name] > level / (len(p_values) - position):
            break
        significant.add(name)
    return significant


def describe_difference(name: str, difference: Difference) -> str:
    """Return a difference in words, such as `hat: -7.3 points (95 % -9.1 to -5.2 on 40 identities)`."""
    interval = f"95 % {difference.low:+.1f} to {difference.high:+.1f} on {difference.identities} identities"
    return f"{name}: {difference.difference:+.1f} points ({interval})"


def _t_test(difference: Difference) -> float:
    """Return the two-sided p-value of a difference, with the standard error of its 95 % interval.

    It is never below that of a sign test in which all identities agree, which matters for a spread of 0.
    """
    identities = difference.identities
    # The spread of a bootstrap is that of a population, not of a sample.
    error = (difference.high - difference.low) / (2 * norm.ppf(0.975)) * np.sqrt(identities / (identities - 1))
    chance = 2 * t.sf(abs(difference.difference) / error, identities - 1) if error > 0 else 0.0
    return max(float(chance), 2.0 ** (1 - identities))


def _explain_no_gain(differences: Mapping[str, Difference]) -> str:
    if not differences:
        return "nothing improved: nothing could be compared"
    best = max(differences, key=lambda name: differences[name].difference)
    if differences[best].difference <= 0:
        return "nothing improved"
    largest = describe_difference(best, differences[best])
    return f"nothing improved beyond chance: the largest gain is {largest}"
