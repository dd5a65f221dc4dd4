"""The filter's threshold for a largest miss rate, by conformal risk control over identities.

See docs/method.md, section "Conformal risk control" (Angelopoulos et al., ICLR 2024, theorem 1). Temperatures and
everything else that is fitted must come from other identities, because the bound needs exchangeable ones.
"""

from bisect import bisect_left, bisect_right
from math import floor

from vestigo_models.attribute_filter.choice import FilterChoice, FilterEstimate
from vestigo_models.attribute_filter.record import FilterRecord
from vestigo_models.errors import ConfigError


def choose_threshold(record: FilterRecord, max_lost: float) -> FilterChoice:
    """Choose the smallest threshold whose bound is below the miss rate `max_lost`; without one the filter is off.

    Raises:
        ConfigError: If `max_lost` is not between 0 and 1.
    """
    if not 0 < max_lost < 1:
        raise ConfigError(f"max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    curve = record.curve
    at = curve.find_threshold(max_lost)
    # The least n with 1 / (n + 1) < max_lost; rounding removes errors such as 1 / 0.01 = 100.00000000000001.
    needed = floor(round(1 / max_lost, 9))
    reason = ""
    if curve.tau[at] > 1:
        reason = (
            f"{record.identities} identities cannot bound a loss of {max_lost:.3g}: at least {needed} are needed;"
            " calibrate on more identities or allow a larger loss"
            if record.identities < needed
            else f"no threshold keeps the loss below {max_lost:.3g} with certainty; allow a larger loss"
        )
    return FilterChoice(
        mode="auto",
        threshold=curve.tau[at],
        names=record.attributes,
        max_conflicts=record.max_conflicts,
        max_lost=max_lost,
        bound=curve.bound[at],
        reason=reason,
        expected=estimate_filter(record, curve.tau[at]),
    )


def estimate_filter(record: FilterRecord, threshold: float) -> FilterEstimate:
    """Read kept fraction and miss rate at a threshold; between two measured ones, the larger value of each."""
    curve = record.curve
    # No confidence is below the first measured threshold; above the last one the filter is off.
    below = max(bisect_right(curve.tau, threshold) - 1, 0)
    above = min(bisect_left(curve.tau, threshold), len(curve.tau) - 1)
    return FilterEstimate(
        kept_fraction=curve.kept[above],
        miss_rate=curve.loss[below] if threshold <= 1 else 0.0,
        identities=record.identities,
    )
