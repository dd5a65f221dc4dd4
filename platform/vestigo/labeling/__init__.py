"""People correct attributes: what they are asked, and what their answers tell of all that they were not asked."""

from vestigo.labeling.drawing import combined, draw, inclusion_probabilities
from vestigo.labeling.estimating import Estimate, estimate_share, reviews_needed
from vestigo.labeling.precision import (
    CANNOT_TELL,
    UNANSWERED,
    AttributePrecision,
    Period,
    Precision,
    Reviewed,
    ValuePrecision,
    estimate_precision,
)

__all__ = [
    "CANNOT_TELL",
    "UNANSWERED",
    "AttributePrecision",
    "Estimate",
    "Period",
    "Precision",
    "Reviewed",
    "ValuePrecision",
    "combined",
    "draw",
    "estimate_precision",
    "estimate_share",
    "inclusion_probabilities",
    "reviews_needed",
]
