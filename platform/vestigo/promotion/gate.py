"""The gate: whether a challenger may take the place of the model that serves.

It must be proven better in something, and be seen to be worse in nothing. Both are asked of every measure (mAP and
each attribute's accuracy) on the same people, and the more measures are looked at, the more of them move by luck alone.

- **Better**: a gain that chance does not explain, by Holm's step-down procedure at 5 % over all measures that changed.
  Percentiles of a bootstrap are too narrow for few people, so a gain must convince Student's t-test as well, with the
  interval for its standard error. Of challengers that are in truth as good, at most 5 % pass for better.
- **Worse**: the measured loss is larger than the margin, and its 95 % interval lies below zero. The number of measures
  is not corrected for: a challenger refused in vain costs a few reviews more, a worse one that serves costs answers.
- **Gross loss**: a measured loss of more than `GROSS` margins refuses even where chance could explain it: that there
  were too few people to tell is no excuse for it.

In simulations of 13 measures that all move by chance, none (750 people whose means move a little) to two in three (40
people, one in ten of whom changes sides as a whole) harmless challengers were refused, and losses were caught nearly
always from three to four standard errors on: 5 points on 40 people whose own means move by 7 points, 15 points where
one in ten changes sides; 2 and 8 points on 200. Refusing whatever the interval does not exclude (non-inferiority) would
refuse nearly all challengers of either kind. So a smaller loss that is beyond the margin but could be chance is let
through, and named among the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from vestigo.evaluation.compare import Comparison
from vestigo.evaluation.metrics.bootstrap import Difference

MEAN_AP = "mAP"
GATE = "gate"
"""Name of the score that holds the verdict; the others are named by `vestigo.promotion.judge.split_name`."""
BETTER_LEVEL = 0.05
GROSS = 5.0
"""Margins."""

Differences = Mapping[str, Difference | None]
"""Measure (`mAP`, or an attribute for its accuracy) -> by how much the challenger is better, in percentage points;
None where fewer than two people count."""


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How much may be lost, in percentage points."""

    mAP: float = 1.0
    attributes: float = 1.0

    def of(self, measure: str) -> float:
        """The margin of a measure."""
        return self.mAP if measure == MEAN_AP else self.attributes


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a challenger is promoted.

    Attributes:
        reasons: one sentence each; what counted comes first, what is merely noteworthy last.
        improved, worsened: measures that are better beyond chance, and those that are too much worse.
    """

    promoted: bool
    reasons: tuple[str, ...]
    improved: tuple[str, ...] = ()
    worsened: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "promoted": self.promoted,
            "reasons": list(self.reasons),
            "improved": list(self.improved),
            "worsened": list(self.worsened),
        }


def differences_of(comparison: Comparison) -> dict[str, Difference | None]:
    """The measures of a comparison under one roof: mAP first, then the attributes in the order of their schema."""
    return {MEAN_AP: comparison.mAP, **comparison.attributes}


def decide(differences: Differences, margins: Margins | None = None) -> Verdict:
    """Decide whether a challenger is promoted, from how much better it is than the serving model on the same people.

    Measures may come from a dataset's ranking and attributes, or from reviewed attributes alone.
    """
    margins = margins or Margins()
    found = {name: one for name, one in differences.items() if one is not None}
    # What did not change for anybody cannot be luck, and takes no part in the count (Tarone, 1990).
    changed = {name: one for name, one in found.items() if one.low != 0 or one.high != 0}
    gains = beyond_chance({name: max(one.chance, _t_test(one)) for name, one in changed.items()}, BETTER_LEVEL)
    improved = tuple(name for name, one in changed.items() if name in gains and one.difference > 0)
    lost = {name: one for name, one in changed.items() if one.difference < -margins.of(name)}
    gross = {name for name, one in lost.items() if one.difference < -GROSS * margins.of(name)}
    worsened = tuple(name for name, one in lost.items() if one.high < 0 or name in gross)

    reasons = [f"{worded(name, lost[name])}, beyond the margin of {margins.of(name):.1f}" for name in worsened]
    reasons += [f"{worded(name, found[name])}, better beyond chance among {len(changed)}" for name in improved]
    if not improved:
        reasons.append(_nothing_improved(found))
    reasons += [
        f"{worded(name, one)}, beyond the margin of {margins.of(name):.1f} but within chance: review more to be sure"
        for name, one in lost.items()
        if name not in worsened
    ]
    reasons += [f"{name}: not judged, as fewer than 2 identities count" for name in differences if name not in found]
    return Verdict(
        promoted=bool(improved) and not worsened, reasons=tuple(reasons), improved=improved, worsened=worsened
    )


def recorded(verdict: Verdict, against: str | None, differences: Differences) -> dict[str, Any]:
    """A verdict as a score that the registry keeps of the challenger; `against` is the digest of what served."""
    told = {name: None if one is None else asdict(one) for name, one in differences.items()}
    return {GATE: {**verdict.to_dict(), "against": against, "differences": told}}


def has_passed(scores: Mapping[str, Any], serving: str | None) -> bool:
    """Whether a model's recorded verdict lets it take the place of what serves now."""
    gate = scores.get(GATE, {})
    return bool(gate.get("promoted")) and gate.get("against") == serving


def beyond_chance(chances: Mapping[str, float], level: float) -> set[str]:
    """The names whose p-values stand when all are looked at together (Holm, 1979); `level` is that of the family."""
    kept: set[str] = set()
    for place, name in enumerate(sorted(chances, key=chances.__getitem__)):
        if chances[name] > level / (len(chances) - place):
            break
        kept.add(name)
    return kept


def worded(name: str, one: Difference) -> str:
    """A difference in words, such as `hat: -7.3 points (95 % -9.1 to -5.2 on 40 identities)`."""
    return (
        f"{name}: {one.difference:+.1f} points (95 % {one.low:+.1f} to {one.high:+.1f} on {one.identities} identities)"
    )


def _t_test(one: Difference) -> float:
    """Two-sided p-value of a difference whose standard error is read off its 95 % interval.

    It is never below that of a sign test in which all people agree, which a spread of 0 would pretend to beat.
    """
    people = one.identities
    # The spread of a bootstrap is that of a sample taken for a population.
    error = (one.high - one.low) / (2 * norm.ppf(0.975)) * np.sqrt(people / (people - 1))
    chance = 2 * t.sf(abs(one.difference) / error, people - 1) if error > 0 else 0.0
    return max(float(chance), 2.0 ** (1 - people))


def _nothing_improved(found: Mapping[str, Difference]) -> str:
    if not found:
        return "nothing improved: nothing could be judged"
    best = max(found, key=lambda name: found[name].difference)
    if found[best].difference <= 0:
        return "nothing improved"
    return f"nothing improved beyond chance: the largest gain is {worded(best, found[best])}"
