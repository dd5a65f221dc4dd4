"""People correct attributes: what they are asked, and what their answers tell of all that they were not asked."""

from vestigo.labeling.drawing import draw, inclusion_probabilities
from vestigo.labeling.estimating import Estimate, estimate_share, reviews_needed

__all__ = ["Estimate", "draw", "estimate_share", "inclusion_probabilities", "reviews_needed"]
